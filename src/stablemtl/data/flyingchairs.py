"""FlyingChairs: rendered chairs over photographs, moved by affine motions, with optical flow.

Source: Dosovitskiy et al., ICCV 2015, arXiv 1504.06852. Read as downloaded::

    data/00001_img1.ppm   data/00001_img2.ppm   data/00001_flow.flo
    FlyingChairs_train_val.txt             line n is 1 (train) or 2 (val) for pair n; a separate download
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from stablemtl.data.formats import read_flo, read_rgb
from stablemtl.data.reader import DatasetReader, LabelledFrame
from stablemtl.data.sample import EmptySplitError, require_file

SPLIT_FILE = "FlyingChairs_train_val.txt"
_SPLIT_MARKS = {"train": "1", "val": "2"}
_ABSENT_MARK = "0"  # a number without a pair; the official file has none, generated data may


class FlyingChairs(DatasetReader[int]):
    """Pairs of images with optical flow [px], valid wherever the flow is finite.

    Args:
        root: folder that holds ``data`` (the archive's ``FlyingChairs_release``).
        split: ``train`` or ``val`` of the official split file, looked for in ``root``, ``root/data`` and the
            folder above.
    Raises:
        FileNotFoundError: no root or no split file.
        EmptySplitError: the split file gives no pair to this split.
        ValueError: unknown split, or a line of the split file is not 0, 1 or 2.
    """

    name = "flyingchairs"
    tasks = ("optical_flow",)
    splits = ("train", "val")

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        super().__init__(root, split)
        self.frames = read_split(_find_split_file(self.root), split)

    def read_frame(self, frame: int, task: str) -> LabelledFrame:
        """One pair of images with its flow.

        Raises:
            FileNotFoundError: a file of the pair is missing.
        """
        flow = read_flo(self._path(frame, "flow.flo"))
        valid = np.isfinite(np.abs(flow).max(-1))
        return LabelledFrame(
            image=read_rgb(self._path(frame, "img1.ppm")),
            image_next=read_rgb(self._path(frame, "img2.ppm")),
            label=np.where(valid[..., None], flow, np.float32(0.0)),
            valid=valid,
            key=f"{frame:05d}",
        )

    def _path(self, number: int, ending: str) -> Path:
        return require_file(self.root / "data" / f"{number:05d}_{ending}", self.name, self.split)


def read_split(path: Path, split: str) -> list[int]:
    """Numbers, from 1, of the pairs that the official file gives to ``split``."""
    marks = path.read_text().split()
    strange = sorted(set(marks) - {*_SPLIT_MARKS.values(), _ABSENT_MARK})
    if strange:
        raise ValueError(
            f"{path}: every line must be 1 (train), 2 (val) or 0 (no such pair), got {strange[0]!r}."
        )
    numbers = [number for number, mark in enumerate(marks, start=1) if mark == _SPLIT_MARKS[split]]
    if not numbers:
        raise EmptySplitError(f"flyingchairs: {path} gives no pair to the {split} split.")
    return numbers


def _find_split_file(root: Path) -> Path:
    for folder in (root, root / "data", root.parent):
        if (path := folder / SPLIT_FILE).is_file():
            return path
    raise FileNotFoundError(
        f"flyingchairs: no {SPLIT_FILE} in {root}, its data folder or the folder above. It is a separate "
        "download beside the archive."
    )
