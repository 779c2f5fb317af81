"""Where encoded samples are kept: in memory, or on disk, memory-mapped and filled as they are first needed.

Letters: N frames of a dataset, V versions of each, C latent channels, h and w latent size.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

FORMAT = 1
"""Raised when the files' layout changes."""


class Key(NamedTuple):
    """A version of one frame of a dataset, or of a pair of frames, with the label of a task."""

    dataset: str
    task: str
    frame: int
    version: int


class Kept(NamedTuple):
    """An encoded sample."""

    frames: Tensor  # (1 or 2, C, h, w) float16
    target: Tensor  # (C, h, w) float16
    valid: Tensor  # (1, h, w) bool


class LatentStore(Protocol):
    """Keeps encoded samples. Putting one twice is allowed, and keeps either."""

    def get(self, key: Key) -> Kept | None:
        """The sample, or ``None`` if it is not here."""
        ...

    def frames(self, key: Key, count: int) -> Tensor | None:
        """Latents (count, C, h, w) of the frames, if another task has brought them; else ``None``."""
        ...

    def put(self, key: Key, item: Kept) -> None:
        """Keep a sample."""
        ...


class MemoryStore:
    """Keeps samples in memory, each with frames of its own: versions may differ from task to task."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept] = {}

    def get(self, key: Key) -> Kept | None:
        return self._kept.get(key)

    def frames(self, key: Key, count: int) -> Tensor | None:
        return None

    def put(self, key: Key, item: Kept) -> None:
        self._kept[key] = Kept(*(values.clone() for values in item))

    def __len__(self) -> int:
        return len(self._kept)


class DiskStore:
    """Keeps samples in sparse files, read through a memory map; frames are shared between tasks.

    For each dataset there is a file of frames, shape (N, V, C, h, w) float16, one of second frames, and for
    each task one of label latents and one of masks, each with a file of marks that say what is there. A mark
    is set after its data: a run killed at any moment leaves nothing that is taken for complete. Several
    processes may fill a store together; what two of them encode at once is the same.

    A version must look the same to every task, as a mirrored one does: frames are kept once for all tasks.

    Args:
        folder: of the store; each ``facts`` has a folder of its own in it, so that a run with other facts
            never meets latents that are not its own.
        facts: all that the latents depend on, as JSON values: codec, size, encodings, versions, listings.
        lengths: dataset name to its number of frames.
        versions: V.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        facts: Mapping[str, Any],
        lengths: Mapping[str, int],
        versions: int,
    ) -> None:
        facts = {**facts, "format": FORMAT, "lengths": dict(lengths), "versions": versions}
        text = json.dumps(facts, sort_keys=True, indent=2)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_once(self.folder / "facts.json", lambda path: path.write_text(text + "\n"))
        self.lengths, self.versions = dict(lengths), versions
        self._files: dict[str, _File] = {}

    def get(self, key: Key) -> Kept | None:
        target = self._read(key, key.task)
        if target is None:
            return None
        pair = self._read(key, "next") if self._has(key, f"{key.task}.pair") else None
        first = self._read(key, "frames")
        valid = self._read(key, f"{key.task}.valid")
        if first is None or valid is None or (self._has(key, f"{key.task}.pair") and pair is None):
            return None
        frames = [first] if pair is None else [first, pair]
        return Kept(torch.stack(frames), target, valid.bool())

    def frames(self, key: Key, count: int) -> Tensor | None:
        found = [self._read(key, kind) for kind in ("frames", "next")[:count]]
        known = [values for values in found if values is not None]
        return torch.stack(known) if len(known) == count else None

    def put(self, key: Key, item: Kept) -> None:
        if self._read(key, "frames") is None:
            self._write(key, "frames", item.frames[0])
        if len(item.frames) == 2:
            if self._read(key, "next") is None:
                self._write(key, "next", item.frames[1])
            self._write(key, f"{key.task}.pair", torch.ones(1, dtype=torch.uint8))
        self._write(key, f"{key.task}.valid", item.valid.to(torch.uint8))
        self._write(key, key.task, item.target)  # last: its mark says that the sample is complete

    @property
    def nbytes(self) -> int:
        """What the files take on disk [byte]; holes take nothing."""
        return sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())

    def _has(self, key: Key, kind: str) -> bool:
        return self._read(key, kind) is not None

    def _read(self, key: Key, kind: str) -> Tensor | None:
        file = self._open(key.dataset, kind)
        return None if file is None else file.read(key.frame, key.version)

    def _write(self, key: Key, kind: str, values: Tensor) -> None:
        file = self._open(key.dataset, kind, values)
        assert file is not None, "made just now"
        file.write(key.frame, key.version, values)

    def _open(self, dataset: str, kind: str, like: Tensor | None = None) -> _File | None:
        """A file that is there, or a new one for values of the shape and type of ``like``."""
        name = f"{dataset}.{kind}"
        if name not in self._files:
            path = self.folder / f"{name}.npy"
            if not path.is_file():
                if like is None:
                    return None
                shape = (self.lengths[dataset], self.versions, *like.shape)
                _File.create(path, shape, np.float16 if like.is_floating_point() else np.uint8)
            self._files[name] = _File(path)
        return self._files[name]


class _File:
    """An array (N, V, ...) in a ``.npy`` file, with the marks of what is there in another."""

    def __init__(self, path: Path) -> None:
        self._values = np.lib.format.open_memmap(path, mode="r+")
        self._marks = np.lib.format.open_memmap(path.with_suffix(".marks.npy"), mode="r+")

    @staticmethod
    def create(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Make both files, of zeros; the marks first, as the values' presence says that both are there."""

        def make(place: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
            np.lib.format.open_memmap(place, mode="w+", dtype=dtype, shape=shape)

        _write_once(path.with_suffix(".marks.npy"), lambda place: make(place, shape[:2], np.uint8))
        _write_once(path, lambda place: make(place, shape, dtype))

    def read(self, index: int, version: int) -> Tensor | None:
        if not self._marks[index, version]:
            return None
        return torch.from_numpy(np.array(self._values[index, version]))  # a copy: maps are not writable data

    def write(self, index: int, version: int, values: Tensor) -> None:
        self._values[index, version] = values.numpy()
        self._marks[index, version] = 1


def _write_once(path: Path, write: Any) -> None:
    """Make a file unless it is there; of several processes that try, one wins."""
    if path.is_file():
        return
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=".making-"))
    try:
        write(beside / path.name)
        try:
            os.link(beside / path.name, path)  # unlike a rename, it fails where there is a file
        except OSError:  # there is one; or the file system has no links
            if not path.is_file():
                os.replace(beside / path.name, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
