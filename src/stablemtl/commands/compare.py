"""What changes from one evaluation to another, with confidence intervals.

Reads two reports of `stablemtl evaluate` and the images' records (.parquet) beside them, and prints each
figure that both have: a, b, their difference with its interval by paired bootstrap over the images, and how
much better b is; then Delta_m of b against a where all eight columns of the paper are there, else the mean of
the gains. Reports that were not scored alike, or not on the same frames, are refused.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from stablemtl.evaluation.compare import Comparison, Difference


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Options of ``stablemtl compare``."""

    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A.json")]
    """Report that the other one is compared with."""
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B.json")]
    """Report that may be better or worse."""
    resamples: int = 1000
    """Draws for the confidence intervals."""
    json: bool = False
    """Print JSON instead of a table."""


def run(config: CompareConfig) -> int:
    """Compare and print."""
    if config.resamples < 1:
        raise ValueError(f"--resamples must be 1 or more, got {config.resamples}.")
    from stablemtl.evaluation.compare import compare
    from stablemtl.evaluation.reading import read_report

    reports = [read_report(path, records=True) for path in (config.a, config.b)]
    found = compare(*reports, resamples=config.resamples)
    if config.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    else:
        _print(found, config)
    return 0


def _print(found: Comparison, config: CompareConfig) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("dataset", "task", "figure")
    for column in ("n", "a", "b", "b - a", f"{found.level:.0%}", "gain", ""):
        table.add_column(column, justify="right")
    for row in found.rows:
        table.add_row(*map(Text, _cells(row)))
    console.print(table)
    console.print(Text(f"a: {found.a} ({config.a})"))
    console.print(Text(f"b: {found.b} ({config.b})"))
    if found.delta_m is not None:
        change = _change(found.delta_m, found.delta_m_interval, found.level)
        console.print(Text(f"Delta_m of b against a: {change} (the eight columns of the paper's Table 2)"))
    elif found.mean_gain is not None and found.figures > 1:
        change = _change(found.mean_gain, found.mean_gain_interval, found.level)
        console.print(Text(f"mean relative gain of b over a, {found.figures} figures: {change}"))
    for which, names in (("a", found.only_in_a), ("b", found.only_in_b)):
        if names:
            console.print(Text(f"only in {which}: {', '.join(names)}"))
    for note in found.notes:
        console.print(Text(note))


def _cells(row: Difference) -> tuple[str, ...]:
    low, high = row.interval
    return (
        f"{row.dataset} {row.variant}".strip(),
        row.task,
        row.figure + ("" if row.aligned else ", not aligned"),
        str(row.n),
        _number(row.a),
        _number(row.b),
        _number(row.difference, sign="+"),
        "" if math.isnan(low) else f"{low:+.3g} .. {high:+.3g}",
        "" if math.isnan(row.gain) else f"{row.gain:+.1f} %",
        row.verdict,
    )


def _change(value: float, interval: tuple[float, float], level: float) -> str:
    low, high = interval
    return f"{value:+.2f} %" + ("" if math.isnan(low) else f", {level:.0%} {low:+.2f} .. {high:+.2f}")


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.4g}"
