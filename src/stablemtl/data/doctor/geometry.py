"""Pin-hole geometry for the checks: rays, points, and the 48 ways to confuse three axes.

Axes are OpenCV's: x right, y down, z forward. H, W: height and width of the frame.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data import flyingthings3d, hypersim, vkitti

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

FOCAL_PER_WIDTH: dict[str, float] = {
    "hypersim": hypersim.OFFICIAL_FOCAL_PX / hypersim.OFFICIAL_WIDTH_PX,
    "vkitti2": vkitti.OFFICIAL_FOCAL_PX / vkitti.OFFICIAL_WIDTH_PX,
    "flyingthings3d": flyingthings3d.OFFICIAL_FOCAL_PX / flyingthings3d.OFFICIAL_WIDTH_PX,
    "kitti_depth": 721.5377 / 1242,  # P_rect_02 of most drives
    "kitti_flow": 721.5377 / 1242,
    "diode": 886.81 / 1024,
}
"""Focal length divided by the width of the frame."""

USUAL_FOCAL_PER_WIDTH = 0.87
"""60 degrees from side to side. A guess: the checks that use it tell axes and signs, not angles."""


def focal_px(dataset: str, width: int) -> float:
    """Focal length [px] of a dataset's frames of this width; a guess for those not known."""
    return FOCAL_PER_WIDTH.get(dataset, USUAL_FOCAL_PER_WIDTH) * width


def rays(size: tuple[int, int], focal: float, center: tuple[float, float] | None = None) -> Floats:
    """(x / z, y / z, 1) of every pixel, shape (H, W, 3); the middle of the frame is the centre by default."""
    height, width = size
    cx, cy = center or ((width - 1) / 2, (height - 1) / 2)
    x = (np.arange(width) - cx) / focal
    y = (np.arange(height) - cy) / focal
    return np.stack([*np.meshgrid(x, y), np.ones(size)], axis=-1)


def facets(depth: Floats, valid: Mask, focal: float) -> tuple[Floats, Mask]:
    """Normals away from the camera of a planar-depth map, and where all four neighbours are valid.

    The cross product of the differences of the neighbours' points: coarse at object borders, which a share of
    pixels does not mind.
    """
    points = rays((depth.shape[0], depth.shape[1]), focal) * depth[..., None]
    across, down = np.zeros_like(points), np.zeros_like(points)
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    down[1:-1] = points[2:] - points[:-2]
    normal = np.cross(across, down)
    length = np.linalg.norm(normal, axis=-1)
    known = np.zeros_like(valid)
    known[1:-1, 1:-1] = (
        valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    )
    known &= length > 0
    return normal / np.where(length > 0, length, 1.0)[..., None], known


def axis_readings() -> dict[str, NDArray[np.float64]]:
    """Every signed permutation of three axes but the identity: words to the matrix that repairs the vectors.

    The words say what was done to the vectors as stored, in an order of likelihood, so that of equally good
    ones the likely one is named.
    """
    found = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if not np.array_equal(matrix, np.eye(3)):
                found.append((order, signs, matrix))
    found.sort(key=lambda item: (sum(a != b for a, b in enumerate(item[0])), item[1].count(-1)))
    return {_words(order, signs): matrix for order, signs, matrix in found}


def _words(order: tuple[int, ...], signs: tuple[int, ...]) -> str:
    flipped = [axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0]
    if order == (0, 1, 2):
        if len(flipped) == 3:
            return "of the opposite sign"
        special = " (OpenGL's axes for OpenCV's, or the other way round)" if flipped == ["y", "z"] else ""
        return f"to have {' and '.join(flipped)} flipped{special}"
    right = ", ".join(
        ("-" if sign < 0 else "") + "xyz"[axis] for axis, sign in zip(order, signs, strict=True)
    )
    return f"to be right as ({right})"
