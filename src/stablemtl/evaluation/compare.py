"""Two evaluations of the same images: by how much they differ, and how sure that is.

Images are drawn again with replacement; both reports get the same draws, so that what makes an image hard for
both does not blur the difference (Efron, 1979). Benchmarks on the same list of frames share their draws too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from stablemtl.evaluation.bootstrap import LEVEL, RESAMPLES, quantiles
from stablemtl.evaluation.comparable import check_comparable, key_of
from stablemtl.evaluation.delta_m import delta_m
from stablemtl.evaluation.paired import (
    Interval,
    Paired,
    mean_gain,
    paper_columns,
    paper_delta_m,
    with_interval,
)
from stablemtl.evaluation.report import Report
from stablemtl.tasks import TASKS


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
    mean_gain: float | None
    """Mean of the gains of the headline figures [%]; above 0 is better. None for no figure with a gain."""
    mean_gain_interval: Interval
    figures: int
    """How many the mean is over."""
    delta_m: float | None
    """Delta_m of b against a [%]: over the eight columns of the paper's Table 2, and only where both reports
    have all of them by the protocol ``paper``."""
    delta_m_interval: Interval
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
            drawn = Paired(mine, other, aligned=aligned, resamples=resamples)
            if drawn.count:
                rows += _rows(drawn, level)
                if aligned:
                    headlines.append(drawn)
    known = [drawn for drawn in headlines if drawn.has_gain]
    notes = [
        f"the mean of the gains leaves out {drawn.benchmark.name}: no change relative to {drawn.whole[0]:g} "
        "has a meaning"
        for drawn in headlines
        if not drawn.has_gain
    ]
    mean, mean_interval = with_interval(mean_gain, known, level)
    delta, delta_interval = with_interval(paper_delta_m, paper_columns(known), level)
    keys = [{key_of(score): score.benchmark.name for score in report.scores} for report in (a, b)]
    return Comparison(
        a=_name(a, "a"),
        b=_name(b, "b"),
        rows=tuple(rows),
        mean_gain=mean,
        mean_gain_interval=mean_interval,
        figures=len(known),
        delta_m=delta,
        delta_m_interval=delta_interval,
        only_in_a=tuple(name for key, name in keys[0].items() if key not in keys[1]),
        only_in_b=tuple(name for key, name in keys[1].items() if key not in keys[0]),
        notes=tuple(notes),
        resamples=resamples,
        level=level,
    )


def _rows(drawn: Paired, level: float) -> Iterator[Difference]:
    """The headline, then the further figures of tables."""
    b = drawn.benchmark
    for name in (b.headline, *b.also):
        first, second = (figures[name] for figures in drawn.all)
        changes = [other[name] - one[name] for one, other in drawn.figures]
        headline = drawn.aligned and name == b.headline
        row = Difference(
            protocol=b.protocol,
            dataset=b.dataset,
            task=b.task,
            variant=b.variant,
            figure=name,
            aligned=drawn.aligned,
            n=drawn.count,
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
