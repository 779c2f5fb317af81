"""The values of a clip in files of a few frames each, and their reader.

``<task>/000032.npz`` holds the frames from number 32 on::

    values   (n, H, W) or (n, H, W, C), float16 or float32; class ids uint8
    valid    (n, H, W) bool
    time_s   (n,) when each frame is shown in the source [s]
    pts      (n,) the same in the source's own ticks
    scale, shift   (n, C): what smoothing multiplied the prediction with, then added, 1 and 0 where nothing

and, as text, what a single prediction's file says of itself: task, unit, convention, scale_known,
shift_known, encoding, and notes (frame number -> note).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks.base import Task, TaskSpec
from stablemtl.writers import write_npz

VIDEO_FILE = "video.json"
"""What describes a finished clip, beside its videos and arrays."""

_HALF_MAX = float(np.finfo(np.float16).max)


def chunk_name(first: int) -> str:
    """File of the frames from number ``first`` on.

    >>> chunk_name(32)
    '000032.npz'
    """
    return f"{first:06d}.npz"


def array_files(description: Mapping[str, Any]) -> list[str]:
    """Names of the files of each task, from what describes the clip."""
    if not description["arrays"]:
        return []
    return [chunk_name(n) for n in range(0, description["frames"], description["arrays"]["frames_per_file"])]


def stored_type(spec: TaskSpec, wanted: str, limit: float) -> np.dtype:
    """Number type of a task's arrays: uint8 for class ids; float32 where float16 could overflow.

    Args:
        spec: of the task.
        wanted: ``float16`` or ``float32``.
        limit: the largest magnitude that may come [unit].
    """
    if spec.classes:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if wanted == "float32" or limit > _HALF_MAX else np.dtype(np.float16)


@dataclass
class Chunk:
    """Frames of one task that go into one file."""

    first: int
    values: list[np.ndarray] = field(default_factory=list)
    """(H, W, C) each, of the type stored."""
    valid: list[np.ndarray] = field(default_factory=list)
    scale: list[list[float]] = field(default_factory=list)
    shift: list[list[float]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """Frame number -> note."""

    def write(self, path: Path, task: Task, pts: Sequence[int], time_base: float) -> None:
        """One file, compressed; ``pts`` are the frames' timestamps in units of ``time_base`` [s]."""
        values, spec = np.stack(self.values), task.spec
        arrays = {
            "values": values[..., 0] if spec.channels == 1 else values,
            "valid": np.stack(self.valid),
            "time_s": np.array(pts, np.int64) * time_base,
            "pts": np.array(pts, np.int64),
            "scale": np.array(self.scale, np.float32),
            "shift": np.array(self.shift, np.float32),
        }
        facts = {
            "task": spec.name,
            "unit": spec.unit,
            "convention": spec.convention,
            "scale_known": spec.scale_known,
            "shift_known": spec.shift_known,
            "encoding": dict(task.options),
            "notes": self.notes,
            "first_frame": self.first,
        }
        write_npz(path, arrays, facts)


def read_chunk(path: Path) -> dict[str, np.ndarray]:
    """Everything in a file of arrays.

    Raises:
        ValueError: it was not written by :class:`Chunk`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a file of a video's arrays: {error}.") from error


class VideoMaps(Mapping[int, Predictions]):
    """The maps of a finished clip, read from its arrays: frame number -> predictions.

    One file of each task is in memory at a time.

    >>> maps = VideoMaps("maps")  # doctest: +SKIP
    >>> maps[0]["depth"].values.shape, maps.times_s[:2]  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open what ``predict_video`` wrote.

        Raises:
            FileNotFoundError: the folder has no ``video.json``.
            ValueError: its arrays were not kept.
        """
        self.folder = Path(folder)
        description = self.folder / VIDEO_FILE
        if not description.is_file():
            raise FileNotFoundError(f"{self.folder} has no {VIDEO_FILE}: no video was predicted into it.")
        self.facts = json.loads(description.read_text(encoding="utf-8"))
        if not self.facts["arrays"]:
            raise ValueError(f"{self.folder} holds no arrays: they were turned off when it was made.")
        self.tasks = tuple(self.facts["tasks"])
        self._frames_per_file = int(self.facts["arrays"]["frames_per_file"])
        self._open: dict[str, tuple[int, dict[str, np.ndarray]]] = {}

    def __len__(self) -> int:
        return int(self.facts["frames"])

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __getitem__(self, frame: int) -> Predictions:
        if not 0 <= frame < len(self):
            raise KeyError(f"no frame {frame}; this clip has frames 0 to {len(self) - 1}")
        return Predictions({task: self._one(task, frame) for task in self.tasks})

    @property
    def times_s(self) -> np.ndarray:
        """When each frame is shown in the source [s], shape (T,)."""
        parts = []
        for name in array_files(self.facts):
            with np.load(self.folder / self.tasks[0] / name, allow_pickle=False) as archive:
                parts.append(archive["time_s"])  # the rest of the file is not read
        return np.concatenate(parts)

    def _one(self, task: str, frame: int) -> Prediction:
        first = frame - frame % self._frames_per_file
        if self._open.get(task, (-1, {}))[0] != first:
            self._open[task] = (first, read_chunk(self.folder / task / chunk_name(first)))
        content = self._open[task][1]
        stored = content["values"][frame - first]
        return Prediction(
            task=task,
            values=stored.astype(np.int64 if stored.dtype.kind in "iu" else np.float32),
            valid=content["valid"][frame - first],
            unit=str(content["unit"]),
            convention=str(content["convention"]),
            scale_known=json.loads(str(content["scale_known"])),
            shift_known=json.loads(str(content["shift_known"])),
            encoding=json.loads(str(content["encoding"])),
            note=json.loads(str(content["notes"])).get(str(frame), ""),
        )
