"""Depth: planar distance from the camera, relative (the published encoding) or in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec, choose
from stablemtl.tasks.checks import as_image, as_maps, as_pair, as_valid
from stablemtl.tasks.coloring import prepare, spectral, stretch, to_bytes
from stablemtl.tasks.geometry import mirror, resize_nearest, resize_smooth
from stablemtl.tasks.reductions import RunningMeans, least_squares_scale_and_shift, valid_pixels

_NEAR_M, _FAR_M = 0.5, 80.0  # range of the logarithmic encoding unless told otherwise
_LEAST_PRED_M = 1e-6  # keeps logarithms and inverses of clipped predictions finite


@dataclass(frozen=True)
class LinearDepth:
    """The published encoding: the 2 % and 98 % quantiles of each image's valid depths become -1 and 1.

    Source: StableMTL, arXiv 2506.08013, appendix A.1, after Marigold, arXiv 2312.02145, eq. 3.
    """

    def encode(self, depth_m: Tensor, valid: Tensor) -> Tensor:
        """Depth (B, 1, H, W) to [-1, 1]; 0 everywhere for an image without two different valid depths."""
        maps = depth_m.float()
        measured = valid & maps.isfinite() & (maps > 0)
        encoded = torch.zeros_like(maps)
        for index, mask in enumerate(measured):
            if not mask.any():
                continue
            levels = torch.tensor([0.02, 0.98], device=maps.device)
            low, high = torch.quantile(maps[index][mask], levels)
            if high > low:
                encoded[index] = (maps[index] - low) / (high - low) * 2 - 1
        return encoded.nan_to_num(-1.0, 1.0, -1.0).clamp(-1.0, 1.0)

    def decode(self, encoded: Tensor) -> Tensor:
        """[-1, 1] to relative depth in [0, 1]."""
        return (encoded.clamp(-1.0, 1.0) + 1) / 2


@dataclass(frozen=True)
class LogDepth:
    """The logarithm of depth between two fixed distances: equal steps are equal ratios, in metres."""

    near_m: float
    """The depth that becomes -1 [m]; nearer is clipped."""
    far_m: float
    """The depth that becomes 1 [m]; farther is clipped."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.near_m < self.far_m < math.inf:
            raise ValueError(
                f"near_m and far_m must satisfy 0 < near_m < far_m, got {self.near_m} and {self.far_m}"
            )

    def encode(self, depth_m: Tensor, valid: Tensor) -> Tensor:
        """Depth (B, 1, H, W) to [-1, 1]; what is not finite counts as near, +infinity as far."""
        clipped = (
            depth_m.float().nan_to_num(self.near_m, self.far_m, self.near_m).clamp(self.near_m, self.far_m)
        )
        return ((clipped / self.near_m).log() / math.log(self.far_m / self.near_m) * 2 - 1).clamp(-1.0, 1.0)

    def decode(self, encoded: Tensor) -> Tensor:
        """[-1, 1] to depth in [near_m, far_m]."""
        fraction = (encoded.clamp(-1.0, 1.0) + 1) / 2
        return (self.near_m * (fraction * math.log(self.far_m / self.near_m)).exp()).clamp(
            self.near_m, self.far_m
        )


@dataclass(frozen=True)
class Depth:
    """Planar depth with one of two encodings."""

    encoding: LinearDepth | LogDepth = LinearDepth()

    @property
    def spec(self) -> TaskSpec:
        """Description of the task, in accord with the encoding."""
        planar = "depth along the optical axis (planar z)"
        if isinstance(self.encoding, LogDepth):
            in_metres, value_range = True, (self.encoding.near_m, self.encoding.far_m)
            convention = f"{planar} in metres."
        else:
            in_metres, value_range = False, (0.0, 1.0)
            convention = f"{planar}, 0 near and 1 far; metres are s * value + t with unknown s > 0 and t."
        return TaskSpec(
            name="depth",
            prompt="depth",
            channels=1,
            frames=1,
            unit="m" if in_metres else "relative",
            value_range=value_range,
            headline="abs_rel",
            higher_is_better=False,
            convention=f"{convention} Targets are in metres.",
            scale_known=in_metres,
            shift_known=in_metres,
        )

    @property
    def options(self) -> dict[str, str | float]:
        """``encoding``, and ``near_m`` and ``far_m`` of the logarithmic one."""
        if isinstance(self.encoding, LogDepth):
            return {"encoding": "log", "near_m": self.encoding.near_m, "far_m": self.encoding.far_m}
        return {"encoding": "linear"}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Depth [m], shape (B, 1, H, W), to a grey image (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        depth_m = as_maps(target, self.spec, "target")
        encoded = self.encoding.encode(depth_m, as_valid(valid, depth_m, self.spec))
        return encoded.repeat(1, 3, 1, 1)

    def decode(self, image: Tensor) -> Tensor:
        """Mean of the three channels, clipped and mapped back, shape (B, 1, H, W)."""
        return self.encoding.decode(as_image(image, self.spec).mean(dim=1, keepdim=True))

    def metric(
        self, *, align: bool = True, min_depth_m: float = 1e-5, max_depth_m: float = 80.0
    ) -> DepthMetric:
        """Figures of depth; predictions are clipped to the range [m] (default KITTI; DIODE: 0.6 to 350)."""
        return DepthMetric(self.spec, align=align, min_depth_m=min_depth_m, max_depth_m=max_depth_m)

    def hflip(self, target: Tensor) -> Tensor:
        """Mirrored."""
        return mirror(target)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest: a mean across an edge would be a depth that is not there."""
        return resize_nearest(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear."""
        return resize_smooth(pred, size)

    def colorize(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """``Spectral`` between the image's smallest (red) and largest (blue) value, uint8 (B, 3, H, W)."""
        depth, usable = prepare(values, valid, self.spec)
        return to_bytes(spectral(stretch(depth, usable)), usable)


class DepthMetric:
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
        self._spec, self._align = spec, align
        self._range_m = (max(min_depth_m, _LEAST_PRED_M), max_depth_m)
        self._means = RunningMeans(
            (
                "abs_rel",
                "sq_rel",
                "rmse",
                "rmse_log",
                "log10",
                "delta1",
                "delta2",
                "delta3",
                "i_rmse",
                "silog",
            )
        )

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
            if self._align:
                scale, shift = least_squares_scale_and_shift(depth, truth)
                depth = scale * depth + shift
            self._means.add(depth_figures(depth.clamp(*self._range_m), truth))

    def compute(self) -> dict[str, float]:
        """Means over images."""
        return self._means.compute()

    def reset(self) -> None:
        """Forget everything added."""
        self._means.reset()


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


def build(*, encoding: str = "linear", near_m: float | None = None, far_m: float | None = None) -> Depth:
    """The task with an encoding.

    Args:
        encoding: ``linear`` (relative, the published one) or ``log`` (in metres).
        near_m: smallest depth of the logarithmic encoding [m], 0.5 if not given.
        far_m: largest depth of the logarithmic encoding [m], 80 if not given.
    Raises:
        ValueError: unknown encoding, an empty range, or a range for the linear encoding.
    """
    if choose("depth encoding", encoding, {"linear": False, "log": True}):
        near = _NEAR_M if near_m is None else float(near_m)
        far = _FAR_M if far_m is None else float(far_m)
        return Depth(LogDepth(near, far))
    if near_m is not None or far_m is not None:
        raise ValueError(
            f"near_m and far_m belong to encoding='log', "
            f"got near_m={near_m}, far_m={far_m} with encoding='linear'"
        )
    return Depth()
