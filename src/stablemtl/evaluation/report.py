"""What an evaluation found: figures of each benchmark, as data, as JSON and as a table."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemtl.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from stablemtl.evaluation.figures import figure_facts, with_unit
from stablemtl.evaluation.records import write_records
from stablemtl.evaluation.scores import Score, as_dicts
from stablemtl.writers import staged_file

if TYPE_CHECKING:
    from rich.table import Table

_LIBRARIES = ("torch", "diffusers", "numpy", "scikit-image")
COLUMNS = (
    *("dataset", "task", "figure", "better", "n", "model", f"{LEVEL:.0%}"),
    *("constant", "ceiling", "gain", "not aligned"),
)
"""Of the table of a report."""
NUMBERS = 7
"""How many of the last columns hold numbers."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A dataset that could not be scored at all."""

    dataset: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """All benchmarks, and what is needed to get the same figures again."""

    model: str
    """Name, folder or hub id the model was loaded from."""
    single_stream: bool
    """Whether the auxiliary network alone was scored."""
    split: str
    limit: int | None
    """Samples of each benchmark at most; 0 for all, None for the default of each protocol."""
    device: str
    dtype: str
    scores: tuple[Score, ...]
    protocol: str = "auto"
    """Which protocol was asked for."""
    failures: tuple[Failure, ...] = ()
    """Datasets that are there but could not be opened."""
    seeds: Mapping[str, Any] = field(default_factory=dict)
    """Seeds of rendered data, by name of their recipe."""
    bootstrap: Mapping[str, float] = field(
        default_factory=lambda: {"resamples": RESAMPLES, "seed": SEED, "level": LEVEL}
    )
    """How confidence intervals were drawn: the only random numbers of an evaluation."""
    processes: int = 1
    """Processes that shared the work; it changes no figure."""
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    """Versions of Python, of this package and of the libraries it computes with."""
    seconds: float = 0.0
    """Wall time of everything [s]."""

    @property
    def complete(self) -> bool:
        """Whether everything asked for was scored."""
        return not self.failures and all(score.complete for score in self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that are not finite become None."""
        content = {one.name: as_dicts(getattr(self, one.name)) for one in fields(self)}
        content["scores"] = [score.to_dict() for score in self.scores]
        plain: dict[str, Any] = _plain(content)
        return plain

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write JSON, beside and renamed; folders are made.

        Returns:
            The path.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        with staged_file(path) as beside:
            beside.write_text(text, encoding="utf-8")
        return Path(path)

    def save_records(self, path: str | os.PathLike[str]) -> Path:
        """Write the images one by one as Parquet, see :mod:`stablemtl.evaluation.records`."""
        return write_records(path, [(score.benchmark, score.records) for score in self.scores])

    def table(self) -> Table:
        """The figures for a console, one line each."""
        from rich.table import Table
        from rich.text import Text

        table = Table(*COLUMNS[:-NUMBERS])
        for column in COLUMNS[-NUMBERS:]:
            table.add_column(column, justify="right")
        for cells in self.rows():
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def markdown(self) -> str:
        """The same table in Markdown, for a model card."""
        marks = ["---"] * (len(COLUMNS) - NUMBERS) + ["---:"] * NUMBERS
        lines = [" | ".join(COLUMNS), " | ".join(marks)]
        lines += [" | ".join(cells) for cells in self.rows()]
        return "".join(f"| {line} |\n" for line in lines)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of ``COLUMNS``: a line for each headline, then those of further figures."""
        for score in self.scores:
            for figure in (score.headline, *score.benchmark.also):
                yield _row(score, figure)


def _row(score: Score, figure: str) -> tuple[str, ...]:
    model, *bounds = (
        _number(row.get(figure, math.nan)) for row in (score.model, score.constant, score.ceiling)
    )
    low, high = (_number(value, 3) for value in score.intervals.get(figure, (math.nan, math.nan)))
    unaligned = score.unaligned.get("model", {}).get(figure)
    first = figure == score.headline
    return (
        f"{score.dataset} {score.benchmark.variant}".strip(),
        score.task,
        with_unit(score.task, figure),
        figure_facts(score.task, figure).better,
        str(score.n),
        model,
        "" if low == "-" else f"{low} .. {high}",
        *bounds,
        _gain(score) if first else "",
        "" if unaligned is None else _number(unaligned),
    )


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that figures depend on."""
    from stablemtl import __version__  # not from metadata: a checkout need not be installed

    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "stablemtl": __version__, **libraries}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _number(value: float, digits: int = 4) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}g}"


def _gain(score: Score) -> str:
    if math.isnan(score.improvement):
        return "-"
    if score.higher_is_better:
        return f"x {score.improvement:.2f}"
    # A constant that is right almost exactly, as for one plane, makes per cents of any length.
    return "< -999 %" if score.improvement < -999 else f"{score.improvement:+.1f} %"
