"""Our figures against those of the published metric functions on random maps.

``tests/fixtures/metrics_io.npz`` holds the maps, ``metrics_expected.json`` the figures of the published code,
alignment included (astra-vision/StableMTL at commit f44e254).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablemtl.tasks import TASKS
from stablemtl.tasks.semantic import CLASSES

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED: dict[str, dict[str, float]] = json.loads((FIXTURES / "metrics_expected.json").read_text())
OUR_NAMES = {
    "abs_relative_difference": "abs_rel",
    "squared_relative_difference": "sq_rel",
    "rmse_linear": "rmse",
    "delta1_acc": "delta1",
    "delta2_acc": "delta2",
    "delta3_acc": "delta3",
    "silog_rmse": "silog",
    "EPE2d": "epe",
    "Fl": "fl_all",
    "optical_flow_MAE": "angle",
    "EPE3d": "epe3d",
    "Acc": "accuracy",
    "mIoU": "miou",
} | {f"cls_{index:02d}": f"iou/{name}" for index, name in enumerate(CLASSES)}
METRIC_OPTIONS: dict[str, dict[str, Any]] = {"depth.diode": {"min_depth_m": 0.6, "max_depth_m": 350.0}}


@pytest.fixture(scope="module")
def maps() -> dict[str, torch.Tensor]:
    with np.load(FIXTURES / "metrics_io.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


@pytest.mark.parametrize("one_by_one", [False, True], ids=["batch", "single images"])
@pytest.mark.parametrize("case", EXPECTED)
def test_figures_equal_the_published_ones(case: str, one_by_one: bool, maps: dict[str, torch.Tensor]) -> None:
    task = case.split(".")[0]
    metric = TASKS[task].metric(**METRIC_OPTIONS.get(case, {}))
    arguments = (maps[f"{task}.pred"], maps[f"{task}.target"], maps["valid"])
    for chunk in zip(*(a.split(1) for a in arguments), strict=True) if one_by_one else [arguments]:
        metric.update(*chunk)
    ours = metric.compute()
    expected = {OUR_NAMES.get(name, name): value for name, value in EXPECTED[case].items()}
    assert {name: ours[name] for name in expected} == pytest.approx(expected, rel=1e-4)
