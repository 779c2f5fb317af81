"""From what the processes found of each image to the figures of a benchmark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import RESAMPLES, intervals
from stablemtl.evaluation.profiles import BINS, profile_of
from stablemtl.evaluation.records import ROLES, ImageRecord, figures_of, stacked
from stablemtl.evaluation.samples import Unreadable
from stablemtl.evaluation.scores import Case, Score
from stablemtl.evaluation.trivial import Constants
from stablemtl.tasks.base import Metric, Task

CASES = 8
"""Worst and best images that a score lists, each."""


@dataclass
class Part:
    """What one process found."""

    records: list[ImageRecord] = field(default_factory=list)
    constants: dict[bool, list[NDArray[np.float64]]] = field(default_factory=dict)
    """With the fit or without -> (candidates, K) of each record."""
    profile: NDArray[np.float64] | None = None
    unreadable: list[Unreadable] = field(default_factory=list)
    unlabelled: int = 0


def sum_up(
    benchmark: Benchmark,
    task: Task,
    constants: Mapping[bool, Constants],
    parts: Sequence[Part],
    *,
    resamples: int = RESAMPLES,
) -> Score:
    """The score of a benchmark, but for its time.

    Args:
        benchmark: what was computed.
        task: of the predictions.
        constants: that were tried, with the fit and, where that is scored, without.
        parts: of all processes.
        resamples: draws for the confidence intervals.
    """
    records, constant_value = _with_best_constant(benchmark, task, constants, parts)
    metric = benchmark.metric(task)
    figures = {
        (role, fit): _figures(records, benchmark, task, role, fit=fit) for fit in constants for role in ROLES
    }
    ranked = _ranked(records, benchmark, metric, higher_is_better=task.spec.higher_is_better)
    bins = BINS.get(benchmark.task)
    sums = [part.profile for part in parts if part.profile is not None]
    return Score(
        benchmark=benchmark,
        n=len(records),
        model=figures["model", True],
        constant=figures["constant", True],
        constant_value=constant_value,
        ceiling=figures["ceiling", True],
        unaligned={role: one for (role, fit), one in figures.items() if not fit and one},
        intervals=intervals(
            stacked(records, "model"), lambda state: figures_of(metric, state), resamples=resamples
        ),
        worst=tuple(ranked[:CASES]),
        best=tuple(ranked[::-1][:CASES]),
        profile=profile_of(bins, np.sum(sums, axis=0)) if bins is not None and sums else None,
        checksum=hashlib.sha256("\n".join(record.key for record in records).encode()).hexdigest(),
        unlabelled=sum(part.unlabelled for part in parts),
        unreadable=tuple(sorted((u for part in parts for u in part.unreadable), key=lambda u: u.index)),
        records=tuple(records),
    )


def _with_best_constant(
    benchmark: Benchmark, task: Task, constants: Mapping[bool, Constants], parts: Sequence[Part]
) -> tuple[list[ImageRecord], list[float]]:
    """All records in the order of the dataset, with the role ``constant``; and the constant under the fit."""
    together = [
        (record, {fit: part.constants[fit][i] for fit in constants})
        for part in parts
        for i, record in enumerate(part.records)
    ]
    together.sort(key=lambda pair: pair[0].index)
    records = [record for record, _ in together]
    constant_value: list[float] = []
    for fit, tried in constants.items():
        if not records or not tried.values:
            continue
        states = np.stack([of_candidates[fit] for _, of_candidates in together])  # (N, candidates, K)
        best = tried.best(states.sum(0), benchmark.headline, higher_is_better=task.spec.higher_is_better)
        if fit:
            constant_value = tried.values[best].tolist()
        # A copy: a view would keep the sums of all candidates.
        pairs = zip(records, states[:, best].copy(), strict=True)
        records = [record.with_state("constant", state, aligned=fit) for record, state in pairs]
    return records, constant_value


def _ranked(
    records: Sequence[ImageRecord], benchmark: Benchmark, metric: Metric, *, higher_is_better: bool
) -> list[Case]:
    """The images by their own headline figure, the worst first; those without one are left out."""
    own = [figures_of(metric, record.states["model"])[benchmark.headline] for record in records]
    cases = [
        Case(index=record.index, key=record.key, value=value)
        for record, value in zip(records, own, strict=True)
        if not math.isnan(value)
    ]
    return sorted(cases, key=lambda case: (case.value if higher_is_better else -case.value, case.index))


def _figures(
    records: Sequence[ImageRecord], benchmark: Benchmark, task: Task, role: str, *, fit: bool
) -> dict[str, float]:
    """Figures of a role; of the model also where nothing was scored (nan), of others then none."""
    metric = benchmark.metric(task, align=fit)
    states = stacked(records, role, aligned=fit)
    if len(states):
        return figures_of(metric, states.sum(0))
    return metric.compute() if role == "model" else {}
