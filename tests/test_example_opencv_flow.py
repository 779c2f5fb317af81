"""``examples/opencv_flow.py``: its files are found and scored, and beat no motion at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stablemtl.evaluation.prediction_scores import evaluate_predictions
from stablemtl.synth.layouts.kitti_flow import write_kitti_flow

PATH = Path(__file__).resolve().parents[1] / "examples" / "opencv_flow.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("opencv_flow", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of 80 x 120 px, textures that move by (2, 1) px."""
    root = tmp_path_factory.mktemp("data")
    for number in range(2):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (23, 33, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        write_kitti_flow(
            root / "kitti_flow_2015",
            number,
            image=coarse[4:84, 6:126],
            image_next=coarse[3:83, 4:124],
            flow=np.full((80, 120, 2), (2.0, 1.0)),
            flow_valid=np.ones((80, 120), bool),
            disparity=np.full((80, 120), 5.0),
            disparity_next=np.full((80, 120), 5.0),
            focal_px=100.0,
            center_px=(60.0, 40.0),
        )
    return root


def test_files_for_every_pair(example: ModuleType, data: Path, tmp_path: Path) -> None:
    count = example.write_flows(tmp_path, data)
    assert count == 2 * (1 + 2)
    errors = {}
    for name in ("dis", "farneback"):
        report = evaluate_predictions(tmp_path / name, data, resamples=2)
        assert report.complete
        assert [(s.dataset, s.n) for s in report.scores] == [("kitti_flow", 2), ("motorcycle", 1)]
        assert report.model == name
        errors[name] = {s.dataset: s for s in report.scores}
        assert errors[name]["kitti_flow"].model["epe"] < 0.5
    # Of the pair, only DIS follows motion as large as this: no motion at all is 34.3 px off.
    assert errors["dis"]["motorcycle"].unaligned["model"]["epe"] < 4
    assert errors["farneback"]["motorcycle"].unaligned["model"]["epe"] < 34


def test_protocols_without_the_pair(example: ModuleType, data: Path, tmp_path: Path) -> None:
    assert example.write_flows(tmp_path, data, "paper", limit=1) == 2
    assert not list(tmp_path.rglob("motorcycle*"))
