"""Writes pairs in the layout of KITTI scene flow 2015; ``stablemtl.data.kitti_flow`` reads and shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_kitti_flow as write_flow_png
from stablemtl.data.formats import write_kitti_map, write_rgb, write_text
from stablemtl.data.kitti_flow import MATRIX

Floats = NDArray[np.floating[Any]]

MAX_FLOW_PX, MAX_DISPARITY_PX = 511.9, 255.9


def write_kitti_flow(
    root: str | os.PathLike[str],
    number: int,
    *,
    image: NDArray[np.uint8],
    image_next: NDArray[np.uint8],
    flow: Floats,
    flow_valid: NDArray[np.bool_],
    disparity: Floats,
    disparity_next: Floats,
    focal_px: float,
    center_px: tuple[float, float],
) -> None:
    """Write one pair of frames with its labels and the calibration of its left camera.

    The first picture is written last. Values that the formats cannot hold are marked as not valid: flow from
    512 px on, disparities from 256 px on.

    Args:
        root: the dataset's folder; files go below its ``training``.
        number: of the pair.
        image, image_next: RGB, shape (H, W, 3), uint8.
        flow: to the next frame [px], in steps of 1/64, shape (H, W, 2).
        flow_valid: where it is known, shape (H, W).
        disparity: 0.54 m * f / z of the first frame [px], in steps of 1/256, shape (H, W); 0 where not known.
        disparity_next: that of the same points in the second frame [px], shape (H, W); 0 where not known.
        focal_px: focal length [px].
        center_px: principal point (cx, cy) [px].
    Raises:
        ValueError: the shapes disagree.
    """
    size = disparity.shape
    for name, array, shape in (
        ("image", image, (*size, 3)),
        ("image_next", image_next, (*size, 3)),
        ("flow", flow, (*size, 2)),
        ("flow_valid", flow_valid, size),
        ("disparity_next", disparity_next, size),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must be {shape}, as disparity, got {array.shape}.")
    base = Path(root, "training")
    first = f"{number:06d}_10.png"
    write_flow_png(base / "flow_occ" / first, flow, flow_valid & (np.abs(flow).max(-1) < MAX_FLOW_PX))
    for folder, values in (("disp_occ_0", disparity), ("disp_occ_1", disparity_next)):
        write_kitti_map(base / folder / first, values, (values > 0) & (values < MAX_DISPARITY_PX))
    cx, cy = center_px
    matrix = (focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0)
    text = f"{MATRIX}: " + " ".join(f"{value:.12e}" for value in matrix) + "\n"
    write_text(base / "calib_cam_to_cam" / f"{number:06d}.txt", text)
    write_rgb(base / "image_2" / f"{number:06d}_11.png", image_next)
    write_rgb(base / "image_2" / first, image)
