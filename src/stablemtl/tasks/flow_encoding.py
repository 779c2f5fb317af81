"""How motion becomes values in [-1, 1] and back: the two encodings shared by optical flow and scene flow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stablemtl.names import choose


@dataclass(frozen=True)
class PerImageFlow:
    """The published encoding: each channel of each image divided by its own largest magnitude.

    Zero motion stays 0 and signs are kept; the scale is lost. Deviation: the published code takes the maximum
    over all pixels, we take it over valid ones, so that garbage at unmeasured pixels cannot squash the rest.
    """

    scale: ClassVar[None] = None
    """None: it is lost."""

    def encode(self, flow: Tensor, valid: Tensor) -> Tensor:
        """Motion (B, C, H, W) to [-1, 1]; 0 where not finite or where a channel does not move."""
        flow = flow.float()
        measured = valid & flow.isfinite()
        largest = torch.where(measured, flow, 0.0).abs().amax(dim=(-2, -1), keepdim=True)
        moving = largest > 0
        scaled = torch.where(moving, flow, 0.0) / torch.where(moving, largest, 1.0)
        return scaled.nan_to_num(0.0, 0.0, 0.0).clamp(-1.0, 1.0)

    def decode(self, encoded: Tensor) -> Tensor:
        """Values clipped to [-1, 1], relative to an unknown scale per channel."""
        return encoded.clamp(-1.0, 1.0)


@dataclass(frozen=True)
class CalibratedFlow:
    """Motion on one fixed scale, so that pixels or metres come back. Faster motion is clipped.

    With a knee k, motion m becomes sign(m) ln(1 + |m| / k) / ln(1 + scale / k): nearly linear below k,
    logarithmic above, so that an error of the codec stays small against small motions. Without, it is
    m / scale.
    """

    scale: float
    """The motion that becomes 1 [px or m]."""
    knee: float = 0.0
    """Where the logarithm begins [px or m]; 0 for the linear map."""

    def encode(self, flow: Tensor, valid: Tensor) -> Tensor:
        """Motion (B, C, H, W) to [-1, 1]; 0 where not finite."""
        flow = flow.float().nan_to_num(0.0, 0.0, 0.0)
        if self.knee == 0:
            return (flow / self.scale).clamp(-1.0, 1.0)
        return (flow.sign() * (flow.abs() / self.knee).log1p() / self._range).clamp(-1.0, 1.0)

    def decode(self, encoded: Tensor) -> Tensor:
        """Values in [-scale, scale], in the unit of the scale."""
        encoded = encoded.clamp(-1.0, 1.0)
        if self.knee == 0:
            return encoded * self.scale
        motion = self.knee * (encoded.abs() * self._range).expm1()
        return encoded.sign() * motion.clamp(max=self.scale)

    @property
    def _range(self) -> float:
        return math.log1p(self.scale / self.knee)


FlowEncoding = PerImageFlow | CalibratedFlow


def build_flow_encoding(
    encoding: str, scale: float | None, knee: float | None, *, unit: str, default: float
) -> FlowEncoding:
    """The encoding of that name.

    Args:
        encoding: ``per_image`` or ``calibrated``.
        scale: the calibrated encoding's scale; None for ``default``.
        knee: where the calibrated encoding becomes logarithmic; None for never.
        unit: of both, ``px`` or ``m``.
        default: the scale if none is given.
    Raises:
        ValueError: unknown encoding, a scale that is not above 0, a negative knee, or either of them for
            ``per_image``.
    """
    if choose("flow encoding", encoding, {"per_image": False, "calibrated": True}):
        scale = default if scale is None else float(scale)
        knee = 0.0 if knee is None else float(knee)
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale_{unit} must be a finite number above 0, got {scale}")
        if not 0 <= knee < float("inf"):
            raise ValueError(f"knee_{unit} must be a finite number, at least 0, got {knee}")
        return CalibratedFlow(scale, knee)
    for name, value in ((f"scale_{unit}", scale), (f"knee_{unit}", knee)):
        if value is not None:
            raise ValueError(
                f"{name} belongs to encoding='calibrated', got {name}={value} with encoding='per_image'"
            )
    return PerImageFlow()


def flow_options(encoding: FlowEncoding, *, unit: str) -> dict[str, str | float]:
    """What gives the encoding again: the options of a task that counts in ``unit``, ``px`` or ``m``."""
    if isinstance(encoding, CalibratedFlow):
        return {"encoding": "calibrated", f"scale_{unit}": encoding.scale, f"knee_{unit}": encoding.knee}
    return {"encoding": "per_image"}
