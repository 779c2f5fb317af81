"""The runner: rows known beforehand, samples left out, real folders, and the command."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stablemtl import TASKS, StableMTLPipeline, cli, evaluation
from stablemtl.evaluation.predictor import PipelinePredictor
from stablemtl.evaluation.protocols import PROTOCOLS, protocol_for
from stablemtl.evaluation.runner import evaluate, rendering_seeds, score, spread

ALIGNED = ("depth", "optical_flow", "scene_flow", "shading", "albedo")


def same(figures: Any) -> Any:
    return pytest.approx(dict(figures), nan_ok=True)


# rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_round_trip_of_the_ground_truth_scores_as_the_ceiling(toys: Any, oracle: Any, task: str) -> None:
    dataset = toys()
    found = score(dataset, task, oracle(dataset), batch_size=2)
    assert found.n == 5
    assert found.complete
    assert dict(found.model) == same(found.ceiling)
    assert found.improvement > (1.5 if found.higher_is_better else 20)
    for row in found.unaligned.values():
        assert dict(row) == same(found.unaligned["ceiling"])


@pytest.mark.parametrize("task", TASKS)
def test_constant_prediction_scores_as_the_constant_row(toys: Any, oracle: Any, task: str) -> None:
    dataset = toys()
    value = score(dataset, task, oracle(dataset)).constant_value
    assert len(value) == TASKS[task].spec.channels
    constant = torch.tensor(value)[:, None, None]
    found = score(dataset, task, oracle(dataset, lambda values: constant.to(values).expand_as(values)))
    assert dict(found.model) == same(found.constant)
    assert found.improvement == pytest.approx(1.0 if found.higher_is_better else 0.0)


@pytest.mark.parametrize("task", ALIGNED)
def test_aligned_figures_ignore_the_scale(toys: Any, oracle: Any, task: str) -> None:
    """And the shift of depth; figures in the task's own unit do not."""
    dataset = toys()
    shift = 1.0 if task == "depth" else 0.0
    found = score(dataset, task, oracle(dataset, lambda values: 0.25 * values + shift))
    assert dict(found.model) == pytest.approx(dict(found.ceiling), rel=1e-5, nan_ok=True)
    if found.unaligned:
        name = found.headline
        assert found.unaligned["model"][name] != pytest.approx(found.unaligned["ceiling"][name], rel=1e-3)


def test_own_unit_is_scored_where_the_scale_is_known(toys: Any, oracle: Any) -> None:
    """In the tiny pipeline: depth and optical flow. Normals and classes have no other figures."""
    dataset = toys(2)
    with_unit = [task for task in TASKS if score(dataset, task, oracle(dataset)).unaligned]
    assert with_unit == ["depth", "optical_flow"]


def test_improvement_over_the_constant(toys: Any, oracle: Any) -> None:
    dataset = toys()
    found = score(dataset, "normal", oracle(dataset))
    model, constant = found.model["mean_angular_error"], found.constant["mean_angular_error"]
    assert found.improvement == pytest.approx(100 * (constant - model) / constant)
    found = score(dataset, "semantic", oracle(dataset))
    assert found.improvement == pytest.approx(found.model["miou"] / found.constant["miou"])


def test_batch_size_does_not_change_figures(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    predictor = PipelinePredictor(tiny_pipeline)
    rows = [score(toys(), "optical_flow", predictor, batch_size=size).model for size in (1, 3)]
    assert dict(rows[0]) == pytest.approx(dict(rows[1]), rel=1e-4)


def test_pipeline_predicts_at_the_frame_s_own_size(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    sample = toys().load(0, "depth")
    prediction = PipelinePredictor(tiny_pipeline).predict("depth", [sample.image], [None])[0]
    expected = tiny_pipeline(sample.image, tasks="depth", processing_resolution=0)["depth"].values
    assert prediction.shape == (1, 18, 26)
    assert prediction[0].numpy() == pytest.approx(expected)


def test_single_stream_is_another_prediction(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    sample = toys().load(0, "normal")
    multi, single = (
        PipelinePredictor(tiny_pipeline, single_stream=flag).predict("normal", [sample.image], [None])[0]
        for flag in (False, True)
    )
    assert multi.shape == single.shape == (3, 18, 26)
    assert not torch.equal(multi, single)


# samples ----------------------------------------------------------------------------------------------------


def test_spread_takes_even_distances() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread([3, 5, 8], 2) == [3, 5]
    assert spread([3, 5, 8], 3) == spread([3, 5, 8], 9) == spread([3, 5, 8], 0) == [3, 5, 8]


def test_limit_reads_no_more(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    dataset = toys(9)
    seen = []
    predictor = PipelinePredictor(tiny_pipeline)
    found = score(dataset, "depth", predictor, limit=3, on_progress=lambda *state: seen.append(state))
    assert dataset.loaded == [0, 3, 6]
    assert found.n == 3
    assert seen == [("toys depth", 1, 3), ("toys depth", 2, 3), ("toys depth", 3, 3)]


@pytest.mark.parametrize("task", ["depth", "normal"])  # normal reads twice
def test_unreadable_samples_are_left_out_and_counted(
    toys: Any, oracle: Any, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    dataset = toys(4, broken={1})
    with caplog.at_level(logging.WARNING):
        found = score(dataset, task, oracle(dataset))
    assert found.n == 3
    assert not found.complete
    assert [(sample.index, sample.error) for sample in found.unreadable] == [(1, "toys: no file 1.png")]
    assert caplog.text.count("left out: toys") == 1


def test_samples_without_a_label_do_not_count(toys: Any, oracle: Any) -> None:
    dataset = toys(3, unlabelled={0})
    found = score(dataset, "normal", oracle(dataset))
    assert (found.n, found.unlabelled) == (2, 1)
    assert found.complete


def test_nothing_readable_gives_no_figures(toys: Any, oracle: Any) -> None:
    dataset = toys(2, broken={0, 1})
    found = score(dataset, "albedo", oracle(dataset))
    assert found.n == 0
    assert found.constant_value == []
    assert not found.complete
    assert found.improvement != found.improvement  # nan


def test_predictions_that_are_not_finite_are_an_error(toys: Any, oracle: Any) -> None:
    dataset = toys(2)
    left = torch.arange(26) < 13
    nan = oracle(dataset, lambda values: torch.where(left, torch.nan, values))
    with pytest.raises(
        ValueError, match=r"toys depth, frame toy-0: the model's prediction is not finite \(50 %"
    ):
        score(dataset, "depth", nan)


def test_damaged_codec_is_an_error(toys: Any, make_tiny_model: Any, make_tiny_vae: Any) -> None:
    vae = make_tiny_vae()
    torch.nn.init.constant_(next(vae.decoder.parameters()), torch.nan)
    pipe = StableMTLPipeline(model=make_tiny_model(), vae=vae)
    with pytest.raises(ValueError, match="toys albedo, frame toy-0"):
        score(toys(1), "albedo", PipelinePredictor(pipe))


# protocols --------------------------------------------------------------------------------------------------


def test_protocols_name_figures_of_the_tasks() -> None:
    assert len({(p.dataset, p.task) for p in PROTOCOLS}) == len(PROTOCOLS)
    for protocol in PROTOCOLS:
        metric = TASKS[protocol.task].metric(**protocol.metric_options)
        assert protocol.headline in metric.compute()
        assert protocol.headline == TASKS[protocol.task].spec.headline


def test_unknown_pairs_have_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = protocol_for("mine", "normal")
    assert (mine.dataset, mine.headline, mine.aligned) == ("mine", "mean_angular_error", False)
    monkeypatch.setattr("stablemtl.evaluation.protocols.PROTOCOLS", PROTOCOLS[:3])
    assert protocol_for("mine", "optical_flow").headline == "epe"
    assert protocol_for("hypersim", "depth").metric_options["max_depth_m"] == 80.0


# folders ----------------------------------------------------------------------------------------------------


def test_every_pair_of_a_folder(data_root: Path, tiny_pipeline: StableMTLPipeline) -> None:
    (data_root / "synth-val-rooms.json").write_text('{"seed": 7}')
    report = evaluation.evaluate(tiny_pipeline, data_root, split="val", limit=2, motorcycle=False)
    assert evaluation.evaluate is evaluate
    pairs = {(s.dataset, s.task): s for s in report.scores}
    assert set(pairs) == {(p.dataset, p.task) for p in PROTOCOLS if p.dataset != "motorcycle"}
    assert pairs["vkitti2", "depth"].n == 2
    assert pairs["vkitti2", "optical_flow"].n == 1
    assert report.complete
    assert report.seeds == {"synth-val-rooms": 7}
    assert report.seconds > 0
    # Constant in the image, so that a constant is perfect and a gain over it means nothing.
    chairs = pairs["flyingchairs", "optical_flow"]
    assert chairs.constant_value == [1.0, -1.0]
    assert chairs.constant["epe"] == pytest.approx(0.0, abs=1e-9)
    assert pairs["hypersim", "depth"].metric_options == {"min_depth_m": 1e-3, "max_depth_m": 80.0}


def test_some_tasks_only(data_root: Path, tiny_pipeline: StableMTLPipeline) -> None:
    report = evaluate(tiny_pipeline, data_root, split="val", tasks=["semantic"], limit=1)
    assert [(s.dataset, s.task) for s in report.scores] == [("vkitti2", "semantic")]


def test_model_of_some_tasks(data_root: Path, make_tiny_model: Any, make_tiny_vae: Any) -> None:
    pipe = StableMTLPipeline(model=make_tiny_model(("shading", "albedo")), vae=make_tiny_vae())
    report = evaluate(pipe, data_root, split="val", limit=1)
    assert [s.task for s in report.scores] == ["albedo", "shading"]
    with pytest.raises(ValueError, match="unknown task 'depth'; choose from albedo, shading"):
        evaluate(pipe, data_root, split="val", tasks=["depth"])


def test_wrong_arguments(data_root: Path, tmp_path: Path, tiny_pipeline: StableMTLPipeline) -> None:
    with pytest.raises(ValueError, match="limit must be 0"):
        evaluate(tiny_pipeline, data_root, limit=-1)
    with pytest.raises(ValueError, match="batch_size 1 or more, got 60 and 0"):
        evaluate(tiny_pipeline, data_root, batch_size=0)
    shutil.copytree(data_root / "FlyingChairs_release", tmp_path / "FlyingChairs_release")
    with pytest.raises(ValueError, match=r"has labels for albedo, normal; .* it has optical_flow"):
        evaluate(tiny_pipeline, tmp_path, tasks=["normal", "albedo", "optical_flow"])


def test_a_damaged_recipe_has_no_seed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "synth-a.json").write_text("{")
    (tmp_path / "synth-b.json").write_text('{"seed": 3}')
    assert rendering_seeds(tmp_path) == {"synth-b": 3}
    assert "synth-a.json" in caplog.text


# command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_command_prints_and_writes(run: Any, data_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.json"
    arguments = ("--data", data_root, "--model", tiny_folder, "--split", "val", "--no-motorcycle")
    options = ("--tasks", "albedo", "depth", "--single-stream", "--limit", 2, "--device", "cpu")
    status, stdout, stderr = run(*arguments, *options, "--out", out)
    assert (status, stderr) == (0, "")
    for word in ("hypersim", "vkitti2", "abs_rel", "rmse", "constant", "ceiling", "report.json"):
        assert word in stdout
    report = json.loads(out.read_text())
    assert report["model"] == str(tiny_folder)
    assert report["single_stream"] is True
    assert [s["task"] for s in report["scores"]] == ["albedo", "depth", "depth"]


def test_command_with_a_missing_file(run: Any, data_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root / "vkitti2", tmp_path / "vkitti2")
    next(tmp_path.glob("vkitti2/Scene01/clone/frames/depth/Camera_0/depth_00001.png")).unlink()
    out = tmp_path / "report.json"
    options = ("--model", tiny_folder, "--no-motorcycle", "--tasks", "depth", "semantic", "--out", out)
    status, stdout, stderr = run("--data", tmp_path, *options)
    assert status == 1
    assert "semantic" in stdout
    assert "left out: vkitti2 depth, sample 1: vkitti2 (test split): no file" in " ".join(stderr.split())
    assert "1 sample could not be read" in stderr
    counts = {s["task"]: (s["n"], len(s["unreadable"])) for s in json.loads(out.read_text())["scores"]}
    assert counts == {"semantic": (2, 0), "depth": (1, 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none"], "--data: there is no folder none."),
        (["--data", ".", "--out", "."], "--out . is a folder"),
        (["--data", ".", "--limit", "-1"], "--limit must be 0 or more, got -1."),
        (["--data", ".", "--device", "cpu", "--dtype", "float16"], "float16 needs a GPU"),
    ],
)
def test_command_refuses(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, stdout, stderr = run(*options)
    assert (status, stdout) == (2, "")
    assert message in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
