"""Whether two evaluations can be compared: scored alike, on the same frames with the same labels."""

from __future__ import annotations

import math
from dataclasses import fields

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.records import BenchmarkKey, stacked
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score

_SAME = 1e-5
"""Largest relative difference that arithmetic alone may make in the figure of the best constant."""


def key_of(score: Score) -> BenchmarkKey:
    """What a benchmark is called."""
    b = score.benchmark
    return b.protocol, b.dataset, b.task, b.variant


def check_comparable(a: Report, b: Report) -> list[tuple[Score, Score]]:
    """The benchmarks that both have, as pairs, in the order of ``a``.

    Raises:
        ValueError: they differ in more than what was scored; names everything that differs.
    """
    found = {key_of(score): score for score in b.scores}
    pairs = [(score, found[key_of(score)]) for score in a.scores if key_of(score) in found]
    wrong = [*_protocols(a, b), *_seeds(a, b)]
    for mine, other in pairs:
        wrong += _pair(mine, other)
    if not pairs and not wrong:
        names = ["; ".join(score.benchmark.name for score in r.scores) or "nothing" for r in (a, b)]
        wrong.append(f"no benchmark in common (a: {names[0]}; b: {names[1]})")
    if wrong:
        raise ValueError(
            f"the reports cannot be compared: {'; '.join(wrong)}. Evaluate both on the same data with the "
            "same --protocol, --split and --limit."
        )
    return [(mine, other) for mine, other in pairs if mine.n]


def _protocols(a: Report, b: Report) -> list[str]:
    """Columns that are in both, but scored by other protocols."""
    wrong = []
    sets: list[dict[tuple[str, str], set[str]]] = [{}, {}]
    for known, report in zip(sets, (a, b), strict=True):
        for score in report.scores:
            known.setdefault((score.dataset, score.task), set()).add(score.benchmark.protocol)
    for column in sets[0].keys() & sets[1].keys():
        first, second = (", ".join(sorted(known[column])) for known in sets)
        if first != second:
            wrong.append(f"{' '.join(column)} is by the protocol {first} in a and by {second} in b")
    return sorted(wrong)


def _seeds(a: Report, b: Report) -> list[str]:
    return [
        f"data rendered with other seeds ({name}: {a.seeds[name]} in a, {b.seeds[name]} in b)"
        for name in sorted(a.seeds.keys() & b.seeds.keys())
        if a.seeds[name] != b.seeds[name]
    ]


def _pair(a: Score, b: Score) -> list[str]:
    """What differs between two scores of one benchmark; the first reason is enough."""
    name = a.benchmark.name
    for entry in fields(Benchmark):
        first, second = (_plain(getattr(score.benchmark, entry.name)) for score in (a, b))
        if first != second:
            return [f"{name} has {entry.name} {first} in a and {second} in b"]
    if a.checksum != b.checksum:
        return [
            f"{name} is over other frames ({a.n} in a, {b.n} in b, "
            f"checksums {a.checksum[:8]} and {b.checksum[:8]})"
        ]
    for score, which in ((a, "a"), (b, "b")):
        if len(score.records) != score.n:
            return [f"{which} has no records of {name}; the .parquet file belongs beside the .json"]
    for mine, its in zip(a.records, b.records, strict=True):
        if mine.pixels != its.pixels:
            return [
                f"{name} has other labels (frame {mine.key}: {mine.pixels} pixels in a, {its.pixels} in b)"
            ]
    one, other = (score.constant.get(score.headline, math.nan) for score in (a, b))
    known = math.isfinite(one) and math.isfinite(other)
    if known and not math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-12):
        return [f"{name} has other labels (the best constant scores {one:g} in a, {other:g} in b)"]
    if stacked(a.records, "model").shape != stacked(b.records, "model").shape:
        return [f"the records of {name} were written by other versions of the metric"]
    return []


def _plain(value: object) -> object:
    """As JSON gives it back, where tuples and lists are one."""
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
