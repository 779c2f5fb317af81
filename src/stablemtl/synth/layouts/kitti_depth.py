"""Writes frames in the layout of KITTI depth; ``stablemtl.data.kitti_depth`` reads it and shows it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_kitti_map, write_rgb, write_text
from stablemtl.data.kitti_depth import FRAME_LIST


def write_kitti_depth(
    root: str | os.PathLike[str],
    drive: str,
    number: int,
    *,
    image: NDArray[np.uint8],
    depth_m: NDArray[np.floating[Any]],
) -> tuple[str, str]:
    """Write one frame: the picture, and its depth in steps of 1/256 m up to 255.996 m.

    Args:
        root: the dataset's folder.
        drive: name like ``2011_09_26_drive_0002_sync``; its date names the folder of the picture.
        number: of the frame in the drive.
        image: RGB, shape (H, W, 3), uint8.
        depth_m: planar z [m], shape (H, W); zero, negative or not finite means not measured.
    Returns:
        Paths of picture and depth, relative to ``root``, as ``write_kitti_depth_list`` takes them.
    Raises:
        ValueError: a shape, a dtype or the name of the drive is not the one above.
    """
    if re.match(r"\d{4}_\d\d_\d\d_", drive) is None:
        raise ValueError(
            f"drive must begin with its date, as in '2011_09_26_drive_0002_sync', got {drive!r}."
        )
    if image.ndim != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}.")
    if depth_m.shape != image.shape[:2]:
        raise ValueError(f"depth_m must be {image.shape[:2]}, as the image, got {depth_m.shape}.")
    picture = f"{drive[:10]}/{drive}/image_02/data/{number:010d}.png"
    depth = f"{drive}/proj_depth/groundtruth/image_02/{number:010d}.png"
    measured = np.isfinite(depth_m) & (depth_m > 0)
    write_rgb(Path(root, picture), image)
    write_kitti_map(Path(root, depth), np.where(measured, depth_m, 0.0), measured)
    return picture, depth


def write_kitti_depth_list(
    root: str | os.PathLike[str], rows: Iterable[tuple[str, str | None, float]]
) -> None:
    """Write the list of frames to read: picture, depth or ``None``, and focal length [px] in each line."""
    lines = (f"{picture} {depth} {focal}\n" for picture, depth, focal in rows)
    write_text(Path(root, FRAME_LIST), "".join(lines))
