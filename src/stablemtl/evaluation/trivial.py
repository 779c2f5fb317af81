"""The best constant prediction: what a model must beat before it has understood anything.

The constant may be chosen with knowledge of the ground truth of all evaluated samples, and is scored by the
metric that scores the model, alignment to each image included. Each task offers a few candidates; the one
with the best headline figure counts:

============== =====================================================================================
depth          1 (any would do: scale and shift make it each image's mean depth)
optical_flow   every combination of -1, 0, +1 per channel: each image's mean motion where the sign fits
scene_flow     the same, with three channels
normal         the mean direction, a wall (0, 0, 1), a floor (0, 1, 0), and halfway between the two
shading        1 (any would do: the scale makes it each image's mean)
albedo         the mean colour, and grey
semantic       every class; the most frequent one wins
other tasks    the mean
============== =====================================================================================

Means are means over images of means over valid pixels. C: channels of the target.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from stablemtl.data.sample import Sample
from stablemtl.tasks.base import Metric, Task

_Candidates = Callable[[Task, Iterable[Sample]], list[Tensor]]


def constant_candidates(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    """Constants worth trying, (C,) each; at least one unless there is nothing to take a mean of.

    Args:
        task: whose constants.
        samples: with labels of the task; iterated over only where a mean is needed.
    """
    return _CANDIDATES.get(task.spec.name, _mean)(task, samples)


class BestConstant:
    """Scores candidates side by side, then tells the best."""

    def __init__(
        self,
        candidates: list[Tensor],
        metric: Callable[[], Metric],
        *,
        headline: str,
        higher_is_better: bool,
    ) -> None:
        """``metric`` makes a fresh metric; ``headline`` is the figure that decides."""
        self._scored = [(values, metric()) for values in candidates]
        self._headline, self._sign = headline, 1.0 if higher_is_better else -1.0

    def update(self, target: Tensor, valid: Tensor) -> None:
        """Add ground truth: ``target`` (B, C, H, W), ``valid`` bool (B, 1, H, W)."""
        for values, metric in self._scored:
            constant = values.to(target).view(1, -1, 1, 1).expand_as(target)
            metric.update(constant, target, valid)

    def best(self) -> tuple[list[float], dict[str, float]]:
        """The best constant (C numbers) and its figures; both empty if there is no candidate."""
        best_rank = -math.inf
        best_values: list[float] = []
        best_figures: dict[str, float] = {}
        for values, metric in self._scored:
            figures = metric.compute()
            rank = self._sign * figures[self._headline]
            if not best_figures or rank > best_rank:
                best_rank, best_values, best_figures = rank, values.tolist(), figures
        return best_values, best_figures


def mean_target(samples: Iterable[Sample]) -> Tensor | None:
    """Mean over images of the mean over valid pixels, (C,) float64; None if no image has a valid pixel."""
    means = [s.target[:, s.valid[0]].double().mean(dim=1) for s in samples if s.valid.any()]
    return torch.stack(means).mean(dim=0) if means else None


def _one(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    return [torch.ones(task.spec.channels)]


def _signs(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    combinations = itertools.product((-1.0, 0.0, 1.0), repeat=task.spec.channels)
    return [torch.tensor(values) for values in combinations]


def _directions(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    half = math.sqrt(0.5)
    directions = [torch.tensor(v) for v in ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, half, half))]
    mean = mean_target(samples)
    if mean is not None and mean.norm() > 0:
        directions.append((mean / mean.norm()).float())
    return directions


def _colours(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    return [*_one(task, samples), *_mean(task, samples)]


def _classes(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    lowest, highest = task.spec.value_range
    return [torch.tensor([number]) for number in range(int(lowest), int(highest) + 1)]


def _mean(task: Task, samples: Iterable[Sample]) -> list[Tensor]:
    mean = mean_target(samples)
    return [] if mean is None else [mean.float()]


_CANDIDATES: dict[str, _Candidates] = {
    "semantic": _classes,
    "normal": _directions,
    "depth": _one,
    "optical_flow": _signs,
    "scene_flow": _signs,
    "shading": _one,
    "albedo": _colours,
}
