"""Writes frames in the layout of DIODE; ``stablemtl.data.diode`` reads and shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.diode import PLACES
from stablemtl.data.formats import write_npy, write_rgb

Floats = NDArray[np.floating[Any]]


def write_diode(
    root: str | os.PathLike[str],
    place: Literal["indoors", "outdoor"],
    scene: int,
    scan: int,
    name: str,
    *,
    image: NDArray[np.uint8],
    depth_m: Floats,
    normal: Floats,
    valid: NDArray[np.bool_],
) -> None:
    """Write one frame with depth, its mask and normals; the picture is written last.

    Args:
        root: the dataset's folder; files go below its ``val``.
        place: ``indoors`` or ``outdoor``.
        scene, scan: numbers of the folders.
        name: of the files, without ending.
        image: RGB, shape (H, W, 3), uint8.
        depth_m: depth [m], shape (H, W); stored as float32, and as 0 where not valid.
        normal: unit vectors that face the camera, x right, y up, z to the viewer, shape (H, W, 3); stored as
            float32, and as 0 where not valid.
        valid: where depth and normal are known, shape (H, W).
    Raises:
        ValueError: unknown place, or the shapes disagree.
    """
    if place not in PLACES:
        raise ValueError(f"unknown place {place!r}; choose from {', '.join(PLACES)}.")
    size = valid.shape
    for argument, array, shape in (
        ("image", image, (*size, 3)),
        ("depth_m", depth_m, size),
        ("normal", normal, (*size, 3)),
    ):
        if array.shape != shape:
            raise ValueError(f"{argument} must be {shape}, as valid, got {array.shape}.")
    folder = Path(root, "val", place, f"scene_{scene:05d}", f"scan_{scan:05d}")
    depth = np.where(valid, depth_m, 0.0).astype(np.float32)
    write_npy(folder / f"{name}_depth.npy", depth[..., None])
    write_npy(folder / f"{name}_depth_mask.npy", valid.astype(np.float32))
    write_npy(folder / f"{name}_normal.npy", np.where(valid[..., None], normal, 0.0).astype(np.float32))
    write_rgb(folder / f"{name}.png", image)
