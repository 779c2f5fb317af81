"""What maps of one scene say of each other, pixel by pixel: arrays in, arrays out.

Shared by the maps of :mod:`stablemtl.confidence.cross_task` and the mean figures of
:mod:`stablemtl.evaluation.label_free`.

Letters: H, W height and width of picture and maps; C channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stablemtl.camera import Camera
from stablemtl.data.normals_from_depth import normals_from_depth

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEP = 1.1  # ratio of neighbouring depths above which there is a border between them
_LEAST = 1e-12


def surface(depth: NDArray[Any], valid: Mask, camera: Camera) -> tuple[Float, Mask]:
    """Normals of the surface that a map of depth describes, and where it has any.

    Borders of objects have no normal: pixels beside which depth changes by more than a tenth are left out.

    Args:
        depth: (H, W), planar; its scale does not matter, its zero does.
        valid: (H, W).
        camera: for pictures of this size.
    Returns:
        Unit vectors (H, W, 3) away from the camera, x right, y down, z forward; and (H, W) bool.
    """
    z = depth.astype(np.float64)
    usable = valid & (z > 0)
    middle = float(np.median(z[valid])) if valid.any() else 1.0
    # Divided by the middle: the method weighs gradients by their size.
    safe = np.where(usable, z / max(middle, _LEAST), 1.0)
    normals = normals_from_depth(safe, focal_px=(camera.fx, camera.fy), center_px=(camera.cx, camera.cy))
    return normals.astype(np.float64), usable & ~_borders(safe)


def angle_deg(one: NDArray[Any], other: NDArray[Any]) -> Float:
    """Angle between vectors (..., 3) of any length [deg]; 90 where one has none."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    cosine = (one * other).sum(axis=-1) / np.maximum(lengths, _LEAST)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def scaled_residual(values: NDArray[Any], target: NDArray[Any], valid: Mask) -> Float:
    """Distance of s x values to target at each pixel: root of the mean square over the channels, (H, W).

    Args:
        values, target: (H, W, C).
        valid: (H, W): pixels that the least-squares scale s is fitted on.
    """
    seen, wanted = (x.astype(np.float64) for x in (values, target))
    power = float((seen[valid] ** 2).sum())
    scale = float((seen[valid] * wanted[valid]).sum()) / power if power else 0.0
    return np.asarray(np.sqrt(((scale * seen - wanted) ** 2).mean(axis=-1)))


def induced_flow(depth_m: NDArray[Any], motion_m: NDArray[Any], camera: Camera) -> tuple[Float, Mask]:
    r"""Optical flow that follows from depth and scene flow, both frames being of one camera [px].

    .. math:: P = z \Bigl(\frac{u - c_x}{f_x}, \frac{v - c_y}{f_y}, 1\Bigr), \quad Q = P + S, \quad
        f(u, v) = \Bigl(f_x \frac{Q_x}{Q_z} + c_x - u,\; f_y \frac{Q_y}{Q_z} + c_y - v\Bigr)

    Args:
        depth_m: planar depth z of the first frame [m], (H, W).
        motion_m: scene flow S [m], x right, y down, z forward, (H, W, 3).
        camera: for pictures of this size.
    Returns:
        (H, W, 2), u right and v down; and (H, W) bool, where the point is in front of both cameras.
    """
    height, width = depth_m.shape
    rows, columns = np.mgrid[0:height, 0:width]
    points = camera.rays(rows, columns) * depth_m[:, :, None].astype(np.float64)
    moved = points + motion_m.astype(np.float64)
    visible = (depth_m > 0) & (moved[:, :, 2] > 0)
    z = np.where(visible, moved[:, :, 2], 1.0)
    u = camera.fx * moved[:, :, 0] / z + camera.cx
    v = camera.fy * moved[:, :, 1] / z + camera.cy
    return np.stack([u - columns, v - rows], axis=-1), np.asarray(visible)


def follow(values: NDArray[Any], flow: NDArray[Any]) -> tuple[Float, Mask]:
    """``values`` (H, W, C) at p + flow(p), bilinear, and where that lies in the picture."""
    height, width = flow.shape[:2]
    x = np.arange(width)[None, :] + flow[:, :, 0].astype(np.float64)
    y = np.arange(height)[:, None] + flow[:, :, 1].astype(np.float64)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    grid = np.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], axis=-1)
    picture = torch.from_numpy(np.array(values.transpose(2, 0, 1), np.float64))[None]
    seen = F.grid_sample(
        picture, torch.from_numpy(np.nan_to_num(grid))[None], padding_mode="border", align_corners=True
    )
    return seen[0].permute(1, 2, 0).numpy(), np.asarray(inside)


def colour_change(first: NDArray[Any], second: NDArray[Any], flow: NDArray[Any]) -> tuple[Float, Mask]:
    """Mean absolute difference over the channels between a pixel and where its flow leads, (H, W).

    Args:
        first, second: pictures (H, W, C).
        flow: from the first to the second [px], (H, W, 2).
    Returns:
        The difference; and (H, W) bool, where the flow stays in the picture.
    """
    moved, inside = follow(second, flow)
    return np.asarray(np.abs(moved - first).mean(axis=-1)), inside


def _borders(z: Float) -> Mask:
    """Pixels beside which depth changes by more than a tenth."""
    border = np.zeros(z.shape, bool)
    for axis in (0, 1):
        step = np.abs(np.diff(np.log(np.maximum(z, _LEAST)), axis=axis)) > math.log(_STEP)
        before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        before[axis], after[axis] = (0, 1), (1, 0)
        border |= np.pad(step, before) | np.pad(step, after)
    return border
