"""Shading: how much light arrives at each surface, without its colour."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_maps, as_valid
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import mirror, resize_smooth
from stablemtl.tasks.intrinsic_encoding import decode_unit_range, encode_unit_range
from stablemtl.tasks.intrinsic_metrics import IntrinsicMetric


@dataclass(frozen=True)
class Shading:
    """Grey irradiance in [0, 1]."""

    @property
    def spec(self) -> TaskSpec:
        """Description of the task."""
        return TaskSpec(
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
        """Nothing to choose."""
        return {}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Shading (B, 1, H, W) in [0, 1], clipped, to a grey image (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        shading = as_maps(target, self.spec, "target")
        as_valid(valid, shading, self.spec)
        return encode_unit_range(shading).repeat(1, 3, 1, 1)

    def decode(self, image: Tensor) -> Tensor:
        """Mean of the three channels, clipped, in [0, 1], shape (B, 1, H, W)."""
        return decode_unit_range(as_image(image, self.spec).mean(dim=1, keepdim=True))

    def metric(self, *, align: bool = True) -> IntrinsicMetric:
        """``rmse``, ``ssim`` and ``lmse`` after one least-squares scale per image."""
        return IntrinsicMetric(self.spec, align=align)

    def hflip(self, target: Tensor) -> Tensor:
        """Mirrored."""
        return mirror(target)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(pred, size)

    def colorize(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """Grey as it is, uint8 (B, 3, H, W)."""
        return to_bytes(*prepare(values, valid, self.spec))


def build() -> Shading:
    """The task; it has no options."""
    return Shading()
