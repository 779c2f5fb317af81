"""Albedo: the share of light that each surface reflects diffusely."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.intrinsic_metrics import IntrinsicMetric, RmseOver
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.unit_range import decode_unit_range, encode_unit_range


@dataclass(frozen=True)
class Albedo(MapTask):
    """Diffuse reflectance in [0, 1]."""

    spec = TaskSpec(
        name="albedo",
        prompt="albedo",
        channels=3,
        frames=1,
        unit="relative",
        value_range=(0.0, 1.0),
        headline="rmse",
        higher_is_better=False,
        convention="RGB diffuse reflectance in [0, 1], linear (no gamma), up to one unknown scale.",
        scale_known=False,
        shift_known=True,
        photometric=True,
    )

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Albedo (B, 3, H, W) in [0, 1], clipped, to an image of that shape in [-1, 1]."""
        albedo, _ = as_label(target, valid, self.spec)
        return encode_unit_range(albedo)

    def decode(self, image: Tensor) -> Tensor:
        """Clipped, in [0, 1], shape (B, 3, H, W)."""
        return decode_unit_range(as_image(image, self.spec))

    def metric(self, *, align: bool = True, rmse_over: RmseOver = "pixels") -> IntrinsicMetric:
        """``rmse``, ``ssim`` and ``lmse`` after one least-squares scale per image."""
        return IntrinsicMetric(self.spec, align=align, rmse_over=rmse_over)


def build() -> Albedo:
    """The task; it has no options."""
    return Albedo()
