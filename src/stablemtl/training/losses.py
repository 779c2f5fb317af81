"""Errors in latent space and, behind the decoder, in the space of label images: sums over what is valid.

Letters: B batch, C latent channels, h and w latent size, H and W image size, f pixels per latent cell.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def valid_cells(valid: Tensor, downscale: int) -> Tensor:
    """Latent cells all of whose f x f pixels are valid; pixels of the codec's padding count as valid.

    Args:
        valid: shape (B, 1, H, W), bool.
        downscale: f, pixels per latent cell along each axis.
    Returns:
        Shape (B, 1, ceil(H/f), ceil(W/f)), bool.
    """
    invalid = (~valid).float()
    bottom, right = -valid.shape[-2] % downscale, -valid.shape[-1] % downscale
    return F.max_pool2d(F.pad(invalid, (0, right, 0, bottom)), downscale) == 0


def squared_error(pred: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the squared errors over valid places and all channels, and how many values these are.

    What is not valid takes no part, finite or not.

    Args:
        pred: predicted latents or images, shape (B, C, h, w).
        target: those of the labels, same shape.
        valid: places that count, shape (B, 1, h, w), bool.
    Returns:
        Two scalars; 0, the first with a gradient of 0, where nothing is valid.
    """
    return torch.where(valid, pred - target, 0.0).square().sum(), valid.sum() * pred.shape[1]


def masked_mse(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over valid places and all channels, shapes as for :func:`squared_error`.

    Returns:
        Scalar; 0, with a gradient of 0, where nothing is valid.
    """
    total, count = squared_error(pred, target, valid)
    return total / count.clamp(min=1)
