"""The figures of one benchmark in two reports, drawn alike; averages of how much they change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import quantiles, resampled_sums
from stablemtl.evaluation.delta_m import delta_m
from stablemtl.evaluation.published import COLUMNS
from stablemtl.evaluation.records import figures_of, stacked
from stablemtl.evaluation.scores import Score

Interval = tuple[float, float]


class Paired:
    """The figures of one benchmark in both reports, over all images and over each draw of them."""

    def __init__(self, a: Score, b: Score, *, aligned: bool, resamples: int) -> None:
        self.benchmark: Benchmark = a.benchmark
        self.aligned = aligned
        states = [stacked(score.records, "model", aligned=aligned) for score in (a, b)]
        self.count = len(states[0]) if len(states[0]) == len(states[1]) else 0
        self.figures: list[tuple[Mapping[str, float], Mapping[str, float]]] = []
        if not self.count:
            return
        seed = int(a.checksum[:8] or "0", 16)  # one list of frames, one series of draws
        metric = self.benchmark.metric(align=aligned)

        def both(sums: Iterator[NDArray[np.float64]]) -> tuple[Mapping[str, float], Mapping[str, float]]:
            first, second = (figures_of(metric, one) for one in sums)
            return first, second

        self.all = both(state.sum(axis=0) for state in states)
        if self.count > 1:
            draws = (resampled_sums(state, resamples=resamples, seed=seed) for state in states)
            self.figures = [both(iter(sums)) for sums in zip(*draws, strict=True)]

    @property
    def whole(self) -> tuple[float, float]:
        """The headline figure of both over all images."""
        name = self.benchmark.headline
        return self.all[0][name], self.all[1][name]

    @property
    def headline(self) -> list[tuple[float, float]]:
        """The same for each draw."""
        name = self.benchmark.headline
        return [(first[name], second[name]) for first, second in self.figures]

    @property
    def is_paper(self) -> bool:
        """Whether the benchmark is one of the protocol ``paper``."""
        return self.benchmark.protocol == "paper"

    @property
    def has_gain(self) -> bool:
        """Whether a change relative to a has a meaning, in all draws."""
        values = [self.whole, *self.headline]
        return all(math.isfinite(one) and math.isfinite(other) and one > 0 for one, other in values)


_Pairs = Sequence[tuple[float, float]]
"""The headline figure of a and of b, for each benchmark."""


def with_interval(
    average: Callable[[Sequence[Paired], _Pairs], float], drawn: Sequence[Paired], level: float
) -> tuple[float | None, Interval]:
    """An average over benchmarks and its interval; None for no benchmark, nan for single images."""
    if not drawn:
        return None, (math.nan, math.nan)
    whole = average(drawn, [one.whole for one in drawn])
    if any(one.count < 2 for one in drawn):
        return whole, (math.nan, math.nan)
    draws = [average(drawn, values) for values in zip(*(one.headline for one in drawn), strict=True)]
    return whole, quantiles(draws, level)


def paper_columns(drawn: Sequence[Paired]) -> list[Paired]:
    """The eight columns that Delta_m is defined over, in their order; none if one is missing."""
    by_place = {(one.benchmark.dataset, one.benchmark.task): one for one in drawn if one.is_paper}
    places = [(column.dataset, column.task) for column in COLUMNS]
    return [by_place[place] for place in places] if by_place.keys() >= set(places) else []


def mean_gain(columns: Sequence[Paired], values: _Pairs) -> float:
    """The mean of the gains [%]."""
    tasks = [column.benchmark.task for column in columns]
    gains = [delta_m({task: b}, {task: a}) for task, (a, b) in zip(tasks, values, strict=True)]
    return sum(gains) / len(gains)


def paper_delta_m(columns: Sequence[Paired], values: _Pairs) -> float:
    """Delta_m from (a, b) of each column."""
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    for column, (one, other) in zip(columns, values, strict=True):
        before.setdefault(column.benchmark.task, []).append(one)
        after.setdefault(column.benchmark.task, []).append(other)
    return delta_m({**after}, {**before})
