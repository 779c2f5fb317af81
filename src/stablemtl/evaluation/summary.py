"""An evaluation as a row of the paper's Table 2, beside the printed rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stablemtl.data.catalog import CATALOG
from stablemtl.evaluation.published import BASELINE, COLUMNS, ROWS, Cells, Column, delta_of
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One line of the table."""

    name: str
    cells: Cells
    """As printed: per cents where the column says so; None where there is none."""
    delta_m: float | None
    """Against the baseline [%]."""
    columns: int
    """How many columns it is over."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Our rows, then those of the paper if they can stand beside them."""

    baseline: str
    """What Delta_m is relative to."""
    rows: tuple[SummaryRow, ...]
    notes: tuple[str, ...]
    """What to keep in mind."""

    @property
    def head(self) -> tuple[tuple[str, str, str], ...]:
        """Task, figure with its unit, and dataset of each column, Delta_m left out."""
        return tuple((column.task, column.title, column.dataset) for column in COLUMNS)

    def cells(self) -> list[tuple[str, ...]]:
        """The rows as printed: name, a cell for each column, Delta_m [%]."""
        return [_texts(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = [
            {name: getattr(column, name) for name in ("dataset", "task", "headline", "title")}
            for column in COLUMNS
        ]
        rows = [{**asdict(row), "cells": list(row.cells)} for row in self.rows]
        return {"baseline": self.baseline, "columns": columns, "rows": rows, "notes": list(self.notes)}

    def table(self) -> Table:
        """For a console."""
        from rich.table import Table
        from rich.text import Text

        table = Table("", show_lines=False)
        for lines in self.head:
            table.add_column("\n".join(lines), justify="right")
        table.add_column("Delta_m %", justify="right")
        for cells in self.cells():
            table.add_row(*map(Text, cells))
        return table

    def markdown(self) -> str:
        """The same table and notes in Markdown."""
        head = ["", *(f"{task} {title}, {dataset}" for task, title, dataset in self.head), "Delta_m %"]
        lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(COLUMNS) + 1)])]
        lines += [" | ".join(cells) for cells in self.cells()]
        return "".join(f"| {line} |\n" for line in lines) + "".join(f"\n{note}\n" for note in self.notes)


def summarize(report: Report, baseline: Report | None = None) -> Summary | None:
    """The table of a report; None if nothing of the protocol ``paper`` was scored.

    Args:
        report: of an evaluation.
        baseline: what Delta_m is relative to; by default the paper's single-task models, whose row and
            companions are then put beside ours.
    Raises:
        ValueError: the baseline was scored on other frames.
    """
    scores = _paper_scores(report)
    if not any(scores):
        return None
    reference = BASELINE.cells
    if baseline is not None:
        others = _paper_scores(baseline)
        for mine, other in zip(scores, others, strict=True):
            if mine is not None and other is not None and mine.checksum != other.checksum:
                raise ValueError(
                    f"the baseline was scored on other frames of {mine.benchmark.name} "
                    f"({other.n}, here {mine.n}). Evaluate it again on the same data, with the same --limit."
                )
        reference = _cells(others, "model")
    name = report.model + (" single-stream" if report.single_stream else "")
    rows = [_row(name or "model", _cells(scores, "model"), reference)]
    rows += [_row(role, _cells(scores, role), reference) for role in ("constant", "ceiling")]
    if baseline is not None:
        rows.append(_row(baseline.model or "baseline", reference, reference))
    else:
        rows += [_row(f"{row.name} (paper)", row.cells, reference) for row in ROWS if row.table == "T2"]
    return Summary(
        baseline=BASELINE.name if baseline is None else baseline.model or "baseline",
        rows=tuple(rows),
        notes=tuple(_notes(scores, beside_paper=baseline is None)),
    )


def _paper_scores(report: Report) -> list[Score | None]:
    """The score of each column, None where it was not computed."""
    known = {(s.dataset, s.task): s for s in report.scores if s.benchmark.protocol == "paper" and s.n > 0}
    return [known.get((column.dataset, column.task)) for column in COLUMNS]


def _cells(scores: Sequence[Score | None], role: str) -> Cells:
    def cell(score: Score | None, column: Column) -> float | None:
        value = math.nan if score is None else getattr(score, role).get(column.headline, math.nan)
        return value * column.factor if math.isfinite(value) else None

    return tuple(cell(score, column) for score, column in zip(scores, COLUMNS, strict=True))


def _row(name: str, cells: Cells, reference: Cells) -> SummaryRow:
    delta, columns = delta_of(cells, reference)
    return SummaryRow(name=name, cells=cells, delta_m=delta, columns=columns)


def _notes(scores: Sequence[Score | None], *, beside_paper: bool) -> list[str]:
    """What keeps our row from being compared with the paper's."""
    notes = []
    if any(score is None for score in scores):
        notes.append("Delta_m is over the columns that a row has.")
    partial = {}
    for score in scores:
        if score is not None:
            (official,) = CATALOG[score.dataset].official.values()
            if score.n != official:
                partial[score.dataset] = f"{score.dataset} {score.n} of {official}"
    if partial and beside_paper:
        notes.append(
            f"Not the paper's test sets: frames {', '.join(partial.values())}. "
            "Its rows are for orientation; Delta_m against them means nothing here."
        )
    return notes


def _texts(row: SummaryRow) -> tuple[str, ...]:
    cells = ("-" if c is None else f"{c:.{k.digits}f}" for c, k in zip(row.cells, COLUMNS, strict=True))
    delta = "-" if row.delta_m is None else f"{row.delta_m:+.2f}"
    short = f" ({row.columns} of {len(COLUMNS)})" if 0 < row.columns < len(COLUMNS) else ""
    return (row.name, *cells, delta + short)
