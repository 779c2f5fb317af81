"""The report: what is in the JSON and read back, what is in the table."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from stablemtl import __version__
from stablemtl.evaluation.protocols import PAPER, STANDARD, native_benchmark
from stablemtl.evaluation.reading import read_report
from stablemtl.evaluation.records import ImageRecord
from stablemtl.evaluation.report import Failure, Report
from stablemtl.evaluation.samples import Unreadable
from stablemtl.evaluation.scores import Case, Score
from stablemtl.evaluation.scoring import score

SCORE = Score(
    benchmark=native_benchmark("vkitti2", "depth"),
    n=3,
    model={"abs_rel": 0.1, "silog": math.nan},
    constant={"abs_rel": 0.4},
    constant_value=[1.0],
    ceiling={"abs_rel": 0.02},
    unaligned={"model": {"abs_rel": 0.3}, "ceiling": {"abs_rel": 0.03}},
    intervals={"abs_rel": (0.0812, 0.1234)},
    worst=(Case(index=2, key="c", value=0.2),),
)
CLASSES = replace(
    SCORE,
    benchmark=native_benchmark("vkitti2", "semantic"),
    model={"miou": 0.3},
    constant={"miou": 0.05},
    ceiling={"miou": 0.9},
    unaligned={},
    intervals={},
)


def report(*scores: Score, **entries: Any) -> Report:
    known = {"model": "nano", "single_stream": False, "split": "test", "limit": 60, "device": "cpu"}
    return Report(**{**known, "dtype": "float32", "seconds": 1.5, **entries}, scores=scores)


def printed(one: Report) -> str:
    console = Console(width=160, record=True, quiet=False, force_terminal=False)
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
    assert not report(SCORE, failures=(Failure(dataset="diode", error="no file"),)).complete


def test_json_holds_everything(tmp_path: Path) -> None:
    bad = replace(CLASSES, unreadable=(Unreadable(index=4, error="no file"),))
    path = report(SCORE, bad).save(tmp_path / "new" / "report.json")
    content = json.loads(path.read_text())
    assert set(content) == {one.name for one in fields(Report)}
    assert content["seconds"] == 1.5
    assert content["versions"]["stablemtl"] == __version__
    assert {"python", "torch", "diffusers", "numpy"} <= set(content["versions"])
    assert content["bootstrap"] == {"resamples": 1000, "seed": 0, "level": 0.95}
    depth, classes = content["scores"]
    assert (depth["dataset"], depth["task"], depth["headline"]) == ("vkitti2", "depth", "abs_rel")
    assert (depth["protocol"], depth["alignment"]) == ("native", "scale and shift")
    assert depth["model"] == {"abs_rel": 0.1, "silog": None}
    assert depth["improvement"] == pytest.approx(75.0)
    assert depth["improvement_unit"] == "%"
    assert depth["unaligned"]["ceiling"] == {"abs_rel": 0.03}
    assert depth["intervals"] == {"abs_rel": [0.0812, 0.1234]}
    assert depth["metric_options"]["max_depth_m"] == 80.0
    assert depth["worst"] == [{"index": 2, "key": "c", "value": 0.2}]
    assert classes["unreadable"] == [{"index": 4, "error": "no file"}]
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_read_back(toys: Any, oracle: Any, tmp_path: Path) -> None:
    """Everything but records, and those from the file beside."""
    scores = [
        score(toys(3), replace(benchmark, dataset="toys"), oracle(), resamples=3)
        for benchmark in (PAPER[0], PAPER[4], STANDARD[2], native_benchmark("toys", "scene_flow"))
    ]
    original = report(*scores, failures=(Failure(dataset="diode", error="no file"),), limit=None)
    path = original.save(tmp_path / "r.json")
    original.save_records(tmp_path / "r.parquet")
    found = read_report(path)
    assert json.dumps(found.to_dict()) == json.dumps(original.to_dict())
    assert [s.benchmark for s in found.scores] == [s.benchmark for s in scores]
    assert not any(s.records for s in found.scores)
    whole = read_report(path, records=True)
    for mine, other in zip(whole.scores, scores, strict=True):
        assert [r.key for r in mine.records] == [r.key for r in other.records]
        states = [[r.states["ceiling"] for r in one.records] for one in (mine, other)]
        assert np.array_equal(*states)


def test_reading_what_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with pytest.raises(FileNotFoundError, match=r"no file .* `stablemtl evaluate` wrote"):
        read_report(path)
    for text in ("[]", "{", '{"scores": [{}]}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a report of `stablemtl evaluate`"):
            read_report(path)
    report(replace(SCORE, n=1)).save(path)
    report(replace(SCORE, records=())).save_records(tmp_path / "r.parquet")
    with pytest.raises(ValueError, match="has 0 records of vkitti2 depth, the report 1 images"):
        read_report(path, records=True)


def test_records_are_not_in_the_json() -> None:
    record = ImageRecord(index=0, key="a", pixels=1, states={})
    assert "records" not in replace(SCORE, records=(record,)).to_dict()


def test_table_shows_the_headlines() -> None:
    lines = [line.split() for line in printed(report(SCORE, CLASSES)).splitlines()]
    rows = {line[3]: [cell for cell in line if cell != "│"] for line in lines if "vkitti2" in line}
    assert rows["depth"] == (
        [
            "vkitti2",
            "depth",
            "abs_rel",
            "lower",
            "3",
            "0.1",
            "0.0812",
            "..",
            "0.123",
            "0.4",
            "0.02",
            "+75.0",
            "%",
            "0.3",
        ]
    )
    assert rows["semantic"] == [
        "vkitti2",
        "semantic",
        "miou",
        "higher",
        "3",
        "0.3",
        "0.05",
        "0.9",
        "x",
        "6.00",
    ]


def test_table_shows_further_figures() -> None:
    benchmark = next(b for b in STANDARD if b.variant == "garg")
    lines = report(replace(SCORE, benchmark=benchmark)).markdown().splitlines()
    names = [line.split(" | ")[2] for line in lines[2:]]
    assert [name.split(" [")[0] for name in names] == ["abs_rel", *benchmark.also]
    assert {"rmse [m]", "sq_rel [m]", "i_rmse [1/m]", "delta1"} <= set(names)
    assert all(line.startswith("| kitti_depth garg | depth |") for line in lines[2:])


def test_table_without_figures_has_dashes() -> None:
    empty = replace(
        SCORE, n=0, model={"abs_rel": math.nan}, constant={}, ceiling={}, unaligned={}, intervals={}
    )
    assert printed(report(empty)).count(" - ") == 4


def test_table_cuts_the_loss_to_a_constant_that_is_right() -> None:
    plane = replace(SCORE, constant={"abs_rel": 1e-9})
    assert plane.improvement < -1e6
    assert "< -999 %" in printed(report(plane))


def test_markdown_has_the_same_rows() -> None:
    lines = report(SCORE, CLASSES).markdown().splitlines()
    assert lines[0].startswith("| dataset | task | figure |")
    assert lines[1] == "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert (
        lines[2]
        == "| vkitti2 | depth | abs_rel | lower | 3 | 0.1 | 0.0812 .. 0.123 | 0.4 | 0.02 | +75.0 % | 0.3 |"
    )
    assert lines[3] == "| vkitti2 | semantic | miou | higher | 3 | 0.3 |  | 0.05 | 0.9 | x 6.00 |  |"
