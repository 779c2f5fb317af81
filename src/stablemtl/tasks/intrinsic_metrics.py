"""The figures of shading and albedo: scale-aligned RMSE, SSIM and LMSE."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.names import choose
from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_pair
from stablemtl.tasks.reductions import RunningMeans, least_squares_scale, masked_map

RmseOver = Literal["pixels", "values"]
_AVERAGES: dict[str, bool] = {"pixels": True, "values": False}
_WINDOW, _STRIDE = 16, 8  # LMSE windows [px]
_LEAST_ENERGY = 1e-5  # below this a window's prediction is taken as black
_SSIM_WINDOW = 7  # scikit-image's default [px]


class IntrinsicMetric(RunningMeans):
    """Running ``rmse``, ``ssim`` and ``lmse`` of maps known up to one scale; each per image, then averaged.

    Source: the protocol of StableMTL on MIDIntrinsics, arXiv 2506.08013, sections 4 and B.1; LMSE after
    Grosse et al., ICCV 2009, doi:10.1109/ICCV.2009.5459428.
    """

    def __init__(self, spec: TaskSpec, *, align: bool = True, rmse_over: RmseOver = "pixels") -> None:
        """Start empty.

        Args:
            spec: shading or albedo.
            align: fit one scale for all channels of an image; False leaves the prediction as it is.
            rmse_over: what the squared error is divided by: ``pixels``, as the published protocol does, or
                ``values``, the usual RMSE, which is smaller by the root of the number of channels.
        Raises:
            ValueError: ``rmse_over`` is neither.
        """
        super().__init__(("rmse", "ssim", "lmse"))
        over_pixels = choose("rmse_over", rmse_over, _AVERAGES)
        self._spec, self._align = spec, align
        self._rmse_factor = 1.0 if over_pixels else spec.channels**-0.5

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`.

        SSIM looks at the whole image, unmeasured pixels included (they count as 0 where not finite). It needs
        a side of 7 pixels, LMSE one of 16: smaller images add nothing to these figures.
        """
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        for one_pred, one_target, mask in zip(pred.double(), target.double(), valid, strict=True):
            if mask.any():
                self.add(self._figures(_fill(one_pred, mask), _fill(one_target, mask), mask))

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`stablemtl.tasks.base.Metric.fit`."""
        batch = zip(*as_pair(pred, target, valid, self._spec), strict=True)
        return torch.stack(
            [self._fit(_fill(p.double(), mask), _fill(t.double(), mask), mask) for p, t, mask in batch]
        )

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Root mean square over the channels of each pixel."""
        fitted = self.fit(pred, target, valid)
        _, target, valid = as_pair(pred, target, valid, self._spec)
        return masked_map((fitted - target).square().mean(dim=1, keepdim=True).sqrt(), valid)

    def _fit(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """One image, (C, H, W)."""
        scale = 1.0
        if self._align and mask.any():
            scale = least_squares_scale((pred * mask).flatten(), (target * mask).flatten()).item()
        return (scale * pred).clamp(0.0, 1.0)

    def _figures(self, pred: Tensor, target: Tensor, mask: Tensor) -> dict[str, float | Tensor]:
        pred = self._fit(pred, target, mask)
        rmse = self._rmse_factor * masked_rmse(pred, target, mask)
        figures: dict[str, float | Tensor] = {"rmse": rmse}
        if min(mask.shape[-2:]) >= _SSIM_WINDOW:
            figures["ssim"] = structural_similarity(pred, target)
        lmse = local_mse(pred, target, mask)
        if lmse is not None:
            figures["lmse"] = lmse
        return figures


def masked_rmse(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Root of the squared error summed over channels and averaged over masked pixels.

    The published protocol divides by pixels, not by elements: for three channels this is sqrt(3) times the
    usual RMSE.

    Args:
        pred: shape (C, H, W).
        target: shape of ``pred``.
        mask: bool, shape (1, H, W).
    """
    error = torch.where(mask, pred - target, 0.0)
    return (error.square().sum() / mask.sum()).sqrt()


def structural_similarity(pred: Tensor, target: Tensor) -> float:
    """SSIM of whole images in [0, 1], shape (C, H, W), with scikit-image's defaults (uniform 7x7 window)."""
    from skimage import metrics  # slow import, and only evaluation needs it

    return float(
        metrics.structural_similarity(
            target.numpy(), pred.numpy(), data_range=1.0, channel_axis=0, win_size=_SSIM_WINDOW
        )
    )


def local_mse(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor | None:
    """Local mean squared error: each 16x16 window, at stride 8, has its own scale.

    The sum over windows is divided by the target's energy in them.

    Args:
        pred: shape (C, H, W).
        target: shape of ``pred``.
        mask: bool, shape (1, H, W).
    Returns:
        Scalar; None if no window fits into the image or the target is black in all of them.
    """
    if min(mask.shape[-2:]) < _WINDOW:
        return None
    pred, target = pred * mask, target * mask
    energy, cross, total = (_window_sums(maps) for maps in (pred * pred, pred * target, target * target))
    scale = cross / torch.where(energy > _LEAST_ENERGY, energy, torch.inf)
    error = (total - 2 * scale * cross + scale * scale * energy).clamp_min(0.0).sum()
    return error / total.sum() if total.sum() > 0 else None


def _window_sums(maps: Tensor) -> Tensor:
    """Sums over all channels of each window of (C, H, W): of the four blocks that make it up."""
    blocks = F.avg_pool2d(maps.sum(0, keepdim=True), _STRIDE, divisor_override=1)
    return F.avg_pool2d(blocks, _WINDOW // _STRIDE, stride=1, divisor_override=1)


def _fill(maps: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask | maps.isfinite(), maps, 0.0)
