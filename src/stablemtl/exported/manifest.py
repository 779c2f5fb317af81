"""``exported.json``: what an exported folder holds, and what a program must know to use it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

Runtime = Literal["onnx", "openvino"]
Streams = Literal["multi", "single"]
WeightType = Literal["float32", "float16"]

MANIFEST = "exported.json"
FORMAT = 1
"""Grows when folders of an earlier version cannot be read any more."""

GRAPHS: dict[Streams, tuple[str, ...]] = {
    "single": ("encoder", "single", "decoder"),
    "multi": ("encoder", "auxiliary", "main", "decoder"),
}
"""Graphs of a folder, in the order in which they run."""

SUFFIXES: dict[Runtime, str] = {"onnx": ".onnx", "openvino": ".xml"}
"""Suffix of a graph's file; weights may lie beside it."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Contents of ``exported.json``."""

    runtime: Runtime
    """What the graphs were written for."""
    streams: Streams
    """``multi``: the auxiliary and the main network. ``single``: the auxiliary one's own predictions."""
    tasks: tuple[str, ...]
    """Task names; a task's place is its index in the graphs."""
    pair_tasks: tuple[str, ...]
    """Tasks that look at two frames."""
    second_frame: str
    """What the other tasks see in its place, as in ``StableMTLModel``."""
    task_options: dict[str, dict[str, Any]]
    """Encoding of each task that has not the published one."""
    default_processing_resolution: int
    """Longest edge at which images are processed [px]; 0 for their own size."""
    latent_channels: int
    """Channels of a latent."""
    downscale: int
    """Pixels a latent cell along each axis."""
    dtype: WeightType
    """Number type of the weights in the files; arithmetic is in float32."""
    opset: int
    """ONNX operator set that the graphs were written with."""
    source: str
    """Name or path of the model, as it was loaded."""
    versions: dict[str, str] = field(default_factory=dict)
    """Package -> version, of those that wrote the folder."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File name -> ``bytes`` and ``sha256``."""
    check: list[dict[str, Any]] = field(default_factory=list)
    """Comparison with torch: for each input tried, its sizes and the largest differences."""

    @property
    def graphs(self) -> dict[str, str]:
        """Graph name -> file name."""
        return {name: name + SUFFIXES[self.runtime] for name in GRAPHS[self.streams]}

    @property
    def fingerprint(self) -> str:
        """What tells this model's predictions from another's: a checksum of all but origin and comparison."""
        content = asdict(self)
        for name in ("source", "versions", "check"):
            del content[name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Writes ``exported.json`` into the folder."""
        content = {"format": FORMAT, **asdict(self)}
        path = folder / MANIFEST
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, folder: str | os.PathLike[str], *, verify: bool = False) -> Manifest:
        """Reads ``exported.json`` and looks whether the files it names are there, in their sizes.

        Args:
            folder: written by ``export_pipeline``.
            verify: compare checksums too, which reads every file once.
        Raises:
            FileNotFoundError: no exported model there, or a file of it is missing.
            ValueError: the manifest is damaged or of a later version, or a file is damaged.
        """
        path = Path(folder) / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is not an exported model: it has no {MANIFEST}. "
                "Make one with: stablemtl export --model MODEL --to onnx --out FOLDER"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            written = int(content.pop("format"))
            if written > FORMAT:
                raise ValueError(
                    f"format {written} is of a later version of stablemtl; this one reads {FORMAT}"
                )
            known = {one.name for one in fields(cls)}
            content = {name: value for name, value in content.items() if name in known}
            manifest = cls(**content | {name: tuple(content[name]) for name in ("tasks", "pair_tasks")})
            if unnamed := sorted(set(manifest.graphs.values()) - set(manifest.files)):
                raise ValueError(f"it has no checksum of {', '.join(unnamed)}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} cannot be used ({error}). Export the model again.") from error
        for name, facts in manifest.files.items():
            _check_file(path.with_name(name), facts, verify)
        return manifest


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a folder for :func:`stablemtl.exported.load_exported`."""
    return (Path(path) / MANIFEST).is_file()


def describe_files(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """File name -> ``bytes`` and ``sha256``, as :class:`Manifest` keeps them."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(paths)}


def _check_file(path: Path, facts: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, which {MANIFEST} names. Export or copy the model again.")
    if (size := path.stat().st_size) != facts["bytes"]:
        raise ValueError(
            f"{path} is damaged: {size} bytes instead of {facts['bytes']}. Export or copy the model again."
        )
    if verify and _sha256(path) != facts["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum is another one. Export or copy the model again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
