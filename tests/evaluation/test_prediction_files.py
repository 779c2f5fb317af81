"""Predictions from files: the same figures as from the model that wrote them, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import StableMTLPipeline, cli
from stablemtl.data import Sample
from stablemtl.data.exr import write_exr
from stablemtl.data.formats import write_flo, write_npy
from stablemtl.evaluation import evaluate
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.prediction_files import FilePredictor, check_names
from stablemtl.evaluation.prediction_reading import read_values
from stablemtl.evaluation.prediction_scores import evaluate_predictions
from stablemtl.evaluation.protocols import STANDARD, native_benchmark
from stablemtl.tasks import TASKS
from stablemtl.writers import write_npz, write_png16

H, W = 9, 13


def sample(task: str, key: str = "scene/cam/0001") -> Sample:
    channels = TASKS[task].spec.channels
    dtype = torch.int64 if task == "semantic" else torch.float32
    return Sample(
        image=torch.zeros(3, H, W),
        target=torch.zeros(channels, H, W, dtype=dtype),
        valid=torch.ones(1, H, W, dtype=torch.bool),
        task=task,
        dataset="toys",
        key=key,
    )


def values(task: str) -> np.ndarray:
    """(H, W) or (H, W, C), different in each pixel and channel."""
    channels = TASKS[task].spec.channels
    numbers = 0.25 + np.arange(H * W * channels, dtype=np.float32).reshape(H, W, channels) / 8
    return numbers[:, :, 0] if channels == 1 else numbers


def read(folder: Path, task: str) -> np.ndarray:
    (found,) = FilePredictor(folder).predict([sample(task)], resolution=None)
    assert found.shape == (TASKS[task].spec.channels, H, W)
    return found.permute(1, 2, 0).numpy()


def write(folder: Path, task: str, suffix: str, maps: np.ndarray) -> None:
    path = folder / "toys" / task / f"scene__cam__0001{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == ".npy":
        write_npy(path, maps)
    elif suffix == ".npz":
        write_npz(path, {"values": maps, "valid": np.ones((H, W), bool)}, {"unit": "m"})
    elif suffix == ".flo":
        write_flo(path, maps)
    elif suffix == ".exr":
        write_exr(path, maps)
    else:
        write_png16(path, maps, np.ones((H, W), bool), {})


@pytest.mark.parametrize(
    ("task", "suffix"),
    [
        ("depth", ".npy"), ("depth", ".npz"), ("depth", ".exr"), ("depth", ".png"), ("optical_flow", ".flo"),
        ("optical_flow", ".npy"), ("optical_flow", ".png"), ("normal", ".exr"), ("albedo", ".png"),
        ("scene_flow", ".npz"),
    ],
)  # fmt: skip
def test_every_kind_of_file(tmp_path: Path, task: str, suffix: str) -> None:
    maps = values(task)
    write(tmp_path, task, suffix, maps)
    step = float(np.ptp(maps)) / 65000 if suffix == ".png" else 0
    assert read(tmp_path, task).reshape(maps.shape) == pytest.approx(maps, abs=step)


def test_folders_or_underscores(tmp_path: Path) -> None:
    path = tmp_path / "toys" / "depth" / "scene" / "cam" / "0001.npy"
    write_npy(path, values("depth"))
    assert (read(tmp_path, "depth")[:, :, 0] == values("depth")).all()
    np.savez(tmp_path / "toys" / "depth" / "scene__cam__0001.npz", values("depth"))
    with pytest.raises(ValueError, match=r"several predictions of one frame: scene/cam/0001.npy, scene__cam"):
        read(tmp_path, "depth")


def test_classes(tmp_path: Path) -> None:
    ids = np.arange(H * W).reshape(H, W).astype(np.uint8) % 8
    folder = tmp_path / "toys" / "semantic"
    folder.mkdir(parents=True)
    Image.fromarray(ids).save(folder / "scene__cam__0001.png")
    found = read(tmp_path, "semantic")
    assert found.dtype == np.int64
    assert (found[:, :, 0] == ids).all()
    (folder / "scene__cam__0001.png").unlink()
    write_npy(folder / "scene__cam__0001.npy", ids.astype(np.float32))
    assert (read(tmp_path, "semantic")[:, :, 0] == ids).all()
    write_npy(folder / "scene__cam__0001.npy", ids + 0.5)
    with pytest.raises(ValueError, match="must hold class ids, got fractions"):
        read(tmp_path, "semantic")


def test_class_ids_are_told_by_the_classes_of_the_task(tmp_path: Path) -> None:
    """A plain PNG has the ids themselves where a task has classes; elsewhere its numbers mean nothing."""
    ids = np.arange(H * W).reshape(H, W).astype(np.uint8) % 3
    path = tmp_path / "one.png"
    Image.fromarray(ids).save(path)
    spec = replace(TASKS["semantic"].spec, name="material", classes=("wood", "stone", "glass"))
    assert (read_values(path, spec, {}) == ids).all()
    with pytest.raises(ValueError, match="does not say what its numbers mean"):
        read_values(path, replace(spec, classes=()), {})


def test_png_with_a_scale(tmp_path: Path) -> None:
    stored = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 40
    folder = tmp_path / "toys" / "depth"
    folder.mkdir(parents=True)
    Image.fromarray(stored).save(folder / "scene__cam__0001.png")
    with pytest.raises(
        ValueError, match=r"does not say what its numbers mean. Write .\"png_scale\": .\"depth\""
    ):
        read(tmp_path, "depth")
    (tmp_path / "predictions.json").write_text('{"png_scale": {"depth": 0.00390625}}')
    assert read(tmp_path, "depth")[:, :, 0] == pytest.approx(stored / 256)


def test_facts(tmp_path: Path) -> None:
    plain = FilePredictor(tmp_path)
    assert plain.name == tmp_path.name
    assert {n for n, task in plain.tasks.items() if task.spec.scale_known} >= {"depth", "optical_flow"}
    (tmp_path / "predictions.json").write_text('{"name": "peer", "relative": ["depth"]}')
    told = FilePredictor(tmp_path)
    assert told.name == "peer"
    assert not told.tasks["depth"].spec.scale_known
    assert told.tasks["optical_flow"].spec.scale_known
    for text in ('{"nam": "x"}', '{"relative": ["deepth"]}', "[", '{"png_scale": {"depth": "a"}}'):
        (tmp_path / "predictions.json").write_text(text)
        with pytest.raises(ValueError, match=r"predictions\.json: "):
            FilePredictor(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder none"):
        FilePredictor("none")


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            np.zeros((H, W + 1), np.float32),
            r"has shape \(9, 14, 1\), but toys depth is scored at \(9, 13, 1\)",
        ),
        (np.zeros((W, H), np.float32), r"has shape \(13, 9, 1\)"),
        (np.zeros((H, W, 2), np.float32), r"has shape \(9, 13, 2\)"),
        (np.full((H, W), np.nan, np.float32), r"0001\.npy is not finite \(100 % of the values\)"),
        (np.zeros((H, W), complex), "must hold real numbers, got complex128"),
    ],
)
def test_refuses_what_cannot_be_scored(tmp_path: Path, maps: np.ndarray, message: str) -> None:
    write(tmp_path, "depth", ".npy", maps)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "depth")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".flo", ".png", ".exr"])
def test_refuses_damaged_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "toys" / "optical_flow" / f"scene__cam__0001{suffix}"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="0001"):
        read(tmp_path, "optical_flow")


def test_invalid_pixels_are_loud(tmp_path: Path) -> None:
    path = tmp_path / "toys" / "optical_flow" / "scene__cam__0001.flo"
    flow = values("optical_flow")
    flow[0, 0] = 1e10
    write_flo(path, flow)
    with pytest.raises(ValueError, match="not finite"):
        read(tmp_path, "optical_flow")
    path.unlink()
    valid = np.ones((H, W), bool)
    valid[2, 3] = False
    write_npz(path.with_suffix(".npz"), {"values": values("optical_flow"), "valid": valid}, {})
    with pytest.raises(ValueError, match="not finite"):
        read(tmp_path, "optical_flow")
    np.savez(path.with_suffix(".npz"), one=flow, two=flow)
    with pytest.raises(ValueError, match="must have one array, or one named 'values'"):
        read(tmp_path, "optical_flow")


def test_variants_have_folders_of_their_own(tmp_path: Path) -> None:
    eigen, garg = (b for b in STANDARD if b.dataset == "kitti_depth")
    (tmp_path / "kitti_depth" / "depth-garg").mkdir(parents=True)
    files = FilePredictor(tmp_path)
    assert (files.has(eigen), files.has(garg)) == (False, True)
    (tmp_path / "kitti_depth" / "depth").mkdir()
    assert files.has(eigen)
    assert files.of(garg).variant == "garg"


def test_names_of_folders(tmp_path: Path) -> None:
    benchmark = native_benchmark("toys", "depth")
    for name in ("toys/depth", "toys/normal", "other/depth", ".hidden/x"):
        (tmp_path / name).mkdir(parents=True)
    assert check_names(tmp_path, [benchmark]) == ["other"]
    (tmp_path / "toys" / "deepth").mkdir()
    with pytest.raises(ValueError, match=r"unknown task in .*toys: 'deepth'; choose from albedo, depth"):
        check_names(tmp_path, [benchmark])


# --- a whole evaluation


def test_the_same_figures_as_the_model(
    written: Path, bench_root: Path, tiny_pipeline: StableMTLPipeline
) -> None:
    model = evaluate(tiny_pipeline, bench_root, protocol="paper", motorcycle=False, resamples=5, batch_size=1)
    files = evaluate_predictions(written, bench_root, protocol="paper", resamples=5)
    assert files.complete
    assert files.model == "files"
    assert [s.benchmark for s in files.scores] == [s.benchmark for s in model.scores]
    for mine, other in zip(files.scores, model.scores, strict=True):
        assert mine.checksum == other.checksum
        assert mine.model == pytest.approx(other.model, rel=1e-6, nan_ok=True)
        assert mine.constant == pytest.approx(other.constant, rel=1e-6, nan_ok=True)
        assert mine.ceiling == {}


def test_missing_files_are_listed_and_the_rest_scored(written: Path, bench_root: Path) -> None:
    next((written / "diode" / "normal").rglob("*.npy")).unlink()
    for path in sorted((written / "cityscapes").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (written / "cityscapes").rmdir()
    (written / "harbour").mkdir()
    report = evaluate_predictions(written, bench_root, protocol="paper", resamples=2)
    counts = {s.benchmark.name: (s.n, len(s.unreadable)) for s in report.scores}
    assert counts.pop("diode normal") == (1, 1)
    assert len(counts) == 6
    assert set(counts.values()) == {(2, 0)}
    (left,) = next(s for s in report.scores if s.task == "normal").unreadable
    assert "no prediction" in left.error
    assert "diode/normal" in left.error
    assert not report.complete


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_change_nothing(written: Path, bench_root: Path, on_ranks: Any, count: int) -> None:
    """Two frames a benchmark: each on a rank of its own, and a rank with none; one frame has no file."""
    next((written / "diode" / "normal").rglob("*.npy")).unlink()

    def work(ranks: Any) -> Any:
        return evaluate_predictions(written, bench_root, protocol="paper", resamples=5, ranks=ranks)

    alone = work(None)
    assert len(alone.scores) == 8
    for found in on_ranks(count, work):
        assert found.processes == count
        for one, other in zip(found.scores, alone.scores, strict=True):
            assert (one.n, one.checksum, one.unreadable) == (other.n, other.checksum, other.unreadable)
            for role in ("model", "constant"):
                expected = dict(getattr(other, role))
                assert getattr(one, role) == pytest.approx(expected, rel=1e-9, nan_ok=True)
            for name, interval in one.intervals.items():
                assert interval == pytest.approx(other.intervals[name], rel=1e-9, nan_ok=True)
            assert [record.key for record in one.records] == [record.key for record in other.records]


def test_nothing_to_score(tmp_path: Path, bench_root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no predictions .* cityscapes/semantic, kitti_depth/depth"):
        evaluate_predictions(tmp_path, bench_root)
    with pytest.raises(ValueError, match="unknown task 'flow'"):
        evaluate_predictions(tmp_path, bench_root, tasks=["flow"])
    with pytest.raises(ValueError, match="limit must be 0"):
        evaluate_predictions(tmp_path, bench_root, limit=-1)


def test_the_command_and_the_motorcycle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The truth scores 0, without a fit too; an unmeasured pixel may hold any number."""
    truth = Motorcycle().load(0, "optical_flow").target
    write_flo(
        tmp_path / "peer" / "motorcycle" / "optical_flow" / "motorcycle.flo", truth.permute(1, 2, 0).numpy()
    )
    arguments: Callable[[str], list[Any]] = lambda folder: [  # noqa: E731
        "evaluate", "--predictions", str(tmp_path / folder), "--out", str(tmp_path / "r.json"),
    ]  # fmt: skip
    assert cli.main(arguments("peer")) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    (score,) = json.loads((tmp_path / "r.json").read_text())["scores"]
    assert score["model"]["epe"] == pytest.approx(0, abs=1e-6)
    assert score["unaligned"]["model"]["epe"] == 0
    assert score["unaligned"]["constant"]["epe"] > 10
    assert math.isclose(score["n"], 1)
    assert (tmp_path / "r.html").is_file()
    assert cli.main(arguments("none")) == 2
    assert "--predictions: there is no folder" in capsys.readouterr().err
    assert cli.main(["evaluate"]) == 2
    assert "--data is needed" in capsys.readouterr().err
