"""Writes pairs in the layout of FlyingThings3D's subset; ``stablemtl.data.flyingthings3d`` shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_flo, write_pfm, write_rgb

Floats = NDArray[np.floating[Any]]


def write_things_pair(
    root: str | os.PathLike[str],
    split: str,
    number: int,
    *,
    image: NDArray[np.uint8],
    image_next: NDArray[np.uint8],
    disparity: Floats,
    disparity_change: Floats,
    flow: Floats,
    occluded: NDArray[np.bool_],
) -> None:
    """Write frames ``number`` and ``number + 1`` (clean pass, left camera), and the labels of the first.

    The flow is written last.

    Args:
        root: the dataset's folder.
        split: ``train`` or ``val``.
        number: of the first frame.
        image, image_next: RGB, shape (H, W, 3), uint8.
        disparity: f / z for a stereo baseline of 1 [px, positive], shape (H, W); stored negated.
        disparity_change: disparity of the same points one frame later, minus ``disparity`` [px], shape
            (H, W); stored negated.
        flow: to the next frame [px], shape (H, W, 2).
        occluded: where the points are not seen in the next frame, shape (H, W).
    Raises:
        ValueError: the shapes disagree.
    """
    size = disparity.shape
    for name, array, shape in (
        ("image", image, (*size, 3)),
        ("image_next", image_next, (*size, 3)),
        ("disparity_change", disparity_change, size),
        ("flow", flow, (*size, 2)),
        ("occluded", occluded, size),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must be {shape}, as disparity, got {array.shape}.")
    base, later = Path(root, split), "left/into_future"
    write_rgb(base / "image_clean" / "left" / f"{number:07d}.png", image)
    write_rgb(base / "image_clean" / "left" / f"{number + 1:07d}.png", image_next)
    write_pfm(base / "disparity" / "left" / f"{number:07d}.pfm", -disparity)
    write_pfm(base / "disparity_change" / later / f"{number:07d}.pfm", -disparity_change)
    hidden = np.where(occluded, 255, 0).astype(np.uint8)
    write_rgb(base / "flow_occlusions" / later / f"{number:07d}.png", hidden)
    write_flo(base / "flow" / later / f"{number:07d}.flo", flow)
