"""The paper's tables: every printed Delta_m follows from the printed cells."""

from __future__ import annotations

import pytest

from stablemtl.evaluation.published import BASELINE, COLUMNS, ROWS, Row, delta_of
from stablemtl.tasks import TASKS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.table} {row.name}")
def test_delta_m_follows_from_the_cells(row: Row) -> None:
    """Within 0.03, the rounding of the cells; three-task rows have none printed."""
    assert len(row.cells) == len(COLUMNS)
    if row.delta_m is None:
        assert None in row.cells
        return
    found, columns = delta_of(row.cells, BASELINE.cells)
    assert columns == 8
    assert found == pytest.approx(row.delta_m, abs=0.03)


def test_the_baseline_as_table_2_prints_it_does_not_fit() -> None:
    """Its last two cells are swapped there."""
    *others, shading, albedo = BASELINE.cells
    assert (shading, albedo) == (0.2551, 0.2145)
    swapped = (*others, albedo, shading)
    wrong = [
        row
        for row in ROWS
        if row.delta_m is not None and delta_of(row.cells, swapped)[0] != pytest.approx(row.delta_m, abs=0.03)
    ]
    assert len(wrong) == len([row for row in ROWS if row.delta_m is not None])


def test_tables_are_complete() -> None:
    assert {t: sum(row.table == t for row in ROWS) for t in ("T2", "T3", "T4", "T5", "F5")} == {
        "T2": 7, "T3": 5, "T4": 4, "T5": 8, "F5": 1,
    }  # fmt: skip
    assert len({(row.table, row.name) for row in ROWS}) == len(ROWS)


def test_columns_are_headlines_of_the_seven_tasks() -> None:
    assert list(dict.fromkeys(column.task for column in COLUMNS)) == list(TASKS)
    for column in COLUMNS:
        assert column.headline == TASKS[column.task].spec.headline


def test_delta_over_some_columns() -> None:
    """Depth on one of its test sets counts as the whole task."""
    cells = (2 * 48.17, None, 14.21 / 2, None, None, None, None, None)
    assert delta_of(cells, BASELINE.cells) == (pytest.approx((100 + 50) / 2), 2)
    assert delta_of((None,) * 8, BASELINE.cells) == (None, 0)
