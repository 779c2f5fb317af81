"""Depth: planar distance from the camera, relative (the published encoding) or in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stablemtl.names import choose
from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.coloring import prepare, spectral, stretch, to_bytes
from stablemtl.tasks.depth_metrics import DepthMetric
from stablemtl.tasks.geometry import resize_nearest
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.unit_range import decode_unit_range, encode_unit_range

_NEAR_M, _FAR_M = 0.5, 80.0  # range of the logarithmic encoding unless told otherwise


@dataclass(frozen=True)
class LinearDepth:
    """The published encoding: the 2 % and 98 % quantiles of each image's valid depths become -1 and 1.

    Source: StableMTL, arXiv 2506.08013, appendix A.1, after Marigold, arXiv 2312.02145, eq. 3.
    """

    def encode(self, depth_m: Tensor, valid: Tensor) -> Tensor:
        """Depth (B, 1, H, W) to [-1, 1]; 0 everywhere for an image without two different valid depths."""
        maps = depth_m.float()
        measured = valid & maps.isfinite() & (maps > 0)
        fraction = torch.full_like(maps, 0.5)
        for index, mask in enumerate(measured):
            if not mask.any():
                continue
            levels = torch.tensor([0.02, 0.98], device=maps.device)
            low, high = torch.quantile(maps[index][mask], levels)
            if high > low:
                fraction[index] = (maps[index] - low) / (high - low)
        return encode_unit_range(fraction)

    def decode(self, encoded: Tensor) -> Tensor:
        """[-1, 1] to relative depth in [0, 1]."""
        return decode_unit_range(encoded)


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
        finite = depth_m.float().nan_to_num(self.near_m, self.far_m, self.near_m)
        ratio = finite.clamp(self.near_m, self.far_m) / self.near_m
        return encode_unit_range(ratio.log() / math.log(self.far_m / self.near_m))

    def decode(self, encoded: Tensor) -> Tensor:
        """[-1, 1] to depth in [near_m, far_m]."""
        ratio = (decode_unit_range(encoded) * math.log(self.far_m / self.near_m)).exp()
        return (self.near_m * ratio).clamp(self.near_m, self.far_m)


@dataclass(frozen=True)
class Depth(MapTask):
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
            stretched_colors=True,
        )

    @property
    def options(self) -> dict[str, str | float]:
        """``encoding``, and ``near_m`` and ``far_m`` of the logarithmic one."""
        if isinstance(self.encoding, LogDepth):
            return {"encoding": "log", "near_m": self.encoding.near_m, "far_m": self.encoding.far_m}
        return {"encoding": "linear"}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Depth [m], shape (B, 1, H, W), to a grey image (B, 3, H, W) in [-1, 1]."""
        return self.encoding.encode(*as_label(target, valid, self.spec)).repeat(1, 3, 1, 1)

    def decode(self, image: Tensor) -> Tensor:
        """Mean of the three channels, clipped and mapped back, shape (B, 1, H, W)."""
        return self.encoding.decode(as_image(image, self.spec).mean(dim=1, keepdim=True))

    def metric(
        self, *, align: bool = True, min_depth_m: float = 1e-5, max_depth_m: float = 80.0
    ) -> DepthMetric:
        """Figures of depth; predictions are clipped to the range [m] (default KITTI; DIODE: 0.6 to 350)."""
        return DepthMetric(self.spec, align=align, min_depth_m=min_depth_m, max_depth_m=max_depth_m)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest: a mean across an edge would be a depth that is not there."""
        return resize_nearest(target, size)

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """``Spectral`` from red (near) to blue (far), uint8 (B, 3, H, W).

        Between the image's smallest and largest value, or those of ``value_range``.
        """
        depth, usable = prepare(values, valid, self.spec)
        return to_bytes(spectral(stretch(depth, usable, value_range)), usable)


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
