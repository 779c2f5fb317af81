"""Alignment and end-point errors shared by optical flow and scene flow."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from stablemtl.tasks.reductions import non_negative_scale, valid_pixels


def aligned_flows(
    pred: Tensor, target: Tensor, valid: Tensor, *, align: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Predicted and measured motion at each image's valid pixels, (C, N) each, float64.

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
    for moved, measured in valid_pixels(pred, target, valid):
        if align:
            moved = non_negative_scale(moved, measured)[:, None] * moved
        yield moved, measured
