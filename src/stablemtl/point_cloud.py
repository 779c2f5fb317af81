"""A map of depth, seen through a pin-hole camera, as a cloud of coloured points with normals.

Axes: x right, y down, z forward, from the camera's centre (OpenCV). Normals point out of the surface, towards
the camera, as programs that work on point clouds expect.

Letters: H, W height and width of the map [px]; u, v column and row; N points.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stablemtl import writers
from stablemtl.camera import FIELD_OF_VIEW_DEG, Camera

if TYPE_CHECKING:
    from stablemtl.images import ImageSource
    from stablemtl.outputs import Prediction

__all__ = ["FIELD_OF_VIEW_DEG", "Camera", "PointCloud", "point_cloud", "why_no_cloud"]

_BLOCK_POINTS = 1 << 18  # computed and written at a time, so that temporary arrays stay small


@dataclass(frozen=True, kw_only=True, eq=False)
class PointCloud:
    """Points with a colour each, and perhaps a normal."""

    points: NDArray[np.float32]
    """(N, 3), x right, y down, z forward [``unit``]."""
    colors: NDArray[np.uint8]
    """(N, 3) RGB."""
    normals: NDArray[np.float32] | None
    """(N, 3), of length 1, pointing towards the camera; (0, 0, 0) where there is none. Or None."""
    camera: Camera
    """That the points were seen by."""
    unit: str
    """``m``, or ``relative``: then the cloud is right up to one scale."""

    def __len__(self) -> int:
        return len(self.points)

    def facts(self) -> dict[str, object]:
        """What the cloud says of itself, ready for JSON."""
        return {
            "points": len(self),
            "unit": self.unit,
            "scale_known": self.unit != "relative",
            "axes": "x right, y down, z forward, from the camera's centre",
            "normals": "towards the camera, same axes" if self.normals is not None else None,
            "camera": self.camera.facts(),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a binary little-endian PLY: x y z, red green blue, nx ny nz if there are normals.

        Unit, axes and camera are in its comments.

        Raises:
            ValueError: a suffix that is not ``.ply``.
        """
        path = Path(path)
        if path.suffix.lower() != ".ply":
            raise ValueError(f"cannot write {path.name!r}: a point cloud has the suffix .ply.")
        fields = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
        if self.normals is not None:
            fields += [(name, "<f4") for name in ("nx", "ny", "nz")]
        types = {"<f4": "float", "u1": "uchar"}
        header = ["ply", "format binary_little_endian 1.0"]
        header += [f"comment {line}" for line in self._comments()]
        header += [f"element vertex {len(self)}"]
        header += [f"property {types[kind]} {name}" for name, kind in fields]
        with writers.staged_file(path) as beside, beside.open("wb") as file:
            file.write("\n".join([*header, "end_header\n"]).encode("ascii"))
            for start in range(0, len(self), _BLOCK_POINTS):
                part = slice(start, start + _BLOCK_POINTS)
                rows = np.empty(len(self.points[part]), fields)
                for i, names in enumerate((("x", "red", "nx"), ("y", "green", "ny"), ("z", "blue", "nz"))):
                    rows[names[0]], rows[names[1]] = self.points[part, i], self.colors[part, i]
                    if self.normals is not None:
                        rows[names[2]] = self.normals[part, i]
                file.write(rows.tobytes())
        return path

    def _comments(self) -> list[str]:
        camera = self.camera
        fov = "vertical {:.4g}, horizontal {:.4g} degrees".format(*camera.field_of_view_deg)
        known = "metres" if self.unit == "m" else f"{self.unit}: right up to one unknown scale"
        comments = [
            "made by stablemtl",
            f"unit: {known}",
            "axes: x right, y down, z forward, from the camera's centre",
            f"camera: fx {camera.fx:.6g}, fy {camera.fy:.6g}, cx {camera.cx:.6g}, cy {camera.cy:.6g}, "
            f"{camera.size[1]}x{camera.size[0]} px (width x height)",
            f"field of view: {fov}{' (ASSUMED, the camera is not known)' if camera.assumed else ''}",
        ]
        return comments + (["normals: towards the camera"] if self.normals is not None else [])


def point_cloud(
    depth: Prediction,
    image: ImageSource | None,
    *,
    camera: Camera | None = None,
    normal: Prediction | None = None,
    stride: int = 1,
    max_jump: float | None = None,
) -> PointCloud:
    r"""The points that a map of depth shows: :math:`z ((u - c_x) / f_x, (v - c_y) / f_y, 1)`.

    Args:
        depth: planar depth in metres, or relative with a known zero; the cloud is then right up to one scale.
        image: gives the colours; of any size, it is resized to that of ``depth``. Without it, points have the
            colours of depth.
        camera: for pictures of any size with the aspect of ``depth``. Without it,
            60 degrees along the longer side are assumed, and the cloud says so.
        normal: a map of normals of the same size, in any convention of :mod:`stablemtl.conversions`.
        stride: take every such pixel along rows and columns.
        max_jump: leave out pixels at the edge of things, which are smeared between near and far: those whose
            depth differs from a neighbour's by more than this share of the nearer one (0.05 is a start). By
            default all valid pixels are kept.
    Returns:
        Points row by row; pixels that are not valid are left out.
    Raises:
        ValueError: no depth, or depth whose zero is unknown; a camera of another aspect; normals of another
            size; a stride below 1, or a ``max_jump`` that is not above 0.
    """
    reason = why_no_cloud(depth)
    if reason:
        raise ValueError(f"no point cloud can be made of {depth.task!r}: {reason}.")
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, got {stride}.")
    camera = _camera(camera, depth.size)
    picture = _colours(depth, image)  # (H, W, 3) uint8
    if normal is not None:
        if normal.size != depth.size:
            raise ValueError(f"normal must have the size of depth, {depth.size}, got {normal.size}.")
        normal = _outward(normal)

    keep = _kept(depth, max_jump)[::stride, ::stride]
    chosen = np.flatnonzero(keep)
    columns_kept = keep.shape[1]
    points = np.empty((len(chosen), 3), np.float32)
    colors = np.empty((len(chosen), 3), np.uint8)
    normals = None if normal is None else np.empty((len(chosen), 3), np.float32)
    for start in range(0, len(chosen), _BLOCK_POINTS):
        part = slice(start, start + _BLOCK_POINTS)
        rows, columns = (index * stride for index in np.divmod(chosen[part], columns_kept))
        points[part] = camera.rays(rows, columns) * depth.values[rows, columns, None]
        colors[part] = picture[rows, columns]
        if normals is not None and normal is not None:
            known = normal.valid[rows, columns, None]
            normals[part] = np.where(known, normal.values[rows, columns], 0)
    unit = depth.unit if depth.scale_known else "relative"
    return PointCloud(points=points, colors=colors, normals=normals, camera=camera, unit=unit)


def why_no_cloud(prediction: Prediction) -> str:
    """Why no point cloud can be made of the map; empty if one can."""
    from stablemtl.outputs import LARGER_IS_NEARER

    if prediction.task != "depth" or LARGER_IS_NEARER in prediction.convention:
        return "points need depth"
    if not prediction.shift_known:
        return (
            "its zero is unknown, so that shapes would be bent; bring it to metres first "
            "(conversions.scale_from_points, or stablemtl convert map --scale-points)"
        )
    return ""


def _camera(camera: Camera | None, size: tuple[int, int]) -> Camera:
    if camera is None:
        return Camera.from_field_of_view(size, assumed=True)
    if camera.size == size:
        return camera
    aspect, expected = camera.size[1] / camera.size[0], size[1] / size[0]
    if abs(aspect / expected - 1) > 0.02:  # what rounding to whole pixels may do to a small map
        raise ValueError(
            f"camera is for (height, width) {camera.size}, depth has {size}: another aspect. "
            "Crop the picture as the camera's, or move cx and cy."
        )
    return camera.resized(size)


def _outward(normal: Prediction) -> Prediction:
    from stablemtl.conversions import normals_in

    return normals_in(normal, "opencv", outward=True)


def _colours(depth: Prediction, image: ImageSource | None) -> NDArray[np.uint8]:
    """(H, W, 3) at the size of depth."""
    from stablemtl.images import read_pixels, to_tensor

    if image is None:
        return np.asarray(depth.colorize())
    pixels = read_pixels(image)  # (H, W, 1 or 3), uint8, uint16 or float32
    if pixels.dtype == np.uint8 and pixels.shape[:2] == depth.size:
        return np.broadcast_to(pixels, (*depth.size, 3))
    resized = to_tensor(pixels, depth.size).permute(1, 2, 0).numpy()
    return np.rint(resized * 255).astype(np.uint8)


def _kept(depth: Prediction, max_jump: float | None) -> NDArray[np.bool_]:
    """Valid pixels in front of the camera, without those beside a jump, (H, W)."""
    z = depth.values
    keep = depth.valid & np.isfinite(z) & (z > 0)
    if max_jump is None:
        return keep
    if not 0 < max_jump < math.inf:
        raise ValueError(f"max_jump must be above 0, a share of depth such as 0.05, got {max_jump}.")
    measured = keep.copy()
    for axis in (0, 1):
        lead = (slice(None),) * axis
        before, after = (*lead, slice(None, -1)), (*lead, slice(1, None))
        nearer = np.minimum(z[before], z[after])
        jump = measured[before] & measured[after] & (np.abs(z[after] - z[before]) > max_jump * nearer)
        keep[before] &= ~jump
        keep[after] &= ~jump
    return keep
