"""The error against how large the true value is: with depth for depth, with its length for motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.tasks.base import Metric
from stablemtl.tasks.reductions import vector_length


@dataclass(frozen=True, kw_only=True)
class Bins:
    """How true values are sorted; what lies outside the edges belongs to no bin."""

    by: str
    """What they are sorted by, with its unit."""
    error: str
    """What is averaged in each bin, with its unit."""
    edges: tuple[float, ...]
    """Ascending, one more than there are bins."""


BINS: dict[str, Bins] = {
    "depth": Bins(
        by="true depth [m]",
        error="error / true depth",
        edges=(0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512),
    ),
    "optical_flow": Bins(
        by="true motion [px]",
        error="end-point error [px]",
        edges=(0, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    ),
    "scene_flow": Bins(
        by="true motion [m]",
        error="end-point error [m]",
        edges=(0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
    ),
}
"""Tasks whose error depends on how large the truth is."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Mean error in each bin."""

    by: str
    error: str
    edges: tuple[float, ...]
    mean: tuple[float, ...]
    """One for each bin; nan for an empty one."""
    pixels: tuple[int, ...]
    """How many each mean is over."""


class ProfileSums:
    """Running sums of the errors in each bin: (2, bins), sums and counts; they add up over processes."""

    def __init__(self, bins: Bins) -> None:
        """Start empty."""
        self.bins = bins
        self.sums: NDArray[np.float64] = np.zeros((2, len(bins.edges) - 1))

    def add(self, metric: Metric, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch; arguments as in :meth:`stablemtl.tasks.base.Metric.update`."""
        errors = metric.errors(pred, target, valid)[:, 0]
        seen = ~errors.isnan()
        sizes = vector_length(target.double(), dim=1)[seen].contiguous()
        edges = torch.tensor(self.bins.edges, dtype=torch.float64)
        number = torch.bucketize(sizes, edges, right=True) - 1
        bins = len(edges) - 1
        inside = (number >= 0) & (number < bins)
        chosen, values = number[inside].numpy(), errors[seen][inside].numpy()
        self.sums[0] += np.bincount(chosen, weights=values, minlength=bins)
        self.sums[1] += np.bincount(chosen, minlength=bins)


def profile_of(bins: Bins, sums: NDArray[np.float64]) -> Profile:
    """The means of summed (2, bins) errors and counts."""
    total, count = sums
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Profile(
        by=bins.by,
        error=bins.error,
        edges=bins.edges,
        mean=tuple(mean.tolist()),
        pixels=tuple(int(number) for number in count),
    )
