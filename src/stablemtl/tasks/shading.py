"""Shading: how much light arrives at each surface, without its colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec, choose
from stablemtl.tasks.checks import as_image, as_maps, as_valid
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import mirror, resize_smooth, upside_down
from stablemtl.tasks.intrinsic_encoding import decode_unit_range, encode_unit_range
from stablemtl.tasks.intrinsic_metrics import IntrinsicMetric

_ENCODINGS: dict[str, Literal["absolute", "relative"]] = {"absolute": "absolute", "relative": "relative"}
_BRIGHT_SHARE = 0.95
_LEAST_LIGHT = 1e-3


@dataclass(frozen=True)
class Shading:
    """Grey irradiance in [0, 1].

    ``absolute`` is the published encoding. ``relative`` first divides each image by its 95 % quantile: as
    the scale of shading is unknown anyway, dim and bright labels then look alike to the network.
    """

    encoding: Literal["absolute", "relative"] = "absolute"

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
        """``encoding``."""
        return {"encoding": self.encoding}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Shading (B, 1, H, W) in [0, 1], clipped, to a grey image (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        shading = as_maps(target, self.spec, "target")
        usable = as_valid(valid, shading, self.spec)
        if self.encoding == "relative":
            shading = shading.float() / _brightest(shading.float(), usable)
        return encode_unit_range(shading).repeat(1, 3, 1, 1)

    def decode(self, image: Tensor) -> Tensor:
        """Mean of the three channels, clipped, in [0, 1], shape (B, 1, H, W)."""
        return decode_unit_range(as_image(image, self.spec).mean(dim=1, keepdim=True))

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
        """Grey as it is, uint8 (B, 3, H, W)."""
        return to_bytes(*prepare(values, valid, self.spec))


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
