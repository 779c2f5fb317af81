"""The best constant prediction: what a model must beat before it has understood anything.

The constant may be chosen with knowledge of the ground truth of all evaluated samples, and is scored by the
metric that scores the model, fit to each image included. Each task offers a few candidates; the one with the
best headline figure counts:

============== =====================================================================================
depth          1 (any would do: scale and shift make it each image's mean depth)
optical_flow   every combination of -1, 0, +1 per channel: each image's mean motion where the sign fits
scene_flow     the same, with three channels
normal         the mean direction, a wall (0, 0, 1), a floor (0, 1, 0), and halfway between the two
shading        1 (any would do: the scale makes it each image's mean)
albedo         the mean colour, and grey
class ids      every class; the most frequent one wins (semantic)
other tasks    the mean
============== =====================================================================================

Without a fit: depth, the mean and shares of it (errors relative to depth are least for a small constant);
flows, no motion and the mean motion. Means are means over images of means over valid pixels. C: channels of
the target.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.records import figures_of
from stablemtl.tasks.base import Metric, Task, TaskSpec

Mean = Callable[[], Tensor | None]
"""The mean target (C,), None if nothing is valid; called only where a candidate needs it."""

_Candidates = Callable[[TaskSpec, Mean], list[Tensor]]


def candidates(spec: TaskSpec, mean: Mean, *, fitted: bool) -> list[Tensor]:
    """Constants worth trying, (C,) each; at least one unless there is nothing to take a mean of.

    Args:
        spec: of the task.
        mean: the mean target.
        fitted: whether predictions are fitted to each image before they are scored, or need no fit.
    """
    if spec.classes:
        return [torch.tensor([number]) for number in range(len(spec.classes))]
    known = _FITTED if fitted else _IN_OWN_UNIT
    return known.get(spec.name, _mean)(spec, mean)


def mean_of(target: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid pixels of one image, (C,) float64; ``target`` (C, H, W), ``valid`` (1, H, W)."""
    return torch.where(valid, target.double(), 0.0).sum(dim=(1, 2)) / valid.sum()


class Constants:
    """Scores candidates side by side, at the cost of the few that differ on an image."""

    def __init__(
        self, task: Task, benchmark: Benchmark, constants: Sequence[Tensor], *, align: bool = True
    ) -> None:
        """``align=False`` leaves out the benchmark's fit."""
        self.values = [values.double() for values in constants]
        self._per_channel = align and benchmark.alignment == "scale per channel"
        # A fitted constant is known in closed form where each channel has its own scale.
        self._metric = benchmark.metric(task, align=align and not self._per_channel)

    def states(self, target: Tensor, valid: Tensor) -> NDArray[np.float64]:
        """Sums of one image for each candidate, (candidates, K).

        Args:
            target: ground truth, shape (C, H, W).
            valid: bool, shape (1, H, W).
        """
        constants = self.values
        if self._per_channel:
            mean = mean_of(target, valid)
            constants = [torch.where(values * mean > 0, mean, 0.0) for values in constants]
        known: dict[tuple[float, ...], NDArray[np.float64]] = {}
        return np.stack([self._state(values, target, valid, known) for values in constants])

    def _state(
        self,
        values: Tensor,
        target: Tensor,
        valid: Tensor,
        known: dict[tuple[float, ...], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        key = tuple(values.tolist())
        if key not in known:
            typed = (
                values if target.is_floating_point() else values.to(target.dtype)
            )  # class ids are integers
            constant = typed.view(-1, 1, 1).expand_as(target)
            known[key] = state_of(self._metric, constant, target, valid)
        return known[key]

    def best(self, sums: NDArray[np.float64], headline: str, *, higher_is_better: bool) -> int:
        """Number of the candidate whose figure ``headline`` is best, from summed (candidates, K) states."""
        sign = 1.0 if higher_is_better else -1.0
        ranks = [sign * figures_of(self._metric, row)[headline] for row in sums]
        return int(np.argmax([-math.inf if math.isnan(rank) else rank for rank in ranks]))


def state_of(metric: Metric, pred: Tensor, target: Tensor, valid: Tensor) -> NDArray[np.float64]:
    """What one image, (C, H, W) each, adds to a metric, (K,); the metric is reset."""
    metric.reset()
    metric.update(pred[None], target[None], valid[None])
    state: NDArray[np.float64] = metric.state().numpy()
    return state


def _one(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    return [torch.ones(spec.channels)]


def _signs(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    combinations = itertools.product((-1.0, 0.0, 1.0), repeat=spec.channels)
    return [torch.tensor(values) for values in combinations]


def _directions(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    half = math.sqrt(0.5)
    directions = [torch.tensor(v) for v in ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, half, half))]
    direction = mean()
    if direction is not None and direction.norm() > 0:
        directions.append(direction / direction.norm())
    return directions


def _colours(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    return [*_one(spec, mean), *_mean(spec, mean)]


def _mean(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    value = mean()
    return [] if value is None else [value]


def _distances(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    return [share * value for value in _mean(spec, mean) for share in (1.0, 0.65, 0.45, 0.3, 0.2)]


def _still_or_mean(spec: TaskSpec, mean: Mean) -> list[Tensor]:
    return [torch.zeros(spec.channels), *_mean(spec, mean)]


_FITTED: dict[str, _Candidates] = {
    "normal": _directions,
    "depth": _one,
    "optical_flow": _signs,
    "scene_flow": _signs,
    "shading": _one,
    "albedo": _colours,
}
_IN_OWN_UNIT: dict[str, _Candidates] = {
    "depth": _distances,
    "optical_flow": _still_or_mean,
    "scene_flow": _still_or_mean,
}
