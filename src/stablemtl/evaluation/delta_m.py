"""Delta_m: one number for a multi-task model, relative to single-task models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stablemtl.names import choose
from stablemtl.tasks import TASKS

Score = float | Sequence[float]
"""A task's headline figure, or one for each of its test sets."""


def delta_m(metrics: Mapping[str, Score], baseline: Mapping[str, Score]) -> float:
    r"""Average relative gain over the baseline [%]; above 0 is better.

    .. math:: \Delta_m = \frac{100}{K} \sum_{t=1}^{K} g_t \, \frac{M_t - S_t}{S_t}

    with M the model's and S the baseline's figure, g +1 where higher is better and -1 elsewhere. A task with
    several test sets (depth: KITTI and DIODE) has its relative changes averaged first, so that it counts as
    one task.

    Source: Vandenhende et al., arXiv 2004.13379, eq. 3; the average over test sets after StableMTL, arXiv
    2506.08013.

    >>> round(delta_m({"semantic": 55.0, "normal": 20.0}, {"semantic": 50.0, "normal": 25.0}), 6)
    15.0

    Args:
        metrics: the model's headline figures by task name, in the unit of ``baseline``.
        baseline: the single-task models' figures for the same tasks and test sets.
    Raises:
        ValueError: a task is unknown or in one argument only, numbers of test sets differ, a figure is not
            finite, or one of ``baseline`` is not above 0.
    """
    _check_same_tasks(metrics, baseline)
    terms = []
    for name in baseline:
        sign = 1 if TASKS[name].spec.higher_is_better else -1
        values, references = _as_list(metrics[name]), _as_list(baseline[name])
        if len(values) != len(references):
            raise ValueError(
                f"metrics[{name!r}] and baseline[{name!r}] must list the same test sets, "
                f"got {len(values)} and {len(references)} figures"
            )
        changes = []
        for value, reference in zip(values, references, strict=True):
            if not math.isfinite(value):
                raise ValueError(
                    f"metrics[{name!r}] must be finite, got {value}. Leave the task out of both arguments."
                )
            if not (math.isfinite(reference) and reference > 0):
                raise ValueError(
                    f"baseline[{name!r}] must be finite and above 0, got {reference}: "
                    f"a change relative to it has no meaning. Leave the task out of both arguments."
                )
            changes.append(sign * (value - reference) / reference)
        terms.append(sum(changes) / len(changes))
    return 100 * sum(terms) / len(terms)


def _check_same_tasks(metrics: Mapping[str, Score], baseline: Mapping[str, Score]) -> None:
    for name in [*metrics, *baseline]:
        choose("task", name, TASKS)
    if not baseline:
        raise ValueError("baseline must hold at least one task, got none")
    for label, has, needs in (("metrics", metrics, baseline), ("baseline", baseline, metrics)):
        missing = [name for name in needs if name not in has]
        if missing:
            raise ValueError(
                f"{label} lacks {', '.join(missing)}: Delta_m compares the same tasks. "
                f"Add the figures, or leave the task out of both arguments."
            )


def _as_list(score: Score) -> list[float]:
    scores = [float(value) for value in score] if isinstance(score, Sequence) else [float(score)]
    if not scores:
        raise ValueError("a task must have at least one figure, got an empty list")
    return scores
