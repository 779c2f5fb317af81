"""The report: what is in the JSON, what is in the table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from stablemtl import __version__
from stablemtl.evaluation.report import Report, Score, Unreadable

SCORE = Score(
    dataset="vkitti2",
    task="depth",
    headline="abs_rel",
    higher_is_better=False,
    metric_options={"max_depth_m": 80.0},
    n=3,
    model={"abs_rel": 0.1, "silog": math.nan},
    constant={"abs_rel": 0.4},
    constant_value=[1.0],
    ceiling={"abs_rel": 0.02},
    unaligned={"model": {"abs_rel": 0.3}, "ceiling": {"abs_rel": 0.03}},
)
CLASSES = replace(
    SCORE,
    task="semantic",
    headline="miou",
    higher_is_better=True,
    model={"miou": 0.3},
    constant={"miou": 0.05},
    ceiling={"miou": 0.9},
    unaligned={},
)


def report(*scores: Score) -> Report:
    return Report(
        model="nano",
        single_stream=False,
        split="test",
        limit=60,
        device="cpu",
        dtype="float32",
        scores=scores,
        seconds=1.5,
    )


def printed(one: Report) -> str:
    console = Console(width=120, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(one.table())
    return capture.get()


def test_improvement_in_per_cent_or_as_a_ratio() -> None:
    assert (SCORE.improvement, SCORE.improvement_unit) == (pytest.approx(75.0), "%")
    assert (CLASSES.improvement, CLASSES.improvement_unit) == (pytest.approx(6.0), "ratio")
    assert math.isnan(replace(SCORE, constant={"abs_rel": 0.0}).improvement)
    assert math.isnan(replace(SCORE, n=0, constant={}).improvement)


def test_complete() -> None:
    bad = replace(SCORE, unreadable=(Unreadable(index=4, error="no file"),))
    assert report(SCORE, CLASSES).complete
    assert not report(SCORE, bad).complete
    assert not report(replace(SCORE, n=0)).complete


def test_json_holds_everything(tmp_path: Path) -> None:
    bad = replace(CLASSES, unreadable=(Unreadable(index=4, error="no file"),))
    path = report(SCORE, bad).save(tmp_path / "new" / "report.json")
    content = json.loads(path.read_text())
    assert {"model", "single_stream", "split", "limit", "device", "dtype", "scores", "seeds"} <= set(content)
    assert content["seconds"] == 1.5
    assert content["versions"]["stablemtl"] == __version__
    assert {"python", "torch", "diffusers", "numpy"} <= set(content["versions"])
    depth, classes = content["scores"]
    assert depth["model"] == {"abs_rel": 0.1, "silog": None}
    assert depth["improvement"] == pytest.approx(75.0)
    assert depth["improvement_unit"] == "%"
    assert depth["unaligned"]["ceiling"] == {"abs_rel": 0.03}
    assert depth["metric_options"] == {"max_depth_m": 80.0}
    assert classes["unreadable"] == [{"index": 4, "error": "no file"}]
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_table_shows_the_headlines() -> None:
    lines = [line.split() for line in printed(report(SCORE, CLASSES)).splitlines()]
    rows = {line[3]: [cell for cell in line if cell != "│"] for line in lines if "vkitti2" in line}
    assert rows["depth"] == ["vkitti2", "depth", "abs_rel", "3", "0.1", "0.4", "0.02", "+75.0", "%", "0.3"]
    assert rows["semantic"] == ["vkitti2", "semantic", "miou", "3", "0.3", "0.05", "0.9", "x", "6.00"]


def test_table_without_figures_has_dashes() -> None:
    empty = replace(SCORE, n=0, model={"abs_rel": math.nan}, constant={}, ceiling={}, unaligned={})
    assert printed(report(empty)).count(" - ") == 4


def test_markdown_has_the_same_rows() -> None:
    lines = report(SCORE, CLASSES).markdown().splitlines()
    assert lines[0].startswith("| dataset | task | figure |")
    assert lines[1] == "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| vkitti2 | depth | abs_rel | 3 | 0.1 | 0.4 | 0.02 | +75.0 % | 0.3 |"
    assert lines[3] == "| vkitti2 | semantic | miou | 3 | 0.3 | 0.05 | 0.9 | x 6.00 |  |"
