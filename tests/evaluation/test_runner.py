"""Every benchmark of a folder, and the folders that are not complete."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from stablemtl import StableMTLPipeline, evaluation
from stablemtl.data import open_datasets
from stablemtl.evaluation import runner
from stablemtl.evaluation.protocols import NATIVE, PAPER, STANDARD
from stablemtl.evaluation.runner import limit_of, open_benchmarks, rendering_seeds
from stablemtl.evaluation.samples import spread
from stablemtl.evaluation.summary import summarize

evaluate = partial(runner.evaluate, resamples=5)


def test_spread_takes_even_distances() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread([3, 5, 8], 2) == [3, 5]
    assert spread([3, 5, 8], 3) == spread([3, 5, 8], 9) == spread([3, 5, 8], 0) == [3, 5, 8]


def test_limit_of_each_protocol() -> None:
    assert [limit_of(protocol[0], None) for protocol in (PAPER, STANDARD, NATIVE)] == [0, 0, 60]
    assert [limit_of(protocol[0], 7) for protocol in (PAPER, NATIVE)] == [7, 7]
    assert limit_of(NATIVE[0], 0) == 0


# training sets ----------------------------------------------------------------------------------------------


def test_every_pair_of_a_folder(data_root: Path, tiny_pipeline: StableMTLPipeline) -> None:
    (data_root / "synth-val-rooms.json").write_text('{"seed": 7}')
    report = evaluate(tiny_pipeline, data_root, split="val", limit=2, motorcycle=False)
    assert evaluation.evaluate is runner.evaluate
    pairs = {(s.dataset, s.task): s for s in report.scores}
    assert set(pairs) == {(p.dataset, p.task) for p in NATIVE if p.dataset != "motorcycle"}
    assert pairs["vkitti2", "depth"].n == 2
    assert pairs["vkitti2", "optical_flow"].n == 1
    assert report.complete
    assert report.seeds == {"synth-val-rooms": 7}
    assert report.seconds > 0
    # Constant in the image, so that a constant is perfect and a gain over it means nothing.
    chairs = pairs["flyingchairs", "optical_flow"]
    assert chairs.constant_value == [1.0, -1.0]
    assert chairs.constant["epe"] == pytest.approx(0.0, abs=1e-9)
    assert summarize(report) is None


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
    with pytest.raises(ValueError, match="batch_size 1 or more, got None and 0"):
        evaluate(tiny_pipeline, data_root, batch_size=0)
    with pytest.raises(ValueError, match="unknown protocol 'published'; choose from paper"):
        evaluate(tiny_pipeline, data_root, protocol="published")
    with pytest.raises(ValueError, match="unknown split 'all'; choose from train, val, test"):
        evaluate(tiny_pipeline, data_root, split="all")
    shutil.copytree(data_root / "FlyingChairs_release", tmp_path / "FlyingChairs_release")
    with pytest.raises(ValueError, match=r"has labels for albedo, normal; .* it has optical_flow"):
        evaluate(tiny_pipeline, tmp_path, tasks=["normal", "albedo", "optical_flow"], motorcycle=False)


def test_a_damaged_recipe_has_no_seed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "synth-a.json").write_text("{")
    (tmp_path / "synth-b.json").write_text('{"seed": 3}')
    assert rendering_seeds(tmp_path) == {"synth-b": 3}
    assert "synth-a.json" in caplog.text


# evaluation sets --------------------------------------------------------------------------------------------


def test_auto_is_the_paper_s_for_its_test_sets(bench_root: Path) -> None:
    jobs, failures = open_benchmarks(bench_root)
    assert not failures
    assert {job.benchmark.name for job in jobs} == {benchmark.name for benchmark in PAPER}
    assert {job.benchmark.protocol for job in jobs} == {"paper"}


def test_the_eight_columns(bench_root: Path, tiny_pipeline: StableMTLPipeline) -> None:
    report = evaluate(tiny_pipeline, bench_root, protocol="paper")
    assert report.complete
    assert {s.benchmark.name for s in report.scores} == {b.name for b in PAPER}
    assert all(s.n == 2 and s.benchmark.protocol == "paper" for s in report.scores)
    summary = summarize(report)
    assert summary is not None
    for row in summary.rows[:3]:
        assert None not in row.cells
        assert row.delta_m is not None


def test_the_field_s_figures(bench_root: Path, tiny_pipeline: StableMTLPipeline) -> None:
    report = evaluate(tiny_pipeline, bench_root, protocol="standard")
    assert [s.benchmark.name for s in report.scores] == [
        b.name for name in ("cityscapes", "kitti_depth", "kitti_flow", "diode", "midintrinsics")
        for b in STANDARD if b.dataset == name
    ]  # fmt: skip
    flow = next(s for s in report.scores if s.task == "optical_flow")
    assert set(flow.unaligned) == {"model", "constant", "ceiling"}
    assert summarize(report) is None


def test_jobs_open_datasets_as_their_benchmarks_ask(bench_root: Path) -> None:
    jobs, failures = open_benchmarks(bench_root, protocol="standard", tasks=("depth", "optical_flow"))
    assert not failures
    opened = {job.benchmark.name: job.dataset for job in jobs}
    assert set(opened) == {
        "kitti_depth depth eigen",
        "kitti_depth depth garg",
        "kitti_flow optical_flow",
        "diode depth",
    }
    garg: Any = opened["kitti_depth depth garg"]
    assert (garg.crop, garg.mask) == (None, "garg")
    eigen: Any = opened["kitti_depth depth eigen"]
    assert (eigen.crop, eigen.mask) == ("benchmark", "eigen")


def test_paper_on_other_data_has_nothing_to_do(data_root: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no dataset of the protocol paper .* It has hypersim, vkitti2"
    ):
        open_benchmarks(data_root, protocol="paper")
    with pytest.raises(FileNotFoundError, match="no data folder"):
        open_benchmarks(data_root / "none")


def test_datasets_that_cannot_be_opened_are_listed(
    bench_root: Path, tmp_path: Path, tiny_pipeline: StableMTLPipeline
) -> None:
    """Classes without labels, an empty folder, a frame without its depth; the rest is scored."""
    root = tmp_path / "bench"
    shutil.copytree(bench_root, root)
    shutil.rmtree(root / "cityscapes" / "gtFine")
    shutil.rmtree(root / "kitti_flow_2015" / "training")
    next((root / "diode").rglob("*_depth.npy")).unlink()
    report = evaluate(tiny_pipeline, root, protocol="paper")
    assert [failure.dataset for failure in report.failures] == ["cityscapes", "kitti_flow"]
    assert "no folder gtFine/val" in report.failures[0].error
    assert {s.benchmark.name: s.n for s in report.scores} == {
        "kitti_depth depth": 2,
        "diode normal": 2,
        "diode depth": 1,
        "midintrinsics shading": 2,
        "midintrinsics albedo": 2,
    }
    assert not report.complete


def test_nothing_opens_but_something_is_there(tmp_path: Path) -> None:
    (tmp_path / "diode").mkdir()
    jobs, failures = open_benchmarks(tmp_path, protocol="paper")
    assert not jobs
    assert [failure.dataset for failure in failures] == ["diode"]


def test_a_training_set_without_the_split_is_left_out(data_root: Path, tmp_path: Path, caplog: Any) -> None:
    shutil.copytree(data_root / "FlyingChairs_release", tmp_path / "FlyingChairs_release")
    shutil.copytree(data_root / "hypersim", tmp_path / "hypersim")
    jobs, failures = open_benchmarks(tmp_path, split="test")
    assert {job.benchmark.dataset for job in jobs} == {"flyingchairs"}
    assert not failures
    assert "left out: hypersim" in caplog.text


def test_prepared_samples_have_lost_their_size(bench_root: Path, tmp_path: Path) -> None:
    from stablemtl.data.prepared.writing import prepare

    options: Any = {"datasets": ("diode",), "parts": ("test",), "size": (16, 24), "workers": 1}
    prepare(bench_root, tmp_path / "prepared", **options)
    assert set(open_datasets(tmp_path / "prepared", "test")) == {"diode"}
    jobs, failures = open_benchmarks(tmp_path / "prepared", protocol="paper")
    assert not jobs
    assert "prepared samples, which have lost their size" in failures[0].error
    jobs, failures = open_benchmarks(tmp_path / "prepared")
    assert {job.benchmark.protocol for job in jobs} == {"native"}


def test_one_bad_prediction_names_the_image(
    bench_root: Path, make_tiny_model: Any, make_tiny_vae: Any
) -> None:
    model = make_tiny_model(("depth",), multi_stream=False)
    torch.nn.init.constant_(next(model.parameters()), torch.nan)
    pipe = StableMTLPipeline(model=model, vae=make_tiny_vae())
    with pytest.raises(ValueError, match=r"kitti_depth depth, frame 2011_09_26/.*/0000000000: the model's"):
        evaluate(pipe, bench_root)
