"""Masked sums and least-squares fits shared by the tasks' metrics.

Dimensions: B batch, C channels, H and W height and width, N valid pixels of one image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor


def valid_pixels(pred: Tensor, target: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The valid pixels of each image in float64, as ``pred`` (C, N) and ``target`` (C, N).

    Images without a valid pixel are left out.

    Args:
        pred: shape (B, C, H, W).
        target: shape of ``pred``.
        valid: bool, shape (B, 1, H, W).
    """
    for one_pred, one_target, mask in zip(pred, target, valid[:, 0], strict=True):
        chosen = mask.flatten().nonzero()[:, 0]  # numbers of pixels: faster than indexing with the mask
        if len(chosen):
            yield _pick(one_pred, chosen), _pick(one_target, chosen)


def _pick(maps: Tensor, chosen: Tensor) -> Tensor:
    return maps.flatten(1).index_select(1, chosen).double()


def least_squares_scale(pred: Tensor, target: Tensor) -> Tensor:
    """The s that minimises the sum of (s * pred - target)^2 along the last axis; 0 where ``pred`` is all 0.

    >>> least_squares_scale(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])).item()
    3.0
    """
    energy = (pred * pred).sum(-1)
    return (pred * target).sum(-1) / torch.where(energy > 0, energy, 1.0)


def non_negative_scale(pred: Tensor, target: Tensor) -> Tensor:
    """As :func:`least_squares_scale`, but never below 0: a wrong sign is not turned round."""
    return least_squares_scale(pred, target).clamp_min(0.0)


def least_squares_scale_and_shift(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The s and t that minimise the sum of (s * pred + t - target)^2, after Eigen's and MiDaS' protocols.

    The fit is centred, which keeps it accurate. A constant ``pred`` carries nothing to scale: s is 0 and t
    the target's mean, so that figures stay finite.

    Args:
        pred: shape (N,), N at least 1, float64 recommended.
        target: shape of ``pred``.
    Returns:
        Two scalars, s and t.
    """
    pred_mean, target_mean = pred.mean(), target.mean()
    centred = pred - pred_mean
    variance = (centred * centred).mean()
    # Below single precision's resolution a spread is rounding noise, not a signal.
    if variance <= 1e-14 * (pred * pred).mean():
        return torch.zeros_like(target_mean), target_mean
    scale = (centred * (target - target_mean)).mean() / variance
    return scale, target_mean - scale * pred_mean


def vector_length(vectors: Tensor, dim: int = 0) -> Tensor:
    """Euclidean length along ``dim``; much faster than ``norm`` over an axis of two or three."""
    return vectors.square().sum(dim).sqrt()


def angle_deg(first: Tensor, second: Tensor) -> Tensor:
    """Angle between vectors of any length [deg], in [0, 180].

    Args:
        first: shape (C, N).
        second: shape of ``first``.
    Returns:
        Shape (N,); 90 where either vector is 0, since no direction is nearer there than another.
    """
    lengths = vector_length(first) * vector_length(second)
    cosine = (first * second).sum(0) / torch.where(lengths > 0, lengths, 1.0)
    return torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))


def masked_map(values: Tensor, valid: Tensor) -> Tensor:
    """``values`` (B, 1, H, W) as float64, nan where not ``valid``."""
    return torch.where(valid, values.double(), math.nan)


def check_state(state: Tensor, length: int) -> Tensor:
    """``state`` if it is a vector of that length.

    Raises:
        ValueError: it is not.
    """
    if state.shape != (length,):
        raise ValueError(
            f"state must be ({length},), from a metric of the same task and options, got {tuple(state.shape)}"
        )
    return state


class RunningMeans:
    """Weighted running means of named figures: all of a metric but what it measures and how it fits."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start empty with the ``names`` of all figures, in the order of the results."""
        self._names = tuple(names)
        self.reset()

    def add(self, values: Mapping[str, float | Tensor], weight: float = 1.0) -> None:
        """Add figures, all or some of them; ``weight`` is the number of things each stands for.

        A ``nan`` stays in the mean: a failed prediction must show.
        """
        for name, value in values.items():
            self._sums[name] += float(value) * weight
            self._weights[name] += weight

    def compute(self) -> dict[str, float]:
        """The mean of each figure; ``nan`` for one that was never added."""
        return {n: self._sums[n] / self._weights[n] if self._weights[n] else math.nan for n in self._names}

    def state(self) -> Tensor:
        """The sums, then their weights, (2 x figures,) float64."""
        return torch.tensor([*self._sums.values(), *self._weights.values()], dtype=torch.float64)

    def merge(self, state: Tensor) -> None:
        """Add the ``state`` of other means of the same figures.

        Raises:
            ValueError: it is of another length.
        """
        values = check_state(state, 2 * len(self._names)).tolist()
        for i, name in enumerate(self._names):
            self._sums[name] += values[i]
            self._weights[name] += values[len(self._names) + i]

    def reset(self) -> None:
        """Forget everything added."""
        self._sums = dict.fromkeys(self._names, 0.0)
        self._weights = dict.fromkeys(self._names, 0.0)
