"""The files of a dataset, without decoding them: which are missing, and which are suspiciously small."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stablemtl.data.doctor.findings import Problem
from stablemtl.data.doctor.raw import RawChecks

SMALL = 0.25
"""A compressed file below this part of the median of its kind is looked into: it may be cut off."""

PLAIN_SUFFIXES = frozenset({".flo", ".pfm", ".ppm", ".npy"})
"""Without compression all files of a kind have one size: any other is looked into."""

MAX_SUSPECTS = 50
"""Frames looked into because of the size of a file, per split."""

_TAIL = 1024
_ENDINGS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What the names and sizes of a split's files tell."""

    missing: list[Problem]
    suspects: list[int]
    """Indices of frames with a file of a strange size, the strangest first."""


def take_inventory(
    dataset: Any, checks: RawChecks, root: Path, *, on_frame: Callable[[], object] | None = None
) -> Inventory:
    """Look for every file of every frame; each folder is listed once."""
    folders: dict[str, dict[str, int]] = {}
    missing: list[Problem] = []
    sizes: dict[str, list[tuple[int, int]]] = {}  # kind to (size, index)
    plain: set[str] = set()
    for index in range(len(dataset)):
        for kind, (path, _) in checks.files(dataset, index).items():
            folder = os.path.dirname(path)
            if folder not in folders:
                folders[folder] = _sizes(folder)
            size = folders[folder].get(path.name)
            if size is None:
                missing.append(
                    Problem(
                        severity="error",
                        check="missing-file",
                        message=f"{kind} files are missing",
                        where=relative(path, root),
                        about=kind,
                    )
                )
                continue
            sizes.setdefault(kind, []).append((size, index))
            if path.suffix in PLAIN_SUFFIXES:
                plain.add(kind)
        if on_frame is not None:
            on_frame()
    strange: dict[int, float] = {}
    for kind, found in sizes.items():
        for index, ratio in _strange(found, exact=kind in plain):
            strange[index] = min(ratio, strange.get(index, ratio))
    return Inventory(missing=missing, suspects=sorted(strange, key=lambda i: strange[i])[:MAX_SUSPECTS])


def complete(path: Path) -> bool:
    """Whether a PNG or JPEG file ends as it must: decoders may fill what is cut off with grey."""
    ending = _ENDINGS.get(path.suffix.lower())
    if ending is None:
        return True
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return ending in file.read()


def relative(path: Path, root: Path) -> str:
    """``path`` as seen from ``root``, where it lies in it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _strange(found: Sequence[tuple[int, int]], *, exact: bool) -> list[tuple[int, float]]:
    """Indices of files of a strange size, with size / usual size."""
    if exact:
        usual: float = Counter(size for size, _ in found).most_common(1)[0][0]
        return [(index, size / usual if usual else 0.0) for size, index in found if size != usual]
    usual = median(size for size, _ in found)
    return [(index, size / usual if usual else 0.0) for size, index in found if size <= SMALL * usual]


def _sizes(folder: str) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}
