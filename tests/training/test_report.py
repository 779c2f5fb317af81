"""The log as records, the curves, and the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stablemtl import __version__
from stablemtl.training import report
from stablemtl.training.curves import smoothed, write_curves
from stablemtl.training.log_reader import Record, TrainingLog, read_log
from stablemtl.training.report import write_report

FIRST = {
    "step": 10,
    "loss": {"depth": 0.5, "normal": 2.0},
    "gradient_norm": {"depth": 1.0, "normal": 4.0},
    "learning_rate": 0.001,
    "steps_per_second": 2.0,
}
CHECK = {"step": 10, "validation": {"depth": 0.75, "normal": 1.5}}
SECOND = {
    "step": 30,
    "loss": {"depth": 0.25},
    "gradient_norm": {"depth": 3.0},
    "learning_rate": 0.002,
    "steps_per_second": 4.0,
    "skipped": {"normal": 3},
}
LAST = {"step": 30, "validation": {"depth": 0.875, "normal": 1.25}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "my-run", [FIRST, CHECK, SECOND, LAST])


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a report's time."""
    monkeypatch.setattr(report, "write_curves", lambda log, folder: {})


def write(folder: Path, lines: Iterable[Any], end: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "train.jsonl").write_text(text + end)
    return folder


def table(text: str, first: str) -> dict[str, list[str]]:
    """Rows of the Markdown table whose header starts with ``first``: first cell -> others."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = [line[2:-2].split(" | ") for line in lines[start + 2 :]]
    end = next((i for i, line in enumerate(lines[start + 2 :]) if not line.startswith("|")), len(rows))
    return {row[0]: row[1:] for row in rows[:end]}


# log --------------------------------------------------------------------------------------------------------


def test_records(folder: Path) -> None:
    log = read_log(folder)
    assert log.records[0] == Record(
        step=10,
        loss={"depth": 0.5, "normal": 2.0},
        gradient_norm={"depth": 1.0, "normal": 4.0},
        learning_rate=0.001,
        steps_per_second=2.0,
    )
    assert log.records[1] == Record(step=10, validation={"depth": 0.75, "normal": 1.5})
    assert len(log.records) == 4
    assert log.unreadable == 0
    assert log.steps == 30
    assert log.seconds == 10 / 2 + 20 / 4
    assert log.skipped == {"normal": 3}
    assert log.series("loss") == {"depth": [(10, 0.5), (30, 0.25)], "normal": [(10, 2.0)]}
    assert log.series("validation")["normal"] == [(10, 1.5), (30, 1.25)]
    assert log.values("learning_rate") == [(10, 0.001), (30, 0.002)]


def test_what_the_run_writes_can_be_read(tmp_path: Path) -> None:
    from accelerate import Accelerator

    from stablemtl.training.logs import Log

    log = Log(tmp_path / "train.jsonl", Accelerator(), 0)
    for step, norm in enumerate((1.0, 2.0, 6.0)):
        log.add(step, "depth", 0.5 * norm, norm)
    log.skip(3, "albedo")
    log.flush(0.125)
    log.write({"step": 4, "validation": {"depth": 0.25}})
    found = read_log(tmp_path)
    assert found.steps == 4
    assert found.series("loss") == {"depth": [(4, 1.5)]}
    assert found.series("gradient_norm") == {"depth": [(4, 3.0)]}
    assert found.series("validation") == {"depth": [(4, 0.25)]}
    assert found.values("learning_rate") == [(4, 0.125)]
    assert found.skipped == {"albedo": 1}


@pytest.mark.parametrize(
    "bad",
    ['{"step": 40, "lo', '{"loss": {"depth": 1.0}}', "[1, 2]", '{"step": 40, "loss": {"depth": "x"}}', "3"],
)
def test_lines_that_cannot_be_read_are_counted(tmp_path: Path, bad: str) -> None:
    log = read_log(write(tmp_path / "run", [FIRST, CHECK], end=f"{bad}\n\n{json.dumps(SECOND)}\n"))
    assert [record.step for record in log.records] == [10, 10, 30]
    assert log.unreadable == 1


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", [FIRST])
    with (folder / "train.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\x00\n")
    assert read_log(folder).unreadable == 1


def test_steps_done_again_replace_the_earlier_ones(tmp_path: Path) -> None:
    again = {**FIRST, "step": 20, "loss": {"depth": 9.0}}
    log = read_log(write(tmp_path / "run", [FIRST, CHECK, SECOND, LAST, again]))
    assert [record.step for record in log.records] == [10, 10, 20]
    assert log.series("loss")["depth"] == [(10, 0.5), (20, 9.0)]


def test_figures_in_groups_and_missing_ones(tmp_path: Path) -> None:
    line = {"step": 5, "validation": {"depth": {"abs_rel": 0.5, "rmse": None}}, "skipped": 2, "other": [1]}
    record = read_log(write(tmp_path / "run", [line])).records[0]
    assert record.validation["depth/abs_rel"] == 0.5
    assert math.isnan(record.validation["depth/rmse"])
    assert record.skipped == {"all": 2.0}


def test_no_log(tmp_path: Path) -> None:
    for call in (read_log, write_report):
        with pytest.raises(FileNotFoundError, match=r"no train\.jsonl in .*: name the folder of a run"):
            call(tmp_path)
    assert not list(tmp_path.iterdir())


# curves -----------------------------------------------------------------------------------------------------


def test_smoothed_by_hand() -> None:
    assert smoothed([1.0, 2.0, 6.0, 0.0], 3) == [1.5, 3.0, pytest.approx(8 / 3), 3.0]
    assert smoothed([1.0, 2.0, 6.0], 1) == [1.0, 2.0, 6.0]
    assert smoothed([], 3) == []


def test_pictures_of_what_there_is(folder: Path, tmp_path: Path) -> None:
    written = write_curves(read_log(folder), tmp_path / "out")
    names = [path.name for path in written.values()]
    assert names == [
        "loss.png",
        "gradient_norm.png",
        "validation.png",
        "learning_rate.png",
        "steps_per_second.png",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    for path in written.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 2 * picture.height > 600


def test_no_pictures_of_nothing(tmp_path: Path) -> None:
    assert write_curves(TrainingLog(records=(), unreadable=0), tmp_path / "out") == {}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("values", [[math.nan, math.nan], [0.0, -1.0], [math.inf, 1.0], [1.0] * 70])
def test_curves_of_odd_values(tmp_path: Path, values: list[float]) -> None:
    records = tuple(
        Record(step=i + 1, loss={"depth": value}, gradient_norm={"depth": value})
        for i, value in enumerate(values)
    )
    assert len(write_curves(TrainingLog(records=records, unreadable=0), tmp_path)) == 2


# report -----------------------------------------------------------------------------------------------------


def test_report(folder: Path) -> None:
    config = {"stage": 1, "loop": {"steps": 100, "seed": 7}, "out": folder, "size": (4, 6)}
    path = write_report(folder, config)
    assert path == folder / "report.md"
    text = path.read_text()
    assert text.startswith("# Training run my-run\n")
    facts = {name: cells[0] for name, cells in table(text, "").items()}
    assert facts["steps"] == "30 of 100"
    assert facts["time of the steps"] == "0 min 10 s, 3 steps / s"
    assert facts["skipped steps"] == "normal 3"
    assert facts["seed"] == "loop.seed 7"
    assert facts["with"].endswith(f"torch {torch.__version__}, stablemtl {__version__}")
    assert "cores" in facts["report written on"]
    assert "lines of the log that cannot be read" not in facts
    assert table(text, "task") == {
        "depth": ["0.5", "0.25", "0.25 (30)", "2", "0.75", "0.875", "0.75 (10)"],
        "normal": ["2", "2", "2 (10)", "4", "1.5", "1.25", "1.25 (30)"],
    }
    for name in ("loss", "gradient_norm", "validation", "learning_rate", "steps_per_second"):
        assert f"](report/{name}.png)" in text
        assert (folder / "report" / f"{name}.png").is_file()
    options = json.loads(text.split("```json\n")[1].split("```")[0])
    assert options == {**config, "out": str(folder), "size": [4, 6]}
    assert {file.name for file in folder.iterdir()} == {"train.jsonl", "report.md", "report"}


def test_a_later_report_replaces_the_earlier_one(folder: Path) -> None:
    write(folder, [SECOND])
    assert list(table(write_report(folder).read_text(), "task")) == ["depth"]
    write(folder, [FIRST])
    text = write_report(folder).read_text()
    assert list(table(text, "task")) == ["depth", "normal"]
    assert "validation.png" not in text


@pytest.mark.usefixtures("no_curves")
def test_options_from_the_latest_checkpoint(folder: Path) -> None:
    for step, seed in ((20, 1), (100, 2), (30, 3)):
        place = folder / "checkpoints" / f"step_{step:06d}"
        place.mkdir(parents=True)
        about = {"step": step, "code_version": "9.8", "config": {"loop": {"seed": seed, "steps": 500}}}
        (place / "run.json").write_text(json.dumps(about))
    text = write_report(folder).read_text()
    facts = {name: cells[0] for name, cells in table(text, "").items()}
    assert facts["seed"] == "loop.seed 2"
    assert facts["steps"] == "30 of 500"
    assert facts["trained with stablemtl"] == "9.8"
    (folder / "checkpoints" / "step_000100" / "run.json").write_text("{")
    assert "loop.seed 3" in write_report(folder).read_text()
    assert "loop.seed 5" in write_report(folder, {"loop": {"seed": 5}}).read_text()


@pytest.mark.usefixtures("no_curves")
def test_options_from_the_finished_pipeline(folder: Path) -> None:
    (folder / "pipeline").mkdir()
    content = {"code_version": "1.2", "run": {"loop": {"seed": 4}}}
    (folder / "pipeline" / "training.json").write_text(json.dumps(content))
    text = write_report(folder).read_text()
    assert "| trained with stablemtl | 1.2 |" in text
    assert "| seed | loop.seed 4 |" in text
    assert "| steps | 30 |" in text  # how many were planned is not known


@pytest.mark.usefixtures("no_curves")
def test_pictures_are_linked(folder: Path) -> None:
    for name in ("previews/step_000020.png", "previews/step_000010.png", "attention/step_000020.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    text = write_report(folder).read_text()
    assert "## Previews\n\n![step_000020](previews/step_000020.png)" in text
    assert "Others: [step_000010](previews/step_000010.png)\n" in text
    assert "## Attention\n\n![step_000020](attention/step_000020.png)\n" in text
    assert text.count("Others:") == 1


def test_empty_log(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", [], end='{"step": 1, "los')
    text = write_report(folder).read_text()
    assert "`train.jsonl` holds no step yet." in text
    assert "| steps | 0 |" in text
    assert "| lines of the log that cannot be read | 1 |" in text
    assert not (folder / "report").exists()


def test_one_task_and_a_figure_that_is_no_number(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": {"a|b": value}} for step, value in ((1, 4.0), (2, 3.0), (3, math.nan))]
    text = write_report(write(tmp_path / "run", lines)).read_text()
    assert "| a\\|b | 4 | not finite | 3 (2) | - | - | - | - |" in text
    assert text.count("![") == 1
    assert "time of the steps" not in text
