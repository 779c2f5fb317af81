"""Maps in other conventions and units: normals, colours, disparity, metres.

Functions of a formula take an array, (H, W) or (H, W, C), or a :class:`Prediction`. A prediction comes back
with the unit and convention of what it then holds, and one that is not what the formula needs is refused.
Inputs are not changed. What brings a map to metres is in :mod:`stablemtl.metric_scale` and
:mod:`stablemtl.camera_height`, and is named here too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from stablemtl.camera_height import scale_from_camera_height
from stablemtl.metric_scale import ScaleFit, require_depth, rescaled, scale_from_points
from stablemtl.outputs import LARGER_IS_NEARER, Prediction
from stablemtl.tasks import TASKS

__all__ = [
    "ScaleFit",
    "depth_to_disparity",
    "disparity_to_depth",
    "linear_to_srgb",
    "normals_in",
    "normals_to_opencv",
    "normals_to_opengl",
    "rescaled",
    "scale_from_camera_height",
    "scale_from_points",
    "srgb_to_linear",
]

Axes = Literal["opencv", "opengl"]
_Map = TypeVar("_Map", NDArray[np.float32], Prediction)

# (axes, pointing out of the surface) -> signs of x, y, z against this package's own, and the convention.
_NORMALS: dict[tuple[Axes, bool], tuple[tuple[float, float, float], str]] = {
    ("opencv", False): ((1, 1, 1), TASKS["normal"].spec.convention),
    ("opencv", True): (
        (-1, -1, -1),
        "unit vector pointing towards the camera, in camera axes x right, y down, z forward: "
        "a wall seen head-on is (0, 0, -1), a floor (0, -1, 0).",
    ),
    ("opengl", True): (
        (-1, 1, 1),
        "unit vector pointing towards the camera, in OpenGL camera axes x right, y up, z backward: "
        "a wall seen head-on is (0, 0, 1), a floor (0, 1, 0).",
    ),
    ("opengl", False): (
        (1, -1, -1),
        "unit vector pointing away from the camera, in OpenGL camera axes x right, y up, z backward: "
        "a wall seen head-on is (0, 0, -1), a floor (0, -1, 0).",
    ),
}

_LINEAR = "linear (no gamma)"
_SRGB = "sRGB-encoded (IEC 61966-2-1; an unknown scale is that of the linear values)"


# normals ----------------------------------------------------------------------------------------------------


def normals_to_opengl(normals: _Map) -> _Map:
    """This package's normals as renderers keep them: OpenGL axes, pointing out of the surface.

    From x right, y down, z forward, away from the camera, to x right, y up, z backward, towards the camera;
    so (x, y, z) becomes (-x, y, z): a wall seen head-on is (0, 0, 1) in both, a wall on the left changes from
    (-1, 0, 0) to (1, 0, 0).

    Args:
        normals: (H, W, 3), or a prediction, whose convention says from where.
    Raises:
        ValueError: not (..., 3), or no map of normals.
    """
    if isinstance(normals, Prediction):
        return normals_in(normals, "opengl", outward=True)
    return _signed(normals, ("opengl", True))


def normals_to_opencv(normals: _Map) -> _Map:
    """The way back from :func:`normals_to_opengl`: x right, y down, z forward, away from the camera.

    Args:
        normals: (H, W, 3) in OpenGL axes pointing towards the camera, or a prediction in any convention.
    Raises:
        ValueError: not (..., 3), or no map of normals.
    """
    if isinstance(normals, Prediction):
        return normals_in(normals, "opencv", outward=False)
    return _signed(normals, ("opengl", True))  # the signs are their own inverse


def normals_in(normals: Prediction, axes: Axes, *, outward: bool) -> Prediction:
    """Normals in any of the four conventions.

    Args:
        normals: a map of normals; its ``convention`` says in which it is.
        axes: ``opencv`` (x right, y down, z forward) or ``opengl`` (x right, y up, z backward).
        outward: pointing out of the surface, towards the camera; or into it.
    Raises:
        ValueError: no normals, unknown axes, or a convention that is none of the four.
    """
    present = [key for key, (_, sentence) in _NORMALS.items() if sentence == normals.convention]
    if not present or normals.values.shape[2:] != (3,):
        raise ValueError(
            f"{normals.task!r} is no map of normals in a known convention; it says: {normals.convention!r}."
        )
    if (axes, outward) not in _NORMALS:
        raise ValueError(f"unknown axes {axes!r}; choose from opencv, opengl.")
    values = _signed(_signed(normals.values, present[0]), (axes, outward))
    return replace(normals, values=values, convention=_NORMALS[axes, outward][1])


def _signed(normals: NDArray[np.float32], key: tuple[Axes, bool]) -> NDArray[np.float32]:
    if normals.shape[-1:] != (3,):
        raise ValueError(f"normals must be (H, W, 3), got {normals.shape}.")
    signs = np.array(_NORMALS[key][0], dtype=normals.dtype)
    return normals * signs + 0  # no -0


# colours ----------------------------------------------------------------------------------------------------


def linear_to_srgb(values: _Map) -> _Map:
    """Linear light to sRGB, as pictures are stored and shown.

    0.0031308 and below become 12.92 times themselves, the rest 1.055 v^(1/2.4) - 0.055. Values above 1
    follow the same curve; negative ones that of their magnitude.

    Source: IEC 61966-2-1.

    Args:
        values: 1 for white; or a prediction that is linear (albedo, shading).
    Raises:
        ValueError: a prediction that does not say that it is linear.
    """
    if isinstance(values, Prediction):
        return _recoloured(values, linear_to_srgb(values.values), _LINEAR, _SRGB)
    size = np.abs(values)
    curved = 1.055 * np.power(np.maximum(size, 0.0031308), 1 / 2.4) - 0.055
    return np.copysign(np.where(size <= 0.0031308, 12.92 * size, curved), values).astype(values.dtype)


def srgb_to_linear(values: _Map) -> _Map:
    """The inverse of :func:`linear_to_srgb`.

    Raises:
        ValueError: a prediction that does not say that it is in sRGB.
    """
    if isinstance(values, Prediction):
        return _recoloured(values, srgb_to_linear(values.values), _SRGB, _LINEAR)
    size = np.abs(values)
    curved = np.power((np.maximum(size, 0.04045) + 0.055) / 1.055, 2.4)
    return np.copysign(np.where(size <= 0.04045, size / 12.92, curved), values).astype(values.dtype)


def _recoloured(one: Prediction, values: NDArray[np.float32], before: str, after: str) -> Prediction:
    if before not in one.convention:
        raise ValueError(f"{one.task!r} is not {before.partition(' (')[0]}; it says: {one.convention!r}.")
    return replace(one, values=values, convention=one.convention.replace(before, after))


# depth and disparity ----------------------------------------------------------------------------------------


def depth_to_disparity(
    depth: _Map, *, focal_px: float | None = None, baseline_m: float | None = None
) -> _Map:
    r"""Disparity of a stereo pair [px], :math:`f b / z`; without a pair, inverse depth [1/m].

    Args:
        depth: planar depth [m], (H, W); or a prediction. One whose zero is known but not its scale gives
            disparity up to a scale.
        focal_px, baseline_m: of the pair, focal length and distance of the cameras; both or neither.
    Returns:
        nan, or not valid, where depth is not above 0.
    Raises:
        ValueError: numbers that are not above 0, one without the other, or depth whose zero is unknown.
    """
    factor = _stereo(focal_px, baseline_m)
    if not isinstance(depth, Prediction):
        return _inverse(depth, factor)
    require_depth(depth)
    if not depth.shift_known:
        raise ValueError(
            "disparity needs depth that knows its zero; this depth is relative with an unknown shift. "
            "Bring it to metres first: scale_from_points (stablemtl convert map --scale-points)."
        )
    told = "inverse depth, 1 / depth" if focal_px is None else "disparity, focal length x baseline / depth"
    if focal_px is not None:
        told += f", with {focal_px:g} px and {baseline_m:g} m"
    unit = "relative" if not depth.scale_known else "1/m" if focal_px is None else "px"
    up_to = "" if depth.scale_known else ", up to one unknown scale"
    return _replaced(depth, factor, unit, f"{told}: {LARGER_IS_NEARER}, 0 is infinitely far{up_to}.")


def disparity_to_depth(
    disparity: _Map, *, focal_px: float | None = None, baseline_m: float | None = None
) -> _Map:
    """The inverse of :func:`depth_to_disparity`; give it the same numbers.

    Raises:
        ValueError: numbers that are not above 0, one without the other, or a prediction that is no disparity,
            or whose unit needs the numbers, or has no use for them.
    """
    factor = _stereo(focal_px, baseline_m)
    if not isinstance(disparity, Prediction):
        return _inverse(disparity, factor)
    if LARGER_IS_NEARER not in disparity.convention:
        raise ValueError(f"{disparity.task!r} is no disparity; it says: {disparity.convention!r}.")
    if disparity.scale_known and (disparity.unit == "px") != (focal_px is not None):
        needs = "needs focal_px and baseline_m" if disparity.unit == "px" else "is converted without them"
        raise ValueError(f"disparity in {disparity.unit} {needs}.")
    if disparity.scale_known:
        return _replaced(disparity, factor, "m", "depth along the optical axis (planar z) in metres.")
    convention = "depth along the optical axis (planar z), 0 at the camera, up to one unknown scale."
    return _replaced(disparity, factor, "relative", convention)


def _replaced(one: Prediction, factor: float, unit: str, convention: str) -> Prediction:
    values = _inverse(one.values, factor)
    valid = one.valid & np.isfinite(values)
    return replace(one, values=values, valid=valid, unit=unit, convention=convention)


def _inverse(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    usable = values > 0
    inverted = np.where(usable, factor / np.where(usable, values, 1), np.nan)
    return inverted.astype(values.dtype if values.dtype.kind == "f" else np.float32)


def _stereo(focal_px: float | None, baseline_m: float | None) -> float:
    if focal_px is None and baseline_m is None:
        return 1.0
    if focal_px is None or baseline_m is None:
        raise ValueError("disparity in px needs both focal_px and baseline_m; give neither for 1/m.")
    for name, value in (("focal_px", focal_px), ("baseline_m", baseline_m)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be above 0, got {value}.")
    return focal_px * baseline_m
