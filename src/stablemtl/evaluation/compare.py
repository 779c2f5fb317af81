"""Two evaluations of the same images: by how much they differ, and how sure that is.

Images are drawn again with replacement; both reports get the same draws, so that what makes an image hard for
both does not blur the difference (Efron, 1979). Benchmarks on the same list of frames share their draws too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import LEVEL, RESAMPLES, quantiles, resampled_sums
from stablemtl.evaluation.comparable import check_comparable, key_of
from stablemtl.evaluation.delta_m import delta_m
from stablemtl.evaluation.records import figures_of, stacked
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score
from stablemtl.tasks import TASKS

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of one benchmark in both reports."""

    protocol: str
    dataset: str
    task: str
    variant: str
    figure: str
    aligned: bool
    """Whether predictions were fitted, where the benchmark does; False is in the task's own unit."""
    n: int
    """Images."""
    a: float
    b: float
    difference: float
    """b - a, in the unit of the figure."""
    interval: Interval
    """Confidence interval of the difference; nan for fewer than two images."""
    headline: bool
    """Whether it is the benchmark's headline figure, and aligned."""
    gain: float
    """How much better b is than a, relative to a [%]; nan unless it is the headline."""

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where 0 lies outside the interval; else nothing. Headlines only."""
        low, high = self.interval
        if not self.headline or math.isnan(low) or low <= 0 <= high:
            return ""
        return "better" if (low > 0) == TASKS[self.task].spec.higher_is_better else "worse"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that two reports have in common."""

    a: str
    b: str
    """What was scored."""
    rows: tuple[Difference, ...]
    delta_m: float | None
    """Of b against a, over the headline figures of ``columns`` [%]; above 0 is better. None for no column."""
    delta_m_interval: Interval
    columns: int
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    """Benchmarks that the other report does not have."""
    notes: tuple[str, ...]
    resamples: int
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that are not finite become None."""
        content = asdict(self)
        content["rows"] = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        plain: dict[str, Any] = _plain(content)
        return plain


def compare(a: Report, b: Report, *, resamples: int = RESAMPLES, level: float = LEVEL) -> Comparison:
    """What changes from ``a`` to ``b``.

    Args:
        a, b: reports with their records (``read_report(path, records=True)``).
        resamples: draws for the confidence intervals.
        level: share of the draws that lie in an interval, in (0, 1).
    Raises:
        ValueError: they were not scored alike, or not on the same frames; says what differs.
    """
    pairs = check_comparable(a, b)
    rows: list[Difference] = []
    headlines = []
    for mine, other in pairs:
        for aligned in (True, False):
            drawn = _Drawn(mine, other, aligned=aligned, resamples=resamples)
            if drawn.count:
                rows += drawn.rows(level)
                if aligned:
                    headlines.append(drawn)
    known = [drawn for drawn in headlines if drawn.has_gain]
    notes = [
        f"Delta_m leaves out {drawn.benchmark.name}: no change relative to {drawn.whole[0]:g} has a meaning"
        for drawn in headlines
        if not drawn.has_gain
    ]
    delta, draws = None, [math.nan]
    if known:
        delta = _delta(known, [drawn.whole for drawn in known])
        if all(drawn.count > 1 for drawn in known):
            draws = [_delta(known, values) for values in zip(*(d.headline for d in known), strict=True)]
    keys = [{key_of(score): score.benchmark.name for score in report.scores} for report in (a, b)]
    return Comparison(
        a=_name(a, "a"),
        b=_name(b, "b"),
        rows=tuple(rows),
        delta_m=delta,
        delta_m_interval=quantiles(draws, level),
        columns=len(known),
        only_in_a=tuple(name for key, name in keys[0].items() if key not in keys[1]),
        only_in_b=tuple(name for key, name in keys[1].items() if key not in keys[0]),
        notes=tuple(notes),
        resamples=resamples,
        level=level,
    )


class _Drawn:
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
    def has_gain(self) -> bool:
        """Whether a change relative to a has a meaning, in all draws."""
        values = [self.whole, *self.headline]
        return all(math.isfinite(one) and math.isfinite(other) and one > 0 for one, other in values)

    def rows(self, level: float) -> Iterator[Difference]:
        """The headline, then the further figures of tables."""
        b = self.benchmark
        for name in (b.headline, *b.also):
            first, second = (figures[name] for figures in self.all)
            changes = [other[name] - one[name] for one, other in self.figures]
            headline = self.aligned and name == b.headline
            row = Difference(
                protocol=b.protocol,
                dataset=b.dataset,
                task=b.task,
                variant=b.variant,
                figure=name,
                aligned=self.aligned,
                n=self.count,
                a=first,
                b=second,
                difference=second - first,
                interval=quantiles(changes, level) if changes else (math.nan, math.nan),
                headline=headline,
                gain=math.nan,
            )
            if headline and math.isfinite(first) and math.isfinite(second) and first > 0:
                row = replace(row, gain=delta_m({b.task: second}, {b.task: first}))
            yield row


def _delta(columns: list[_Drawn], values: Any) -> float:
    """Delta_m from (a, b) of each column."""
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    for column, (one, other) in zip(columns, values, strict=True):
        before.setdefault(column.benchmark.task, []).append(one)
        after.setdefault(column.benchmark.task, []).append(other)
    return delta_m({**after}, {**before})


def _name(report: Report, fallback: str) -> str:
    return (report.model or fallback) + (" single-stream" if report.single_stream else "")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
