"""Writes frames in the layout of Hypersim; ``stablemtl.data.hypersim`` reads it and shows it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_hdf5, write_text
from stablemtl.data.hypersim_lists import SPLIT_CSV

Floats = NDArray[np.floating[Any]]
SplitRow = tuple[str, str, int, bool, str, str]
"""Scene, camera, frame, whether it is public, why not, and its split."""

SPLIT_COLUMNS = (
    *("scene_name", "camera_name", "frame_id"),
    *("included_in_public_release", "exclude_reason", "split_partition_name"),
)


def write_hypersim_frame(
    root: str | os.PathLike[str],
    scene: str,
    camera: str,
    number: int,
    *,
    color: Floats,
    reflectance: Floats,
    distance: Floats,
    normal_cam: Floats,
    normal_world: Floats,
    position: Floats,
    entity: NDArray[np.integer[Any]],
) -> None:
    """Write one frame: seven files, half floats but for positions and entities.

    Args:
        root: the dataset's folder.
        scene: name like ``ai_001_001``.
        camera: name like ``cam_00``.
        number: of the frame.
        color: linear radiance, shape (H, W, 3).
        reflectance: linear diffuse reflectance, shape (H, W, 3).
        distance: from the camera's centre, not along its axis [m], shape (H, W); NaN where unknown.
        normal_cam: normals in axes x right, y up, z to the viewer, shape (H, W, 3).
        normal_world: the same in world axes, shape (H, W, 3).
        position: in world axes [m], shape (H, W, 3); NaN where unknown.
        entity: number of the object seen, -1 for none, shape (H, W).
    Raises:
        ValueError: the shapes disagree.
    """
    size = entity.shape
    final = {"color": (color, np.float16), "diffuse_reflectance": (reflectance, np.float16)}
    geometry = {
        "depth_meters": (distance, np.float16),
        "normal_cam": (normal_cam, np.float16),
        "normal_world": (normal_world, np.float16),
        "position": (position, np.float32),
        "render_entity_id": (entity, np.int32),
    }
    for kind, (array, _) in {**final, **geometry}.items():
        expected = size if kind in ("depth_meters", "render_entity_id") else (*size, 3)
        if array.shape != expected:
            raise ValueError(f"{kind} must be {expected}, as entity, got {array.shape}.")
    images = Path(root, scene, "images")
    for group, arrays in (("final", final), ("geometry", geometry)):
        for kind, (array, dtype) in arrays.items():
            path = images / f"scene_{camera}_{group}_hdf5" / f"frame.{number:04d}.{kind}.hdf5"
            write_hdf5(path, array.astype(dtype))


def write_hypersim_cameras(root: str | os.PathLike[str], scene: str, camera: str, positions: Floats) -> None:
    """Write where a camera stood: world position of each frame [m], shape (frames, 3)."""
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"positions must be (frames, 3) in metres, got {positions.shape}.")
    write_hdf5(Path(root, scene, "_detail", camera, "camera_keyframe_positions.hdf5"), positions)


def write_hypersim_split(root: str | os.PathLike[str], rows: Iterable[SplitRow]) -> None:
    """Write the split file, one row a frame in the order of ``SPLIT_COLUMNS``."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(SPLIT_COLUMNS)
    table.writerows(rows)
    write_text(Path(root, SPLIT_CSV), text.getvalue())
