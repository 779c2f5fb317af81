"""What maps depend on besides the picture, as text that two runs can compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

_WHOLE_BYTES = 64 * 2**20
_HEAD_BYTES = 2**20


def model_fingerprint(folder: Path) -> str:
    """Says whether a model folder is the one that it was, in 16 characters.

    Of each file its name and content; of weights larger than 64 MiB the size, the time of the last change and
    the first MiB, so that a run over one picture need not read 7 GB twice.
    """
    digest = hashlib.sha256()
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or path.suffix in (".md", ".txt"):
            continue
        state = path.stat()
        large = state.st_size > _WHOLE_BYTES
        digest.update(f"{name.as_posix()}\0{state.st_size}\0{state.st_mtime_ns if large else 0}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD_BYTES if large else -1))
    return digest.hexdigest()[:16]


def options_fingerprint(options: Mapping[str, object], version: str) -> str:
    """Options and the version of the package as JSON, always in the same order."""
    return json.dumps({**options, "stablemtl": version}, sort_keys=True, default=list)
