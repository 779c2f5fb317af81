"""The benchmarks of prediction: both schedules agree, gauges measure, scripts run and write their figures."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from stablemtl import TASKS, StableMTLPipeline

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL: dict[str, Any] = {"height": 12, "width": 20, "repeats": 1}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tiny_pipeline: StableMTLPipeline) -> Any:
    """Imports a script by name; the network it loads is tiny."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def get(name: str) -> ModuleType:
        module = importlib.import_module(name)
        if name not in ("measure", "published"):
            monkeypatch.setattr(module, "load", lambda size, device, dtype: tiny_pipeline)
        return module

    return get


@pytest.mark.parametrize(
    ("frames", "tasks", "theirs", "ours"),
    [
        (2, 7, (49, 63, 7), (14, 2, 7)),
        (1, 1, (7, 7, 1), (7, 1, 1)),
        (2, 2, (14, 18, 2), (9, 2, 2)),
    ],
)
def test_both_schedules_give_the_same_images(script, tiny_pipeline, frames, tasks, theirs, ours) -> None:
    published = script("published")
    images = script("measure").make_frames(tiny_pipeline, (12, 20), 2, frames)
    first, second = images[0], images[1] if frames == 2 else None
    names = list(TASKS)[:tasks]
    outputs = {}
    calls = {
        theirs: lambda: published.PublishedSchedule(tiny_pipeline)(first, second, names),
        ours: lambda: published.shared_schedule(tiny_pipeline, first, second, names),
    }
    for expected, call in calls.items():
        counts = published.count_passes(tiny_pipeline, None, call)
        assert counts == dict(zip(("unet_passes", "encodes", "decodes"), expected, strict=True)) | {
            "prompts": 0
        }
        outputs[expected] = call()
    assert list(outputs[theirs]) == list(outputs[ours]) == names
    for name in names:
        assert outputs[ours][name].shape == (2, 3, 12, 20)
        torch.testing.assert_close(outputs[ours][name], outputs[theirs][name], atol=1e-4, rtol=1e-4)


def test_prompts_are_encoded_for_every_stream(script, tiny_pipeline) -> None:
    published, measure = script("published"), script("measure")
    model = tiny_pipeline.model

    class Text:
        calls = 0

        def __call__(self, task: str) -> torch.Tensor:
            self.calls += 1
            row = model.tasks.index(task)
            return model.task_tokens[row : row + 1, : model.token_lengths[row]]

    (frame,) = measure.make_frames(tiny_pipeline, (12, 20), 1, 1)
    text = Text()
    plain = published.PublishedSchedule(tiny_pipeline)(frame, None, ["depth"])
    schedule = published.PublishedSchedule(tiny_pipeline, text)
    counts = published.count_passes(tiny_pipeline, text, lambda: schedule(frame, None, ["depth"]))
    assert counts["prompts"] == 7
    assert torch.equal(schedule(frame, None, ["depth"])["depth"], plain["depth"])


def test_operations_are_counted_by_kind(script) -> None:
    measure = script("measure")
    a, b = torch.empty(3, 5, device="meta"), torch.empty(5, 7, device="meta")
    x, kernel = torch.empty(1, 2, 4, 6, device="meta"), torch.empty(3, 2, 3, 3, device="meta")
    counts = measure.count_operations(lambda: (a @ b, torch.nn.functional.conv2d(x, kernel, padding=1)))
    assert counts["matmul"] == pytest.approx(2 * 3 * 5 * 7 / 1e9)
    assert counts["convolution"] == pytest.approx(2 * 3 * 2 * 9 * 4 * 6 / 1e9)


@pytest.mark.parametrize("sampled", [False, True])
def test_peak_memory(script, monkeypatch, sampled) -> None:
    measure = script("measure")
    if sampled:
        monkeypatch.setattr(measure, "_reset_high_water_mark", lambda: False)
    elif not measure._reset_high_water_mark():
        pytest.skip("no high-water mark to reset")
    with measure.peak_memory(torch.device("cpu")) as peak:
        for _ in range(4):
            torch.ones(16 << 20).mul_(2)  # 64 MiB, given back each time
    assert 60e6 < peak.added < 160e6
    with measure.peak_memory(torch.device("cpu")) as later:
        pass
    assert later.added < 30e6


def test_clock(script) -> None:
    measure = script("measure")
    calls: list[int] = []
    timing = measure.time_call(lambda: calls.append(1), 3, torch.device("cpu"), warmup=2)
    assert len(calls) == 5
    assert len(timing.runs) == 3
    assert min(timing.runs) <= timing.median <= max(timing.runs)
    assert str(measure.Timing([2.0, 1.0, 4.0])) == "2 (1 to 4)"


def read(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*.json")
    assert path.with_suffix(".png").stat().st_size > 1000
    content: dict[str, Any] = json.loads(path.read_text())
    assert content["environment"]["torch"] == torch.__version__
    assert content["options"]["size"] == "nano"
    return content


def test_schedules(script, tiny_pipeline, monkeypatch, tmp_path, capsys) -> None:
    schedules = script("schedules")
    monkeypatch.setattr(schedules, "load", lambda size, device, dtype: copy.deepcopy(tiny_pipeline))
    counts = iter([{"matmul": 4.0, "convolution": 2.0}, {"matmul": 1.0, "convolution": 1.0}])
    monkeypatch.setattr(schedules, "count_operations", lambda call: next(counts))
    schedules.main(schedules.ScheduleOptions(**SMALL, out=tmp_path, tasks=(1,), frames=(2,), reference=True))
    rows = read(tmp_path)["rows"]
    assert [(row["frames"], row["tasks"]) for row in rows] == [(2, 1)]
    assert rows[0]["published_passes"] == "7/9/1/0"
    assert rows[0]["ours_passes"] == "7/2/1/0"
    assert all(row["difference"] < 1e-4 for row in rows)
    assert all(0 < row[name] < 1e-4 for row in rows for name in schedules.REFERENCE)
    assert rows[0]["arithmetic"] == 3
    assert rows[0]["ratio"] == pytest.approx(rows[0]["published_s"] / rows[0]["ours_s"])
    assert "largest difference" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nano has no text encoder"):
        schedules.main(schedules.ScheduleOptions(text="count"))


@pytest.mark.slow
def test_scaling(script, tmp_path) -> None:
    scaling = script("scaling")
    options = scaling.ScalingOptions(**SMALL, out=tmp_path, tasks=(1,), scales=(1.0,), batches=(2,))
    scaling.main(options)
    rows = read(tmp_path)["rows"]
    assert [row["sweep"] for row in rows] == ["tasks", "pixels", "batch"]
    base = next(row for row in rows if row["sweep"] == "pixels")
    assert base["off_%"] == 0
    assert base["why"] == ""
    assert next(row for row in rows if row["batch"] == 2)["GFLOP"] == pytest.approx(
        2 * base["GFLOP"], rel=0.01
    )
    assert scaling.scaled((12, 20), 2) == (24, 40)
    assert scaling.scaled((12, 20), 0.5) == (8, 8)
    assert all(bool(row["why"]) == (abs(row["off_%"]) > 20) for row in rows if abs(row["off_%"]) != 20)


def test_limits(script, tmp_path) -> None:
    limits = script("limits")
    limits.main(limits.LimitOptions(**SMALL, out=tmp_path, types=("float32",), square=64))
    rows = read(tmp_path)["rows"]
    assert [row["part"] for row in rows] == ["encode", "networks", "decode", "all"]
    assert rows[3]["seconds"] == pytest.approx(sum(row["seconds"] for row in rows[:3]))
    for row in rows:
        bound = sum(row[f"{k}_GFLOP"] / row[f"{k}_ceiling_GFLOP/s"] for k in ("matmul", "convolution"))
        assert row["share"] == pytest.approx(bound / row["seconds"])


@pytest.mark.slow
def test_memory(script, tmp_path) -> None:
    memory = script("memory")
    options = memory.MemoryOptions(height=30, width=90, repeats=1, out=tmp_path, tile=56, batch_tasks=(7, 2))
    memory.main(options)
    rows = read(tmp_path)["rows"]
    assert [(row["batch_tasks"], row["codec_tile"]) for row in rows] == [(7, 0), (2, 0), (7, 56), (2, 56)]
    assert rows[0]["difference"] == 0
    assert all(row["difference"] < 1e-4 for row in rows)
