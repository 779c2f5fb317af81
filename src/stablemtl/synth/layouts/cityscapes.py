"""Writes frames in the layout of Cityscapes; ``stablemtl.data.cityscapes`` reads it and shows it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.cityscapes import IMAGE_SUFFIX, LABEL_SUFFIX
from stablemtl.data.formats import write_rgb


def write_cityscapes(
    root: str | os.PathLike[str],
    city: str,
    number: int,
    *,
    image: NDArray[np.uint8],
    label_ids: NDArray[np.uint8],
    split: str = "val",
) -> None:
    """Write one frame: the picture, and its label ids (Cityscapes' own, not the eight classes).

    Args:
        root: the dataset's folder.
        city: name of the city's folder.
        number: of the sequence; the frame in it is always 19, the one that Cityscapes labels.
        image: RGB, shape (H, W, 3), uint8.
        label_ids: 0-33, shape (H, W), uint8.
        split: ``train`` or ``val``.
    Raises:
        ValueError: a shape or a dtype is not the one above.
    """
    if image.ndim != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}.")
    if label_ids.shape != image.shape[:2] or label_ids.dtype != np.uint8:
        raise ValueError(
            f"label_ids must be {image.shape[:2]} uint8, as the image, "
            f"got {label_ids.shape} {label_ids.dtype}."
        )
    stem = f"{city}_{number:06d}_000019"
    write_rgb(Path(root, "leftImg8bit", split, city, stem + IMAGE_SUFFIX), image)
    write_rgb(Path(root, "gtFine", split, city, stem + LABEL_SUFFIX), label_ids)
