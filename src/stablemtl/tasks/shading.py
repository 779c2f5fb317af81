"""Shading: how much light arrives at each surface, without its colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stablemtl.names import choose
from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.intrinsic_metrics import IntrinsicMetric, RmseOver
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.unit_range import decode_unit_range, encode_unit_range

_ENCODINGS: dict[str, Literal["absolute", "relative"]] = {"absolute": "absolute", "relative": "relative"}
_BRIGHT_SHARE = 0.95
_LEAST_LIGHT = 1e-3


@dataclass(frozen=True)
class Shading(MapTask):
    """Grey irradiance in [0, 1].

    ``absolute`` is the published encoding. ``relative`` first divides each image by its 95 % quantile: as
    the scale of shading is unknown anyway, dim and bright labels then look alike to the network.
    """

    encoding: Literal["absolute", "relative"] = "absolute"

    spec = TaskSpec(
        name="shading",
        prompt="shading",
        channels=1,
        frames=1,
        unit="relative",
        value_range=(0.0, 1.0),
        headline="rmse",
        higher_is_better=False,
        convention="grey, [0, 1], linear (no gamma), up to one unknown scale: image = albedo x shading.",
        scale_known=False,
        shift_known=True,
        photometric=True,
    )

    @property
    def options(self) -> dict[str, str | float]:
        """``encoding``."""
        return {"encoding": self.encoding}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Shading (B, 1, H, W) in [0, 1], clipped, to a grey image (B, 3, H, W) in [-1, 1]."""
        shading, usable = as_label(target, valid, self.spec)
        if self.encoding == "relative":
            shading = shading.float() / _brightest(shading.float(), usable)
        return encode_unit_range(shading).repeat(1, 3, 1, 1)

    def decode(self, image: Tensor) -> Tensor:
        """Mean of the three channels, clipped, in [0, 1], shape (B, 1, H, W)."""
        return decode_unit_range(as_image(image, self.spec).mean(dim=1, keepdim=True))

    def metric(self, *, align: bool = True, rmse_over: RmseOver = "pixels") -> IntrinsicMetric:
        """``rmse``, ``ssim`` and ``lmse`` after one least-squares scale per image."""
        return IntrinsicMetric(self.spec, align=align, rmse_over=rmse_over)


def _brightest(shading: Tensor, valid: Tensor) -> Tensor:
    """95 % quantile of each image's valid pixels, shape (B, 1, 1, 1); 1 where nothing is lit."""
    brightest = torch.ones(len(shading), 1, 1, 1, device=shading.device)
    for i, (values, usable) in enumerate(zip(shading, valid & shading.isfinite(), strict=True)):
        if usable.any():
            quantile = torch.quantile(values[usable], _BRIGHT_SHARE)
            brightest[i] = torch.where(quantile > _LEAST_LIGHT, quantile, 1.0)
    return brightest


def build(*, encoding: str = "absolute") -> Shading:
    """The task with an encoding.

    Args:
        encoding: ``absolute`` (the published one) or ``relative``.
    Raises:
        ValueError: unknown encoding.
    """
    return Shading(choose("shading encoding", encoding, _ENCODINGS))
