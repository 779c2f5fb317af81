"""How motion becomes values in [-1, 1] and back: the two encodings shared by optical flow and scene flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stablemtl.tasks.base import choose


@dataclass(frozen=True)
class PerImageFlow:
    """The published encoding: each channel of each image divided by its own largest magnitude.

    Zero motion stays 0 and signs are kept; the scale is lost. Deviation: the published code takes the maximum
    over all pixels, we take it over valid ones, so that garbage at unmeasured pixels cannot squash the rest.
    """

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
    """Motion divided by one fixed scale, so that pixels or metres come back. Faster motion is clipped."""

    scale: float
    """The motion that becomes 1 [px or m]."""

    def encode(self, flow: Tensor, valid: Tensor) -> Tensor:
        """Motion (B, C, H, W) to [-1, 1]; 0 where not finite."""
        return (flow.float().nan_to_num(0.0, 0.0, 0.0) / self.scale).clamp(-1.0, 1.0)

    def decode(self, encoded: Tensor) -> Tensor:
        """Values in [-scale, scale], in the unit of the scale."""
        return encoded.clamp(-1.0, 1.0) * self.scale


FlowEncoding = PerImageFlow | CalibratedFlow


def build_flow_encoding(encoding: str, scale: float | None, *, option: str, default: float) -> FlowEncoding:
    """The encoding of that name.

    Args:
        encoding: ``per_image`` or ``calibrated``.
        scale: the calibrated encoding's scale; None for ``default``.
        option: what the user calls ``scale``.
        default: the scale if none is given.
    Raises:
        ValueError: unknown encoding, a scale that is not above 0, or a scale for ``per_image``.
    """
    if choose("flow encoding", encoding, {"per_image": False, "calibrated": True}):
        scale = default if scale is None else float(scale)
        if not 0 < scale < float("inf"):
            raise ValueError(f"{option} must be a finite number above 0, got {scale}")
        return CalibratedFlow(scale)
    if scale is not None:
        raise ValueError(
            f"{option} belongs to encoding='calibrated', got {option}={scale} with encoding='per_image'"
        )
    return PerImageFlow()
