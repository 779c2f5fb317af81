from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker

from stablemtl.training.launch import make_accelerator
from stablemtl.training.logs import Log, Progress, flat, speed, trackers


class Recorder(GeneralTracker):
    """A tracker that keeps what it is told."""

    name = "recorder"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__(_blank=True)
        self.options: dict[str, Any] = {}
        self.logged: list[tuple[int | None, dict[str, Any]]] = []
        self.finished = 0

    @property
    def tracker(self) -> None:
        return None

    def start(self) -> None:
        pass

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.options = values

    def log(self, values: dict[str, Any], step: int | None, **options: Any) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_figures_go_to_trackers(toy: Any, tmp_path: Path) -> None:
    accelerator, recorder = make_accelerator(), Recorder()
    accelerator.log_with = [recorder]
    toy.train(
        tmp_path,
        accelerator=accelerator,
        steps=4,
        log_every=2,
        preview=lambda module, step: {"depth": 0.5},
        preview_every=4,
    )
    assert recorder.options["loop/learning_rate"] == 0.05
    assert recorder.options["loop/trackers"] == "[]"
    assert [step for step, _ in recorder.logged] == [2, 4, 4]
    figures = {"loss/depth", "loss/normal", "gradient_norm/depth", "gradient_norm/normal"}
    assert set(recorder.logged[0][1]) == figures | {"learning_rate", "steps_per_second"}
    assert recorder.logged[0][1]["loss/depth"] == toy.lines(tmp_path)[0]["loss"]["depth"]
    assert recorder.logged[2][1] == {"validation/depth": 0.5}
    assert recorder.finished == 1


def test_trackers_end_with_an_error() -> None:
    accelerator, recorder = make_accelerator(), Recorder()
    accelerator.log_with = [recorder]

    def fail() -> None:
        with trackers(accelerator, {"a": {"b": (1, 2)}, "c": True}):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert recorder.options == {"a/b": "(1, 2)", "c": True}
    assert recorder.finished == 1
    assert accelerator.trackers == []


def test_flat() -> None:
    assert dict(flat({"loss": {"depth": 1.0, "a": {"b": 2}}, "rate": 3})) == {
        "loss/depth": 1.0,
        "loss/a/b": 2,
        "rate": 3,
    }


def test_means_are_by_label(toy: Any, tmp_path: Path) -> None:
    log = Log(tmp_path / "train.jsonl", make_accelerator(), 0)
    log.add(0, "depth", 1.0, 10.0)
    log.skip(1, "normal")
    log.add(2, "depth", 2.0, 30.0)
    log.flush(0.5)
    log.add(3, "normal", 7.0, 1.0)
    log.flush(0.25)
    first, second = toy.lines(tmp_path)
    assert first.pop("steps_per_second") > 0
    assert first == {
        "step": 3,
        "loss": {"depth": 1.5},
        "gradient_norm": {"depth": 20.0},
        "learning_rate": 0.5,
        "skipped": {"normal": 1},
    }
    assert second["loss"] == {"normal": 7.0}
    assert "skipped" not in second


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(True, 3, 5)
    with progress as advance:
        advance("depth", 2.0)
        advance("normal", None)
        advance("depth", 1.0)
    (task,) = progress.bar.tasks
    assert task.completed == 6
    assert task.fields["text"] == "depth 1.900"  # 0.9 of the mean so far and 0.1 of the new value
    assert task.fields["speed"].endswith("steps/s")
    assert "depth 1.900" in capsys.readouterr().out


def test_speed() -> None:
    assert [speed(seconds) for seconds in (0.05, 0.9, 1.0, 12.34)] == [
        "20.0 steps/s",
        "1.1 steps/s",
        "1.0 s/step",
        "12.3 s/step",
    ]
