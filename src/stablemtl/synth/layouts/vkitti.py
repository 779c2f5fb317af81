"""Writes frames in the layout of Virtual KITTI 2; ``stablemtl.data.vkitti`` reads it and shows it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_png16, write_rgb, write_text
from stablemtl.data.vkitti import SCENE_FLOW_RANGE_M

Floats = NDArray[np.floating[Any]]
_LARGEST = 65535


def write_vkitti_frame(
    root: str | os.PathLike[str],
    scene: str,
    variation: str,
    camera: int,
    number: int,
    *,
    image: NDArray[np.uint8],
    depth_m: Floats,
    classes_rgb: NDArray[np.uint8],
    flow: Floats | None = None,
    flow_valid: NDArray[np.bool_] | None = None,
    scene_flow: Floats | None = None,
) -> None:
    """Write one frame; without motion it is the last one of its sequence. The picture is written last.

    Motion that the format cannot hold is marked as not valid: flow as large as the picture, or scene flow
    beyond 10 m.

    Args:
        root: the dataset's folder.
        scene: name like ``Scene01``.
        variation: name like ``clone``.
        camera: 0 or 1.
        number: of the frame.
        image: RGB, shape (H, W, 3), uint8; JPEG loses a little of it.
        depth_m: planar z [m], in steps of 1 cm, shape (H, W); infinite on the sky.
        classes_rgb: colours of the classes (``CLASS_COLOURS`` of the reader), shape (H, W, 3), uint8.
        flow: to the next frame [px], in steps of 2 (W - 1) / 65535, shape (H, W, 2).
        flow_valid: where flow and scene flow are known, shape (H, W); everywhere by default.
        scene_flow: motion of the points between the two cameras' axes [m], shape (H, W, 3).
    Raises:
        ValueError: the shapes disagree, or flow comes without scene flow.
    """
    size = depth_m.shape
    if (flow is None) != (scene_flow is None):
        raise ValueError("flow and scene_flow must come together, got one of them.")
    wanted: dict[str, tuple[NDArray[Any], int]] = {"image": (image, 3), "classes_rgb": (classes_rgb, 3)}
    if flow is not None and scene_flow is not None:
        wanted |= {"flow": (flow, 2), "scene_flow": (scene_flow, 3)}
    for name, (array, channels) in wanted.items():
        if array.shape != (*size, channels):
            raise ValueError(f"{name} must be {(*size, channels)}, as depth_m, got {array.shape}.")
    frames = Path(root, scene, variation, "frames")

    def path(kind: str, stem: str, suffix: str = "png") -> Path:
        return frames / kind / f"Camera_{camera}" / f"{stem}_{number:05d}.{suffix}"

    depth_cm = np.where(np.isfinite(depth_m), np.rint(depth_m * 100.0), _LARGEST)
    write_png16(path("depth", "depth"), np.clip(depth_cm, 1, _LARGEST).astype(np.uint16))
    write_rgb(path("classSegmentation", "classgt"), classes_rgb)
    if flow is not None and scene_flow is not None:
        share = flow / [size[1] - 1, size[0] - 1]
        fits = (np.abs(share) < 1).all(-1) & (np.abs(scene_flow) < SCENE_FLOW_RANGE_M).all(-1)
        valid = fits if flow_valid is None else fits & flow_valid
        coded = np.where(valid[..., None], _coded(np.dstack([share, np.ones(size)])), 0)
        write_png16(path("forwardFlow", "flow"), coded.astype(np.uint16))
        write_png16(path("forwardSceneFlow", "sceneFlow"), _coded(scene_flow / SCENE_FLOW_RANGE_M))
    write_rgb(path("rgb", "rgb", "jpg"), image, jpeg_quality=95)


def write_vkitti_intrinsics(
    root: str | os.PathLike[str],
    scene: str,
    variation: str,
    rows: Iterable[tuple[int, int, float, float, float, float]],
) -> None:
    """Write ``intrinsic.txt``: frame, camera, fx, fy, u0, v0 [px] in each row."""
    lines = [" ".join([str(frame), str(camera), *(f"{x:.6f}" for x in k)]) for frame, camera, *k in rows]
    text = "\n".join(["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]", *lines, ""])
    write_text(Path(root, scene, variation, "intrinsic.txt"), text)


def _coded(values: Floats) -> NDArray[np.uint16]:
    """[-1, 1] to the whole range of 16 bits."""
    return np.rint((np.clip(np.nan_to_num(values), -1, 1) + 1) / 2 * _LARGEST).astype(np.uint16)
