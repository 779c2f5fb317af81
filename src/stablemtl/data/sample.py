"""What a dataset gives: one labelled frame (or pair of frames) at a time, and what every reader needs.

Sizes are (height, width). H, W: image size; C: channels of the label.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.tasks.semantic import IGNORE

IGNORE_CLASS = IGNORE
"""Semantic id of pixels without one of the eight classes."""


class EmptySplitError(FileNotFoundError):
    """The dataset is there, but holds no frame of the split that was asked for."""


class SampleError(OSError):
    """A sample cannot be read; the message names dataset, task, index and file."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One frame, or two consecutive frames, with the label of one task.

    Labels are in physical units and in the conventions of the task's file (see ``stablemtl.tasks``).

    Args:
        image: RGB in [0, 1], shape (3, H, W), float32.
        image_next: the following frame, same shape and range; ``None`` where the dataset or task has none.
        target: label, shape (C, H, W), float32; class ids are (1, H, W) int64.
        valid: True where ``target`` means something, shape (1, H, W), bool.
        task: name of the task that ``target`` belongs to.
        dataset: name of the dataset it came from.
        key: readable name of the frame, unique within the dataset.
    Raises:
        ValueError: a shape or a dtype is not the one above.
    """

    image: Tensor
    image_next: Tensor | None = None
    target: Tensor
    valid: Tensor
    task: str
    dataset: str
    key: str

    def __post_init__(self) -> None:
        size = tuple(self.image.shape[-2:])
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.dtype != torch.float32:
            raise ValueError(f"image must be (3, H, W) float32, got {_describe(self.image)}.")
        if self.image_next is not None and (
            self.image_next.shape != self.image.shape or self.image_next.dtype != torch.float32
        ):
            raise ValueError(
                f"image_next must be {tuple(self.image.shape)} float32, got {_describe(self.image_next)}."
            )
        if self.target.ndim != 3 or tuple(self.target.shape[-2:]) != size:
            raise ValueError(f"target must be (C, {size[0]}, {size[1]}), got {_describe(self.target)}.")
        if tuple(self.valid.shape) != (1, *size) or self.valid.dtype != torch.bool:
            raise ValueError(f"valid must be (1, {size[0]}, {size[1]}) bool, got {_describe(self.valid)}.")


class Dataset(Protocol):
    """A set of frames that carries the labels of some tasks. One file per dataset; no base class needed."""

    @property
    def name(self) -> str:
        """Short name, as in ``CATALOG``."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it labels."""
        ...

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def indices(self, task: str) -> Sequence[int]:
        """Frames that have a label of ``task`` (flows lack it on the last frame of a sequence)."""
        ...

    def load(self, index: int, task: str) -> Sample:
        """Read one frame and the label of one task, and nothing else."""
        ...


class DatasetWrapper:
    """A dataset around another, with its name, tasks and frames; a subclass has ``load``.

    Args:
        dataset: the other one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @property
    def name(self) -> str:
        """Of the dataset."""
        return self.dataset.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """Of the dataset."""
        return self.dataset.tasks

    def __len__(self) -> int:
        return len(self.dataset)

    def indices(self, task: str) -> Sequence[int]:
        """Of the dataset."""
        return self.dataset.indices(task)


def load_sample(dataset: Dataset, task: str, index: int) -> Sample:
    """``dataset.load(index, task)``; what goes wrong with its files is told with the sample's place.

    Raises:
        SampleError: a file is missing or damaged.
    """
    try:
        return dataset.load(index, task)
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise SampleError(f"{dataset.name} {task}, sample {index}: {text}") from error


def check_split(dataset: str, split: str, choices: Sequence[str]) -> str:
    """``split`` itself if it is one of ``choices``; otherwise a ValueError that lists them."""
    if split not in choices:
        raise ValueError(f"unknown split {split!r} of {dataset}; choose from {', '.join(choices)}.")
    return split


def check_task(dataset: str, task: str, tasks: Sequence[str]) -> str:
    """``task`` itself if the dataset labels it; otherwise a ValueError that lists what it labels."""
    if task not in tasks:
        raise ValueError(f"{dataset} has no labels for task {task!r}; it has {', '.join(tasks)}.")
    return task


def require_folder(path: str | os.PathLike[str], dataset: str) -> Path:
    """``path`` as a Path if it is a folder; otherwise a FileNotFoundError that says what it should be."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{dataset}: no folder {folder}. It must be the unpacked official download; "
            'see "Datasets" in the README for the layout.'
        )
    return folder


def require_file(path: Path, dataset: str, split: str) -> Path:
    """``path`` if it is a file; otherwise a FileNotFoundError that names dataset, split and path."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{dataset} ({split} split): no file {path}. The download is not complete; "
            'see "Datasets" in the README for the layout.'
        )
    return path


def sorted_names(paths: Iterable[Path]) -> list[str]:
    """Names of files or folders, sorted, without hidden ones (half-written files, system droppings)."""
    return sorted(path.name for path in paths if not path.name.startswith("."))


def image_tensor(image: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(torch.float32).div_(255.0)


def label_tensor(label: NDArray[Any]) -> Tensor:
    """(H, W) or (H, W, C) to (C, H, W): float32 for floats, int64 for integers."""
    channels_first = label[None] if label.ndim == 2 else label.transpose(2, 0, 1)
    dtype = np.float32 if np.issubdtype(label.dtype, np.floating) else np.int64
    return torch.from_numpy(np.ascontiguousarray(channels_first, dtype=dtype))


def mask_tensor(valid: NDArray[np.bool_]) -> Tensor:
    """(H, W) bool to (1, H, W) bool."""
    return torch.from_numpy(np.ascontiguousarray(valid[None], dtype=np.bool_))


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
