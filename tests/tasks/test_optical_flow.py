"""Optical flow, and the two flow encodings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stablemtl.tasks import TASKS, Task, build_task

RELATIVE = TASKS["optical_flow"]
PIXELS = build_task("optical_flow", encoding="calibrated", scale_px=16.0)
EVERY = torch.ones(1, 1, 1, 3, dtype=torch.bool)


def as_flow(*vectors: tuple[float, float]) -> Tensor:
    return torch.tensor(vectors).T.reshape(1, 2, 1, len(vectors)).float()


def test_per_image_encoding_by_hand() -> None:
    flow = as_flow((2, -8), (-4, 2), (1, 0))
    image = RELATIVE.encode(flow, EVERY)
    assert image[0, 0].flatten().tolist() == [0.5, -1, 0.25]
    assert image[0, 1].flatten().tolist() == [-1, 0.25, 0]
    assert torch.equal(image[:, 2], image[:, 0])  # (u, v, u)


def test_per_image_encoding_measures_valid_pixels_only() -> None:
    valid = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    image = RELATIVE.encode(as_flow((2, 1), (-4, 2), (900, -900)), valid)
    assert image[0, 0].flatten().tolist() == [0.5, -1, 1]  # outside the mask values are clipped
    assert image[0, 1].flatten().tolist() == [0.5, 1, -1]


def test_per_image_encoding_treats_each_image_by_itself() -> None:
    flow = torch.randn(1, 2, 4, 5)
    image = RELATIVE.encode(torch.cat([flow, 9 * flow]), torch.ones(2, 1, 4, 5, dtype=torch.bool))
    torch.testing.assert_close(image[0], image[1])


def test_a_channel_without_motion_stays_zero() -> None:
    image = RELATIVE.encode(as_flow((2, 0), (-4, 0), (1, 0)), EVERY)
    assert image[0, 1].eq(0).all()
    assert (
        RELATIVE.encode(as_flow((0, 0), (0, 0), (5, 5)), torch.tensor([[[[True, True, False]]]])).eq(0).all()
    )


def test_calibrated_encoding_by_hand() -> None:
    flow = as_flow((8, -4), (16, -16), (40, math.nan))
    image = PIXELS.encode(flow, EVERY)
    assert image[0, 0].flatten().tolist() == [0.5, 1, 1]
    assert image[0, 1].flatten().tolist() == [-0.25, -1, 0]
    decoded = PIXELS.decode(image)
    assert decoded[0, 0].flatten().tolist() == [8, 16, 16]
    assert decoded[0, 1].flatten().tolist() == [-4, -16, 0]


def test_decode_ignores_the_third_channel_and_clips() -> None:
    image = torch.tensor([0.5, -3.0, 0.9]).view(1, 3, 1, 1)
    assert RELATIVE.decode(image).flatten().tolist() == [0.5, -1]
    assert PIXELS.decode(image).flatten().tolist() == [8, -16]


def test_spec_says_what_the_encoding_loses() -> None:
    assert (RELATIVE.spec.unit, RELATIVE.spec.value_range, RELATIVE.spec.scale_known) == (
        "relative",
        (-1, 1),
        False,
    )
    assert (PIXELS.spec.unit, PIXELS.spec.value_range, PIXELS.spec.scale_known) == ("px", (-16, 16), True)
    assert RELATIVE.spec.shift_known
    assert RELATIVE.options == {"encoding": "per_image"}
    assert PIXELS.options == {"encoding": "calibrated", "scale_px": 16.0, "knee_px": 0.0}
    assert build_task("optical_flow", encoding="calibrated").spec.unit == "px"


def test_metric_by_hand() -> None:
    target = as_flow((3, 4), (0, 0), (100, 0))
    pred = as_flow((3, 0), (0, 6), (0, 104))
    metric = RELATIVE.metric(align=False)
    metric.update(pred, target, EVERY)
    result = metric.compute()
    assert result["epe"] == pytest.approx((4 + 6 + math.hypot(100, 104)) / 3)
    assert result["fl_all"] == 1
    assert result["angle"] == pytest.approx(
        (math.degrees(math.acos(0.6)) + 90) / 2
    )  # the still pixel has no direction


def test_fl_all_needs_both_thresholds() -> None:
    target = as_flow((100, 0), (10, 0), (10, 0))
    pred = as_flow((104, 0), (12.9, 0), (13.1, 0))  # 4 px but 4 %; 29 % but 2.9 px; both
    metric = RELATIVE.metric(align=False)
    metric.update(pred, target, EVERY)
    assert metric.compute()["fl_all"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("task", [RELATIVE, PIXELS], ids=["relative", "pixels"])
def test_alignment_is_a_non_negative_scale_per_image_and_channel(task: Task) -> None:
    target = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0)) * 10
    valid = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    factors = torch.tensor([[0.1, 3.0], [7.0, 0.02]]).view(2, 2, 1, 1)
    metric = task.metric()
    metric.update(target * factors, target, valid)
    assert metric.compute()["epe"] == pytest.approx(0, abs=1e-5)
    metric.reset()
    metric.update(-target, target, valid)  # the wrong sign is not turned round: 0 remains
    assert metric.compute()["epe"] == pytest.approx(target.norm(dim=1).mean().item(), rel=1e-5)
    metric.reset()
    metric.update(target + 5, target, valid)  # and no shift is fitted
    assert metric.compute()["epe"] > 1


def test_metric_averages_over_pixels_not_images() -> None:
    target = torch.zeros(2, 2, 1, 3)
    pred = torch.zeros(2, 2, 1, 3)
    pred[1, 0, 0, 0] = 4
    valid = torch.tensor([[True, True, True], [True, False, False]]).view(2, 1, 1, 3)
    metric = RELATIVE.metric(align=False)
    metric.update(pred, target, valid)
    assert metric.compute()["epe"] == 1  # 4 px over 4 pixels


def test_resize_scales_pixels_but_not_relative_values() -> None:
    flow = torch.ones(1, 2, 4, 6)
    assert RELATIVE.resize(flow, (8, 3))[0, :, 0, 0].tolist() == [0.5, 2]
    assert PIXELS.resize_prediction(flow, (8, 3))[0, :, 0, 0].tolist() == [0.5, 2]
    assert RELATIVE.resize_prediction(flow, (8, 3))[0, :, 0, 0].tolist() == [1, 1]


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown flow encoding 'log'; choose from calibrated, per_image"):
        build_task("optical_flow", encoding="log")
    with pytest.raises(ValueError, match=r"scale_px must be a finite number above 0, got 0\.0"):
        build_task("optical_flow", encoding="calibrated", scale_px=0)
    with pytest.raises(ValueError, match="scale_px belongs to encoding='calibrated', got scale_px=16"):
        build_task("optical_flow", scale_px=16)


def test_colorize_right_is_red_and_still_is_white() -> None:
    picture = RELATIVE.colorize(as_flow((5, 0), (0, 0), (2.5, 0)))
    assert picture[0, :, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [255, 128, 128]]


def test_knee_spreads_small_motion():
    task = build_task("optical_flow", encoding="calibrated", scale_px=15.0, knee_px=1.0)
    flow = torch.tensor([1.0, -3.0, 15.0, 40.0]).view(1, 1, 1, 4).repeat(1, 2, 1, 1)
    encoded = task.encode(flow, torch.ones(1, 1, 1, 4, dtype=torch.bool))
    # ln(1 + m) / ln(16): 1 px is a quarter of the range, 3 px a half, 15 px all of it
    assert encoded[0, 0, 0].tolist() == pytest.approx([0.25, -0.5, 1.0, 1.0], abs=1e-6)
    assert task.decode(encoded)[0, 1, 0].tolist() == pytest.approx([1.0, -3.0, 15.0, 15.0], abs=1e-4)


def test_knee_must_not_be_negative():
    with pytest.raises(ValueError, match="knee_px must be a finite number, at least 0, got -1"):
        build_task("optical_flow", encoding="calibrated", knee_px=-1)
    with pytest.raises(ValueError, match="knee_px belongs to encoding='calibrated'"):
        build_task("optical_flow", knee_px=1.0)
