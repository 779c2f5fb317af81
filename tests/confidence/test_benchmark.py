"""The figures of ``benchmarks/confidence.py``, by hand, and the script on the tiny model."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stablemtl import StableMTLPipeline
from stablemtl.data.formats import write_npy
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.tasks import TASKS

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("confidence")


def test_area_under_the_sparsification_error(script: ModuleType) -> None:
    """Errors 1 and 3: an oracle leaves 2, then 1, on average 1.5; no order 2; the reverse 2.5."""
    errors = np.array([1.0, 3.0])
    assert script.ause(np.array([5.0, 7.0]), errors) == 0
    assert script.ause(np.array([7.0, 5.0]), errors) == pytest.approx(2)
    rng = np.random.default_rng(1)
    many = rng.uniform(size=4000)
    assert script.ause(np.zeros(4000), np.sort(many)) == pytest.approx(1, abs=0.05)
    assert script.ause(rng.uniform(size=4000), many) == pytest.approx(1, abs=0.05)
    assert math.isnan(script.ause(errors, np.ones(2)))


def test_rank_correlation(script: ModuleType) -> None:
    assert script.rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 5.0, 6.0])) == pytest.approx(1)
    assert script.rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([6.0, 5.0, 4.0])) == pytest.approx(-1)
    assert math.isnan(script.rank_correlation(np.ones(3), np.array([1.0, 2.0, 3.0])))


def test_rows(script: ModuleType) -> None:
    ranking = script.Ranking()
    for shift in range(3):
        values = np.arange(20.0) + shift
        ranking.add(values, -values)
    row = ranking.row("made", "depth_flip", "depth")
    assert row["spearman"] == pytest.approx(-1)
    assert row["images"] == pytest.approx(-1)
    assert row["ause"] > 1
    assert row["count"] == 3
    metrics = TASKS["normal"].metric(), TASKS["normal"].metric()
    averaging = script.Averaging(metrics, errors=[(4.0, 3.0), (6.0, 6.0)])
    row = averaging.row(
        Benchmark(protocol="native", dataset="made", task="normal", headline="mean_angular_error"), "none"
    )
    assert row["error change %"] == pytest.approx(-10)
    assert row["images better %"] == 50


def test_the_script(
    script: ModuleType,
    tiny_pipeline: StableMTLPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two frames with depth and normals; rows for both tasks and for the maps that they allow."""
    from PIL import Image

    monkeypatch.setattr(script, "load", lambda size, device, dtype: tiny_pipeline)
    scan = tmp_path / "data" / "diode" / "val" / "indoors" / "scene_00001" / "scan_00001"
    scan.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(2):
        stem = f"00001_00001_indoors_000_00{number}"
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(scan / f"{stem}.png")
        write_npy(scan / f"{stem}_depth.npy", rng.uniform(1, 9, (16, 24, 1)).astype(np.float32))
        write_npy(scan / f"{stem}_depth_mask.npy", np.ones((16, 24), np.float32))
        normals = rng.normal(size=(16, 24, 3))
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        write_npy(scan / f"{stem}_normal.npy", normals.astype(np.float32))
    script.main(script.ConfidenceOptions(data=tmp_path / "data", limit=2, out=tmp_path / "out"))
    tables = {
        name: json.loads((tmp_path / "out" / f"confidence_{name}.json").read_text())["rows"]
        for name in ("averaging", "ranking")
    }
    assert [(row["task"], row["fit"]) for row in tables["averaging"]] == [
        ("depth", "scale and shift"),
        ("depth", "none"),
        ("normal", "none"),
    ]
    assert {(row["map"], row["error of"]) for row in tables["ranking"]} == {
        ("depth_flip", "depth"),
        ("size", "depth"),
        ("normal_depth", "depth"),
        ("normal_flip", "normal"),
        ("normal_depth", "normal"),
    }
    assert all(row["count"] == 2 for row in tables["ranking"])
    assert "with flips" in capsys.readouterr().out
