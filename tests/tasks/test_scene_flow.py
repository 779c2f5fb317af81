"""Scene flow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stablemtl.tasks import TASKS, build_task

RELATIVE = TASKS["scene_flow"]
METRES = build_task("scene_flow", encoding="calibrated", scale_m=2.0)


def as_flow(*vectors: tuple[float, float, float]) -> Tensor:
    return torch.tensor(vectors).T.reshape(1, 3, 1, len(vectors)).float()


def test_channels_are_x_y_z() -> None:
    flow = as_flow((1, -0.5, 0.25), (-0.5, 0.5, 1))
    every = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    assert RELATIVE.encode(flow, every)[0, :, 0, 0].tolist() == [1, -1, 0.25]
    assert METRES.encode(flow, every)[0, :, 0, 0].tolist() == [0.5, -0.25, 0.125]
    assert METRES.decode(METRES.encode(flow, every))[0, :, 0, 1].tolist() == [-0.5, 0.5, 1]


def test_spec_says_what_the_encoding_loses() -> None:
    assert (RELATIVE.spec.unit, RELATIVE.spec.value_range, RELATIVE.spec.scale_known) == (
        "relative",
        (-1, 1),
        False,
    )
    assert (METRES.spec.unit, METRES.spec.value_range, METRES.spec.scale_known) == ("m", (-2, 2), True)
    assert METRES.options == {"encoding": "calibrated", "scale_m": 2.0, "knee_m": 0.0}


def test_metric_by_hand() -> None:
    # lengths 10, 10, 10, 1, 1, 1; errors in the pattern of the thresholds
    target = as_flow((10, 0, 0), (10, 0, 0), (10, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0))
    error = as_flow((0, 0.04, 0), (0, 0, 0.08), (0, 0.4, 0), (0, 0.04, 0), (0, 0, 0.2), (0, 0.4, 0))
    metric = RELATIVE.metric(align=False)
    metric.update(target + error, target, torch.ones(1, 1, 1, 6, dtype=torch.bool))
    assert metric.compute() == pytest.approx(
        {
            "epe3d": (0.04 + 0.08 + 0.4 + 0.04 + 0.2 + 0.4) / 6,
            "acc_strict": 2 / 6,  # 0.04 of 10 and 0.04 of 1
            "acc_relax": 3 / 6,  # and 0.08 of 10; 0.2 of 1 is neither near nor within 10 %
            "outliers": 1 / 6,  # 0.4 of 1; 0.4 of 10 is within 10 %
        },
        rel=1e-5,
    )


def test_alignment_is_a_scale_per_image_and_channel() -> None:
    target = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([[0.1, 3.0, 1.0], [7.0, 0.02, 2.0]]).view(2, 3, 1, 1)
    metric = RELATIVE.metric()
    metric.update(target * factors, target, torch.ones(2, 1, 4, 5, dtype=torch.bool))
    assert metric.compute()["epe3d"] == pytest.approx(0, abs=1e-6)


def test_resize_keeps_metres() -> None:
    flow = torch.ones(1, 3, 4, 6)
    for task in (RELATIVE, METRES):
        assert task.resize(flow, (8, 3)).eq(1).all()
        assert task.resize_prediction(flow, (8, 3)).eq(1).all()


def test_colorize_by_hand() -> None:
    # still, right and nearer, right and farther
    picture = RELATIVE.colorize(as_flow((0, 0, 0), (1, 0, -1), (1, 0, 1)))[0, :, 0].T.tolist()
    assert picture[0] == [128, 128, 128]  # no lateral motion: grey, of middle brightness
    assert picture[1] == [255, 0, 0]  # to the right and towards the camera: bright red
    assert picture[2] == [0, 0, 0]  # away from the camera: dark


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"scale_m must be a finite number above 0, got -2\.0"):
        build_task("scene_flow", encoding="calibrated", scale_m=-2)
    with pytest.raises(ValueError, match="scale_m belongs to encoding='calibrated', got scale_m=2"):
        build_task("scene_flow", encoding="per_image", scale_m=2)
    with pytest.raises(
        ValueError, match="unknown option 'scale_px' of task 'scene_flow'; choose from encoding, scale_m"
    ):
        build_task("scene_flow", encoding="calibrated", scale_px=2)
