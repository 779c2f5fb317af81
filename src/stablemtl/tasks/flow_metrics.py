"""What the metrics of optical flow and scene flow share: the fit of the scale and the end-point error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_pair
from stablemtl.tasks.reductions import (
    RunningMeans,
    masked_map,
    non_negative_scale,
    valid_pixels,
    vector_length,
)


class FlowMetric(RunningMeans):
    r"""Running means over all valid pixels of all images, after a fit of the scale of each channel.

    With ``align``, each channel of each image is multiplied by its non-negative least-squares scale, without
    a shift:

    .. math:: s_c = \max\Bigl(0, \frac{\sum_p \hat f_{cp} f_{cp}}{\sum_p \hat f_{cp}^2}\Bigr)

    Source: the protocol of StableMTL, arXiv 2506.08013, section 4 (the text says "least squares", the code
    non-negative).
    """

    def __init__(self, spec: TaskSpec, names: Sequence[str], *, align: bool) -> None:
        """Start empty with the ``names`` of all figures; ``align=False`` takes the prediction as px or m."""
        super().__init__(names)
        self._spec, self._align = spec, align

    def fitted_pixels(self, pred: Tensor, target: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The valid pixels of each image, as fitted and true motion, (C, N) float64 each."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        return valid_pixels(self.fit(pred, target, valid), target, valid)

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`stablemtl.tasks.base.Metric.fit`; float64."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        moved = pred.double()
        if not self._align:
            return moved
        seen, measured = (torch.where(valid, maps, 0.0).flatten(2) for maps in (moved, target.double()))
        return non_negative_scale(seen, measured)[..., None, None] * moved

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """End-point error of each pixel [px or m]."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        difference = self.fit(pred, target, valid) - target.double()
        return masked_map(vector_length(difference, dim=1)[:, None], valid)
