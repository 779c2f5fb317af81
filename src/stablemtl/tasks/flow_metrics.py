"""Alignment and end-point errors shared by optical flow and scene flow."""

from __future__ import annotations

import torch
from torch import Tensor

from stablemtl.tasks.reductions import masked_map, non_negative_scale, vector_length


def fit_flow(pred: Tensor, target: Tensor, valid: Tensor, *, align: bool) -> Tensor:
    r"""Predicted motion as it is compared, shape (B, C, H, W) float64.

    With ``align``, each channel of each image is multiplied by its non-negative least-squares scale, without
    a shift:

    .. math:: s_c = \max\Bigl(0, \frac{\sum_p \hat f_{cp} f_{cp}}{\sum_p \hat f_{cp}^2}\Bigr)

    Source: the protocol of StableMTL, arXiv 2506.08013, section 4 (the text says "least squares", the code
    non-negative).

    Args:
        pred: shape (B, C, H, W).
        target: shape of ``pred``.
        valid: bool, shape (B, 1, H, W).
        align: False takes ``pred`` as it is.
    """
    moved = pred.double()
    if not align:
        return moved
    seen, measured = (torch.where(valid, maps, 0.0).flatten(2) for maps in (moved, target.double()))
    return non_negative_scale(seen, measured)[..., None, None] * moved


def end_point_errors(fitted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Length of the difference at each pixel, shape (B, 1, H, W) float64; nan where not valid."""
    return masked_map(vector_length(fitted - target.double(), dim=1)[:, None], valid)
