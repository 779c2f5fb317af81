"""Albedo: the share of light that each surface reflects diffusely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_maps, as_valid
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import mirror, resize_smooth, upside_down
from stablemtl.tasks.intrinsic_encoding import decode_unit_range, encode_unit_range
from stablemtl.tasks.intrinsic_metrics import IntrinsicMetric


@dataclass(frozen=True)
class Albedo:
    """Diffuse reflectance in [0, 1]."""

    @property
    def spec(self) -> TaskSpec:
        """Description of the task."""
        return TaskSpec(
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

    @property
    def options(self) -> dict[str, str | float]:
        """Nothing to choose."""
        return {}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Albedo (B, 3, H, W) in [0, 1], clipped, to an image of that shape in [-1, 1].

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        albedo = as_maps(target, self.spec, "target")
        as_valid(valid, albedo, self.spec)
        return encode_unit_range(albedo)

    def decode(self, image: Tensor) -> Tensor:
        """Clipped, in [0, 1], shape (B, 3, H, W)."""
        return decode_unit_range(as_image(image, self.spec))

    def metric(
        self, *, align: bool = True, rmse_over: Literal["pixels", "values"] = "pixels"
    ) -> IntrinsicMetric:
        """``rmse``, ``ssim`` and ``lmse`` after one least-squares scale per image."""
        return IntrinsicMetric(self.spec, align=align, rmse_over=rmse_over)

    def hflip(self, target: Tensor) -> Tensor:
        """Mirrored."""
        return mirror(target)

    def vflip(self, target: Tensor) -> Tensor:
        """Turned upside down."""
        return upside_down(target)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(pred, size)

    def colorize(
        self,
        values: Tensor,
        valid: Tensor | None = None,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Tensor:
        """RGB as it is, uint8 (B, 3, H, W)."""
        return to_bytes(*prepare(values, valid, self.spec))


def build() -> Albedo:
    """The task; it has no options."""
    return Albedo()
