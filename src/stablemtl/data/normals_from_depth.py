"""Surface normals from a depth map: D2NT v3."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_EPSILON = 1e-8


def normals_from_depth(
    depth: NDArray[np.floating],
    *,
    focal_px: tuple[float, float],
    center_px: tuple[float, float],
    pixel_origin: int = 0,
) -> NDArray[np.float32]:
    r"""Unit normals of a planar-depth map, pointing away from the camera.

    On a plane seen by a pin-hole camera, with offsets :math:`u', v'` from the principal point and depth
    gradients :math:`Z_u, Z_v` per pixel, the normal away from the camera is

    .. math:: n \propto (-f_x Z_u,\; -f_y Z_v,\; Z + u' Z_u + v' Z_v)

    Gradients lean to the side of each pixel where depth is smoother, so as not to cross object borders; then
    each pixel takes the normal of whichever of its four neighbours and itself has the smallest Laplacian.

    Source: D2NT, Feng et al., ICRA 2023, arXiv 2304.12031 (version 3), with the sign that StableMTL uses.

    Args:
        depth: planar depth z [m], shape (H, W), H and W at least 2. Sky must be masked by the caller.
        focal_px: focal lengths (fx, fy) [px].
        center_px: principal point (u0, v0) [px], column first.
        pixel_origin: number of the first column and row. 0 is geometrically right for a principal point that
            counts from 0; the published VKITTI2 labels were made with 1, which tilts them by 1/f rad.
    Returns:
        Normals in OpenCV axes (x right, y down, z forward), shape (H, W, 3), float32, unit length: a wall
        facing the camera is (0, 0, 1), a floor (0, 1, 0), a wall on the left (-1, 0, 0).
    Raises:
        ValueError: ``depth`` is not (H, W) with at least two rows and columns.
    """
    if depth.ndim != 2 or min(depth.shape) < 2:
        raise ValueError(f"depth must be (H, W) with at least 2 rows and 2 columns, got {depth.shape}.")
    z = depth.astype(np.float64)
    padded = np.pad(z, 1, mode="reflect")
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    up, down = padded[:-2, 1:-1], padded[2:, 1:-1]

    gradient_u = _directed_gradient(z - left, right - z, axis=1)  # (H, W), m per px
    gradient_v = _directed_gradient(z - up, down - z, axis=0)
    offset_u = np.arange(z.shape[1])[None, :] + (pixel_origin - center_px[0])
    offset_v = np.arange(z.shape[0])[:, None] + (pixel_origin - center_px[1])
    normals = np.stack(
        [
            -gradient_u * focal_px[0],
            -gradient_v * focal_px[1],
            z + offset_v * gradient_v + offset_u * gradient_u,
        ],
        axis=-1,
    )
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + _EPSILON
    laplacian = np.abs(4.0 * z - left - right - up - down)
    return _take_from_smoothest(normals, laplacian).astype(np.float32)


def _directed_gradient(before: Float64, after: Float64, axis: int) -> Float64:
    """Weighted one-sided differences: the side whose neighbour is locally straighter counts more."""
    straightness = np.exp(-np.abs(before - after))
    p_before = _shift(straightness, 1, axis, outside=0.0)
    p_after = _shift(straightness, -1, axis, outside=0.0)
    total = _EPSILON + p_before + p_after
    w_before = (p_before + _EPSILON / 2) / total
    w_after = (p_after + _EPSILON / 2) / total
    # A side that outweighs the other by more than e counts alone. Each line sees the one before it.
    w_before = np.where(w_before / (w_after + _EPSILON) > math.e, 1.0, w_before)
    w_after = np.where(w_before / (w_after + _EPSILON) > math.e, 0.0, w_after)
    w_before = np.where(w_after / (w_before + _EPSILON) > math.e, 0.0, w_before)
    w_after = np.where(w_after / (w_before + _EPSILON) > math.e, 1.0, w_after)
    return w_before * before + w_after * after


def _take_from_smoothest(normals: Float64, laplacian: Float64) -> Float64:
    """At each pixel the normal of the one of {left, right, up, down, itself} with the smallest Laplacian."""
    moves = ((1, 1), (-1, 1), (1, 0), (-1, 0))  # the neighbour's value arrives by this shift along this axis
    choice = np.argmin(
        [*(_shift(laplacian, step, axis, outside=np.inf) for step, axis in moves), laplacian], axis=0
    )
    result = normals.copy()
    for number, (step, axis) in enumerate(moves):
        chosen = choice == number
        result[chosen] = _shift(normals, step, axis, outside=0.0)[chosen]
    return result


def _shift(values: Float64, step: int, axis: int, *, outside: float) -> Float64:
    """Move ``values`` by one pixel (+1: right or down); what enters from the border is ``outside``."""
    result = np.full_like(values, outside)
    source, goal = (slice(None, -1), slice(1, None)) if step > 0 else (slice(1, None), slice(None, -1))
    lead = (slice(None),) * axis
    result[(*lead, goal)] = values[(*lead, source)]
    return result
