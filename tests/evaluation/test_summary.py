"""An evaluation as a row of the paper's Table 2."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from stablemtl.data.catalog import CATALOG
from stablemtl.evaluation.protocols import PAPER, native_benchmark
from stablemtl.evaluation.published import BASELINE, COLUMNS, ROWS
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.summary import summarize

STABLEMTL = next(row for row in ROWS if (row.table, row.name) == ("T2", "StableMTL"))


def scores(cells: Any, *, official: bool = True) -> list[Score]:
    """What the paper's evaluation would have found."""
    found = []
    for benchmark, column, cell in zip(PAPER, COLUMNS, cells, strict=True):
        if cell is None:
            continue
        (count,) = CATALOG[benchmark.dataset].official.values()
        value = cell / column.factor
        found.append(
            Score(
                benchmark=benchmark,
                n=count if official else 4,
                model={benchmark.headline: value},
                constant={benchmark.headline: 2 * value},
                constant_value=[],
                ceiling={},
                checksum=f"{benchmark.name} {official}",
            )
        )
    return found


def report(found: list[Score], **entries: Any) -> Report:
    known = {"model": "mine", "single_stream": False, "split": "test", "limit": 0, "device": "cpu"}
    return Report(**{**known, "dtype": "float32", **entries}, scores=tuple(found))


def test_the_paper_s_figures_stand_beside_its_rows() -> None:
    summary = summarize(report(scores(STABLEMTL.cells)))
    assert summary is not None
    names = [row.name for row in summary.rows]
    assert names[:3] == ["mine", "constant", "ceiling"]
    assert names[3:] == [f"{row.name} (paper)" for row in ROWS if row.table == "T2"]
    mine, constant, ceiling, single = summary.rows[:4]
    assert mine.cells == pytest.approx(STABLEMTL.cells)
    assert mine.delta_m == pytest.approx(4.78, abs=0.03)
    assert constant.cells == pytest.approx([2 * cell for cell in STABLEMTL.cells if cell])
    assert (ceiling.cells, ceiling.delta_m) == ((None,) * 8, None)
    assert (single.cells, single.delta_m) == (BASELINE.cells, 0.0)
    assert summary.baseline == "single-task baseline"
    assert summary.notes == ()


def test_text_is_printed_as_in_the_paper() -> None:
    summary = summarize(report(scores(STABLEMTL.cells), single_stream=True))
    assert summary is not None
    lines = summary.markdown().splitlines()
    assert lines[0].startswith(
        "|  | semantic mIoU %, cityscapes | normal mAE deg, diode | depth AbsRel %, kitti"
    )
    assert "| shading RMSE, midintrinsics | albedo RMSE, midintrinsics | Delta_m % |" in lines[0]
    assert lines[2] == (
        "| mine single-stream | 55.79 | 23.27 | 14.98 | 33.03 | 10.76 | 0.2313 | 0.2346 | 0.2016 | +4.79 |"
    )
    assert any("| JTR (paper) |" in line and "(4 of 8)" in line for line in lines)
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(summary.table())
    assert "55.79" in capture.get()


def test_json() -> None:
    summary = summarize(report(scores(STABLEMTL.cells[:2] + (None,) * 6)))
    assert summary is not None
    content = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert content["baseline"] == "single-task baseline"
    assert content["columns"][7] == {
        "dataset": "midintrinsics", "task": "albedo", "headline": "rmse", "title": "RMSE",
    }  # fmt: skip
    mine = content["rows"][0]
    assert (mine["name"], mine["columns"]) == ("mine", 2)
    assert mine["cells"] == pytest.approx([55.79, 23.27, *[None] * 6])
    gains = [(55.79 - 48.17) / 48.17, (22.27 - 23.27) / 22.27]
    assert mine["delta_m"] == pytest.approx(50 * sum(gains))
    assert content["notes"] == ["Delta_m is over the columns that a row has."]


def test_other_frames_are_told() -> None:
    summary = summarize(report(scores(STABLEMTL.cells[:3] + (None,) * 5, official=False)))
    assert summary is not None
    assert summary.rows[0].columns == 3
    assert summary.notes[0] == "Delta_m is over the columns that a row has."
    assert "cityscapes 4 of 500, diode 4 of 771, kitti_depth 4 of 652" in summary.notes[1]
    assert "means nothing here" in summary.notes[1]


def test_a_baseline_of_ones_own() -> None:
    single = report(scores(BASELINE.cells, official=False), model="single-task")
    summary = summarize(report(scores(STABLEMTL.cells, official=False)), single)
    assert summary is not None
    assert [row.name for row in summary.rows] == ["mine", "constant", "ceiling", "single-task"]
    assert summary.rows[0].delta_m == pytest.approx(4.78, abs=0.03)
    assert summary.rows[3].delta_m == 0.0
    assert (summary.baseline, summary.notes) == ("single-task", ())


def test_a_baseline_on_other_frames_is_refused() -> None:
    single = report(scores(BASELINE.cells))
    mine = report(scores(STABLEMTL.cells, official=False))
    with pytest.raises(ValueError, match=r"other frames of cityscapes semantic \(500, here 4\)"):
        summarize(mine, single)


def test_other_protocols_have_no_such_table() -> None:
    native = replace(scores(STABLEMTL.cells)[3], benchmark=native_benchmark("diode", "depth"))
    assert summarize(report([native])) is None
    assert summarize(report([replace(scores(STABLEMTL.cells)[0], n=0)])) is None
