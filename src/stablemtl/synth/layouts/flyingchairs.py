"""Writes pairs in the layout of FlyingChairs; ``stablemtl.data.flyingchairs`` reads it and shows it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.flyingchairs import SPLIT_FILE
from stablemtl.data.formats import write_flo, write_rgb, write_text


def write_chairs_pair(
    root: str | os.PathLike[str],
    number: int,
    *,
    image: NDArray[np.uint8],
    image_next: NDArray[np.uint8],
    flow: NDArray[np.floating[Any]],
) -> None:
    """Write a pair of frames with the optical flow of the first, which comes last.

    Args:
        root: the dataset's folder.
        number: of the pair, from 1.
        image, image_next: RGB, shape (H, W, 3), uint8.
        flow: to the next frame [px], shape (H, W, 2).
    Raises:
        ValueError: the shapes disagree.
    """
    for name, array in (("image", image), ("image_next", image_next)):
        if array.shape != (*flow.shape[:2], 3):
            raise ValueError(f"{name} must be {(*flow.shape[:2], 3)}, as flow, got {array.shape}.")
    folder = Path(root, "data")
    write_rgb(folder / f"{number:05d}_img1.ppm", image)
    write_rgb(folder / f"{number:05d}_img2.ppm", image_next)
    write_flo(folder / f"{number:05d}_flow.flo", flow)


def write_chairs_split(root: str | os.PathLike[str], marks: Iterable[int]) -> None:
    """Write the split file: one mark for each number, from 1; 1 is train, 2 is val, 0 is no such pair."""
    write_text(Path(root, SPLIT_FILE), "".join(f"{mark}\n" for mark in marks))
