"""The scale, and shift, that bring a relative map to metres, here from known points.

N: points. From the height of the camera: :mod:`stablemtl.camera_height`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stablemtl.outputs import LARGER_IS_NEARER, Prediction
from stablemtl.tasks import build_task

Float64 = NDArray[np.float64]

_IN_UNITS = {"depth": {"encoding": "log"}, "optical_flow": {"encoding": "calibrated"},
             "scene_flow": {"encoding": "calibrated"}}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScaleFit:
    """Metres = ``scale`` x value + ``shift``."""

    scale: float
    """Metres for one step of the map."""
    shift: float
    """Metres at the map's zero; 0 where the map knows its zero."""
    residual_m: float
    """Median distance between what was given and what the fit makes of it [m]: 0 for the least that is
    needed, and then it proves nothing."""
    count: int
    """Points, or pixels of the ground, that the fit rests on."""
    given: int
    """Points, or pixels, that were given."""
    ground_normal: tuple[float, float, float] | None = None
    """Of the ground, into it, in camera axes x right, y down, z forward; None for points."""

    def apply(self, prediction: Prediction) -> Prediction:
        """The map in metres."""
        return rescaled(prediction, self.scale, self.shift)


def rescaled(
    prediction: Prediction,
    scale: float | Sequence[float],
    shift: float | None = None,
    *,
    unit: str | None = None,
) -> Prediction:
    """The map times ``scale`` plus ``shift``, in the unit that these bring it to.

    Depth and scene flow come out in m, optical flow in px. ``shift`` makes the zero of depth known, also when
    it is 0; without it, a map whose zero is unknown stays known up to an added constant, and says so. Depth
    that is not above 0 then is not valid.

    Args:
        prediction: depth, flow, shading or albedo.
        scale: above 0; for maps of several channels also one for each, since relative flows have a scale per
            channel.
        shift: in the new unit, for depth only.
        unit: the new unit, for a map of another kind; without it, that of shading and albedo stays relative.
    Raises:
        ValueError: class ids, normals or disparity, a scale that is not above 0, or a shift for something
            else than depth.
    """
    if prediction.values.dtype.kind != "f" or prediction.unit == "unit vector":
        raise ValueError(f"{prediction.task!r} in {prediction.unit!r} has no scale to change.")
    if LARGER_IS_NEARER in prediction.convention:
        raise ValueError("this is a disparity; convert it with disparity_to_depth first.")
    factors = np.asarray(scale, np.float64)
    channels = 1 if prediction.values.ndim == 2 else prediction.values.shape[2]
    if factors.shape not in ((), (channels,)) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(f"scale must be above 0, or {channels} such numbers, got {scale}.")
    if prediction.values.ndim == 2:
        factors = factors.reshape(())
    if shift is not None and (prediction.task != "depth" or not np.isfinite(shift)):
        raise ValueError(f"shift must be finite, and for depth only, got {shift} for {prediction.task!r}.")

    values = (prediction.values * factors + (shift or 0.0)).astype(np.float32)
    shift_known = prediction.shift_known or shift is not None
    is_depth = prediction.task == "depth"
    valid = prediction.valid & (values > 0) if is_depth and shift_known else prediction.valid
    known, convention = prediction.scale_known, prediction.convention
    if unit is not None or prediction.task in _IN_UNITS:
        known = True
        if not prediction.scale_known and prediction.task in _IN_UNITS:
            spec = build_task(prediction.task, **_IN_UNITS[prediction.task]).spec
            unit, convention = unit or spec.unit, spec.convention
    convention += f" The model's values times {_text(factors)}" + (f" plus {shift:.6g}." if shift else ".")
    if not shift_known:
        convention += " Zero is not known: depths are right up to one added constant."
    return replace(
        prediction,
        values=values,
        valid=valid,
        unit=unit or prediction.unit,
        convention=convention,
        scale_known=known,
        shift_known=shift_known,
    )


def scale_from_points(depth: Prediction, points: Sequence[tuple[float, float, float]]) -> ScaleFit:
    r"""Scale, and shift where it is unknown, from a few points of known depth.

    With a known zero, the median of :math:`m_i / d_i`. Otherwise the slope is the median of
    :math:`(m_i - m_j) / (d_i - d_j)` over all pairs, and the shift the median of what is left: up to 29 % of
    the points may be wrong (half of them with a known zero).

    Source: Sen, J. Am. Stat. Assoc. 1968, doi:10.1080/01621459.1968.10480934 (Theil-Sen estimator).

    Args:
        depth: a map of depth, relative or not.
        points: (x, y, metres): column and row [px], the nearest pixel counts, and planar depth there [m].
    Returns:
        The fit; :meth:`ScaleFit.apply` uses it.
    Raises:
        ValueError: not depth, a point outside the map, where the map is not valid, or not above 0 m; too few
            points (1 with a known zero, 2 of different depth without); or points that contradict the map.
    """
    require_depth(depth)
    values, metres = _looked_up(depth, points)
    if depth.shift_known:
        scale, shift = float(np.median(metres / values)), 0.0
    else:
        first, second = np.triu_indices(len(values), 1)
        gaps = values[second] - values[first]
        apart = np.abs(gaps) > 1e-6 * max(1e-30, float(np.abs(values).max()))
        if not apart.any():
            raise ValueError(
                "the shift of this depth is unknown: at least two points at different values of the map are "
                f"needed, got {len(values)}."
            )
        scale = float(np.median((metres[second] - metres[first])[apart] / gaps[apart]))
        shift = float(np.median(metres - scale * values))
    if not scale > 0:
        raise ValueError(
            f"the points contradict the map: where it is farther, they are nearer (scale {scale:.3g}). "
            "Check x, y (column, row) and metres."
        )
    residual = float(np.median(np.abs(scale * values + shift - metres)))
    return ScaleFit(scale=scale, shift=shift, residual_m=residual, count=len(values), given=len(points))


def _looked_up(depth: Prediction, points: Sequence[tuple[float, float, float]]) -> tuple[Float64, Float64]:
    """Values of the map at the points, and their metres, (N,) each."""
    if not len(points):
        raise ValueError("points is empty; give (x, y, metres) of at least one.")
    values = []
    height, width = depth.size
    for x, y, metres in points:
        if not (np.isfinite([x, y]).all() and 0 <= round(x) < width and 0 <= round(y) < height):
            raise ValueError(f"point ({x}, {y}) lies outside the map, {width}x{height} px (width x height).")
        if not 0 < metres < np.inf:
            raise ValueError(f"point ({x}, {y}) must have a depth above 0 m, got {metres}.")
        value = float(depth.values[round(y), round(x)])
        if not depth.valid[round(y), round(x)] or (depth.shift_known and value <= 0):
            raise ValueError(f"point ({x}, {y}) lies where the map is not valid.")
        values.append(value)
    return np.array(values), np.array([metres for _, _, metres in points], np.float64)


def require_depth(depth: Prediction) -> None:
    """Do nothing for a map of depth.

    Raises:
        ValueError: it is another map, or a disparity.
    """
    if depth.task != "depth" or LARGER_IS_NEARER in depth.convention:
        raise ValueError(f"expected a map of depth, got {depth.task!r}: {depth.convention!r}.")


def _text(factors: Float64) -> str:
    return f"{float(factors):.6g}" if factors.ndim == 0 else f"({', '.join(f'{f:.6g}' for f in factors)})"
