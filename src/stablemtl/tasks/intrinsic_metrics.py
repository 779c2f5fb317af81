"""The figures of shading and albedo: scale-aligned RMSE, SSIM and LMSE."""

from __future__ import annotations

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_pair
from stablemtl.tasks.reductions import RunningMeans, least_squares_scale

_WINDOW, _STRIDE = 16, 8  # LMSE windows [px]
_LEAST_ENERGY = 1e-5  # below this a window's prediction is taken as black
_SSIM_WINDOW = 7  # scikit-image's default [px]


class IntrinsicMetric:
    """Running ``rmse``, ``ssim`` and ``lmse`` of maps known up to one scale; each per image, then averaged.

    Source: the protocol of StableMTL on MIDIntrinsics, arXiv 2506.08013, sections 4 and B.1; LMSE after
    Grosse et al., ICCV 2009, doi:10.1109/ICCV.2009.5459428.
    """

    def __init__(self, spec: TaskSpec, *, align: bool = True) -> None:
        """``align`` fits one scale for all channels of an image; False leaves the prediction as it is."""
        self._spec, self._align = spec, align
        self._means = RunningMeans(("rmse", "ssim", "lmse"))

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`.

        SSIM looks at the whole image, unmeasured pixels included (they count as 0 where not finite). It needs
        a side of 7 pixels, LMSE one of 16: smaller images add nothing to these figures.

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        for one_pred, one_target, mask in zip(pred.double(), target.double(), valid, strict=True):
            if mask.any():
                self._means.add(self._figures(_fill(one_pred, mask), _fill(one_target, mask), mask))

    def compute(self) -> dict[str, float]:
        """Means over images."""
        return self._means.compute()

    def reset(self) -> None:
        """Forget everything added."""
        self._means.reset()

    def _figures(self, pred: Tensor, target: Tensor, mask: Tensor) -> dict[str, float | Tensor]:
        scale = (
            least_squares_scale(pred[:, mask[0]].flatten(), target[:, mask[0]].flatten())
            if self._align
            else 1.0
        )
        pred = (scale * pred).clamp(0.0, 1.0)
        figures: dict[str, float | Tensor] = {"rmse": masked_rmse(pred, target, mask)}
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
    error = (pred - target)[:, mask[0]]
    return (error.square().sum() / error.shape[1]).sqrt()


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
    pred, target = _windows(pred * mask), _windows(target * mask)  # (windows, elements)
    energy = pred.square().sum(-1)
    scale = (pred * target).sum(-1) / torch.where(energy > _LEAST_ENERGY, energy, torch.inf)
    error = (target - scale[:, None] * pred).square().sum()
    total = target.square().sum()
    return error / total if total > 0 else None


def _windows(maps: Tensor) -> Tensor:
    unfolded = maps.unfold(1, _WINDOW, _STRIDE).unfold(2, _WINDOW, _STRIDE)  # (C, rows, columns, 16, 16)
    return unfolded.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


def _fill(maps: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask | maps.isfinite(), maps, 0.0)
