"""What the readers of official downloads share: a reader lists its frames, and reads the files of one.

H, W: height and width of a frame; C: channels of its label.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.sample import (
    EmptySplitError,
    Sample,
    check_split,
    check_task,
    image_tensor,
    label_tensor,
    mask_tensor,
    require_folder,
)

FrameT = TypeVar("FrameT")

Floats = NDArray[Any]
Mask = NDArray[np.bool_]


class LabelledFrame(NamedTuple):
    """What was read of a frame, or of a pair of frames, for one task."""

    image: NDArray[np.uint8]
    """RGB, shape (H, W, 3)."""
    label: NDArray[Any]
    """In the task's unit, shape (H, W) or (H, W, C), floating; class ids are integers."""
    valid: Mask
    """Where the label means something, shape (H, W)."""
    key: str
    """Readable name of the frame, unique within the dataset."""
    image_next: NDArray[np.uint8] | None = None
    """The following frame, shape (H, W, 3)."""


class DatasetReader(ABC, Generic[FrameT]):
    """A dataset as downloaded; its class lists ``frames`` when it is made, and has ``read_frame``.

    Args:
        root: folder of the unpacked download.
        split: one of ``splits``.
    Raises:
        FileNotFoundError: no root.
        ValueError: unknown split.
    """

    name: str
    """Short name, as in ``CATALOG``."""
    tasks: tuple[str, ...]
    """Names of the tasks that it labels."""
    splits: tuple[str, ...]
    """Its own names of its splits."""
    frames: list[FrameT]
    """Where each frame of the split lies."""

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        self.split = check_split(self.name, split, self.splits)
        self.root = require_folder(root, self.name)

    def __len__(self) -> int:
        return len(self.frames)

    def indices(self, task: str) -> Sequence[int]:
        """All frames.

        Raises:
            ValueError: no such task here.
        """
        check_task(self.name, task, self.tasks)
        return range(len(self.frames))

    def load(self, index: int, task: str) -> Sample:
        """One frame, or pair of frames, with one label; see ``read_frame``.

        Raises:
            ValueError: no such task here, or a file is damaged or of another size than the picture.
            FileNotFoundError: a file of the frame is missing.
        """
        check_task(self.name, task, self.tasks)
        read = self.read_frame(self.frames[index], task)
        return Sample(
            image=image_tensor(read.image),
            image_next=None if read.image_next is None else image_tensor(read.image_next),
            target=label_tensor(read.label),
            valid=mask_tensor(read.valid),
            task=task,
            dataset=self.name,
            key=read.key,
        )

    @abstractmethod
    def read_frame(self, frame: FrameT, task: str) -> LabelledFrame:
        """Read the files of one frame that ``task`` needs, and nothing else."""

    def require_frames(self, expected: str) -> None:
        """Refuse a split without frames.

        Args:
            expected: the files that were looked for, and where.
        Raises:
            EmptySplitError: there is no frame.
        """
        if not self.frames:
            raise EmptySplitError(f"{self.name} ({self.split} split): no {expected}.")


def check_option(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not one of ``choices``.

    Raises:
        ValueError: naming the option, its choices and ``value``.
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}.")


def first_folder(root: Path, folders: Sequence[str], holds: Callable[[Path], bool]) -> Path:
    """The first of ``folders`` below ``root`` that ``holds`` accepts; the first of all if it accepts none."""
    return next((root / folder for folder in folders if holds(root / folder)), root / folders[0])
