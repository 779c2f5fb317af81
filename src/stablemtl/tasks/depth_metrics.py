"""The figures of depth: errors after a fit of scale and shift."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_pair
from stablemtl.tasks.reductions import (
    RunningMeans,
    least_squares_scale_and_shift,
    masked_map,
    valid_pixels,
)

_NAMES = (
    "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "delta1", "delta2", "delta3", "i_rmse", "silog"
)  # fmt: skip
_LEAST_PRED_M = 1e-6  # keeps logarithms and inverses of clipped predictions finite


class DepthMetric(RunningMeans):
    r"""Running figures of depth: per image, then averaged over images.

    With ``align``, scale and shift are fitted to each image's target by least squares in depth space; then
    the prediction is clipped. ``abs_rel``, ``log10`` and ``delta1..3`` (share with max(p/d, d/p) < 1.25^k)
    have no unit, ``sq_rel`` and ``rmse`` are in m, ``rmse_log`` is natural, ``i_rmse`` in 1/m, ``silog`` the
    standard deviation of log p - log d x 100.

    Source: Eigen et al., NeurIPS 2014, arXiv 1406.2283, section 4; the fit after MiDaS, arXiv 1907.01341.
    """

    def __init__(self, spec: TaskSpec, *, align: bool, min_depth_m: float, max_depth_m: float) -> None:
        """Start empty.

        Raises:
            ValueError: the range to clip to is empty or negative.
        """
        if not 0 <= min_depth_m < max_depth_m:
            raise ValueError(
                f"min_depth_m and max_depth_m must satisfy 0 <= min_depth_m < max_depth_m, "
                f"got {min_depth_m} and {max_depth_m}"
            )
        super().__init__(_NAMES)
        self._spec, self._align = spec, align
        self._range_m = (max(min_depth_m, _LEAST_PRED_M), max_depth_m)

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`.

        Raises:
            ValueError: shapes disagree, ``valid`` is not bool, or a valid target is not above 0.
        """
        for predicted, measured in valid_pixels(*as_pair(pred, target, valid, self._spec)):
            depth, truth = predicted[0], measured[0]  # (N,)
            if (truth <= 0).any():
                raise ValueError(
                    f"depth target must be above 0 m at valid pixels, got {truth.min().item()}. "
                    f"Mark such pixels invalid: `valid & (target > 0)`."
                )
            self.add(depth_figures(self._fit(depth, depth, truth), truth))

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`stablemtl.tasks.base.Metric.fit`."""
        batch = zip(*as_pair(pred, target, valid, self._spec), strict=True)
        return torch.stack(
            [self._fit(p.double(), p[mask].double(), t[mask].double()) for p, t, mask in batch]
        )

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Error relative to the true depth at each pixel."""
        _, target, valid = as_pair(pred, target, valid, self._spec)
        return masked_map((self.fit(pred, target, valid) - target).abs() / target, valid)

    def _fit(self, depth: Tensor, seen: Tensor, truth: Tensor) -> Tensor:
        """``depth`` of one image, aligned as ``seen``, its valid pixels (N,), are to ``truth``; clipped."""
        if self._align and len(truth):
            scale, shift = least_squares_scale_and_shift(seen, truth)
            depth = scale * depth + shift
        return depth.clamp(*self._range_m)


def depth_figures(pred: Tensor, target: Tensor) -> dict[str, float | Tensor]:
    """The ten figures of one image from depths above 0 [m], shape (N,) each; see :class:`DepthMetric`."""
    error = pred - target
    log_error = pred.log() - target.log()
    ratio = torch.maximum(pred / target, target / pred)
    within = {f"delta{k}": (ratio < 1.25**k).double().mean() for k in (1, 2, 3)}
    return {
        "abs_rel": (error.abs() / target).mean(),
        "sq_rel": (error.square() / target).mean(),
        "rmse": error.square().mean().sqrt(),
        "rmse_log": log_error.square().mean().sqrt(),
        "log10": log_error.abs().mean() / math.log(10),
        **within,
        "i_rmse": (1 / pred - 1 / target).square().mean().sqrt(),
        "silog": log_error.var(correction=0).sqrt() * 100,
    }
