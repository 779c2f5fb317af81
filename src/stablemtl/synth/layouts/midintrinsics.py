"""Writes pictures and albedo in the layout of MIDIntrinsics; ``stablemtl.data.midintrinsics`` shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.exr import write_exr

Floats = NDArray[np.floating[Any]]


def write_midintrinsics(root: str | os.PathLike[str], scene: str, light: int, *, color: Floats) -> None:
    """Write one picture of a scene.

    Args:
        root: the dataset's folder; files go below its ``test``.
        scene: name of the scene's folder.
        light: number of the light's direction, 0 to 24 in the release.
        color: linear radiance, shape (H, W, 3); float16 is stored as such, anything else as float32.
    Raises:
        ValueError: another shape.
    """
    write_exr(Path(root, "test", scene, f"dir_{light}_mip2.exr"), _colour(color, "color"))


def write_midintrinsics_albedo(root: str | os.PathLike[str], scene: str, albedo: Floats) -> None:
    """Write the albedo of a scene: linear reflectance in [0, 1], shape (H, W, 3).

    Raises:
        ValueError: another shape.
    """
    write_exr(Path(root, "test", scene, "albedo.exr"), _colour(albedo, "albedo"))


def _colour(values: Floats, name: str) -> Floats:
    if values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"{name} must be (H, W, 3), got {values.shape}.")
    return values
