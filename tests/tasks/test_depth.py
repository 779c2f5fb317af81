"""Depth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stablemtl.tasks import TASKS, Task, build_task

LINEAR = TASKS["depth"]
LOG = build_task("depth", encoding="log", near_m=0.5, far_m=80.0)
EVERY = torch.ones(1, 1, 2, 3, dtype=torch.bool)


def as_map(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 2, 3)


def test_linear_encoding_uses_the_quantiles_of_valid_depths() -> None:
    depth = torch.rand(1, 1, 30, 41, generator=torch.Generator().manual_seed(0)) * 20 + 1
    valid = torch.rand(1, 1, 30, 41, generator=torch.Generator().manual_seed(1)) > 0.3
    depth[0, 0, 0, :5], valid[0, 0, 0, :5] = 0.0, True  # a depth of 0 does not count, even if called valid
    counted = depth[valid & (depth > 0)].numpy()
    low, high = np.quantile(counted, [0.02, 0.98])
    expected = ((depth - low) / (high - low) * 2 - 1).clamp(-1, 1).float()
    image = LINEAR.encode(depth, valid)
    torch.testing.assert_close(image, expected.expand(1, 3, 30, 41), rtol=1e-5, atol=1e-5)


def test_linear_encoding_treats_each_image_by_itself() -> None:
    depth = torch.rand(1, 1, 8, 9) + 1
    valid = torch.ones(2, 1, 8, 9, dtype=torch.bool)
    image = LINEAR.encode(torch.cat([depth, 7 * depth + 3]), valid)
    torch.testing.assert_close(image[0], image[1], rtol=1e-4, atol=1e-4)


def test_linear_encoding_puts_invalid_depths_where_the_formula_does() -> None:
    image = LINEAR.encode(as_map(0, 1, 2, 3, 655.35, math.inf), as_map(0, 1, 1, 1, 0, 0) > 0)
    assert image[0, 0].flatten()[[0, 4, 5]].tolist() == [-1, 1, 1]


@pytest.mark.parametrize("values", [(5, 5, 5, 5, 5, 5), (0, 0, 0, 0, 0, 0), (math.nan,) * 6, (math.inf,) * 6])
@pytest.mark.parametrize("valid", [EVERY, ~EVERY], ids=["valid", "nothing valid"])
def test_linear_encoding_of_nothing_to_spread_is_mid_grey(values: tuple[float, ...], valid: Tensor) -> None:
    assert LINEAR.encode(as_map(*values), valid).eq(0).all()


def test_linear_decoding_is_the_mean_of_the_channels_then_clipped() -> None:
    image = torch.tensor([[3.0, -1.0], [0.0, -1.0], [0.0, -4.0]]).view(1, 3, 1, 2)
    assert LINEAR.decode(image).flatten().tolist() == [1.0, 0.0]  # means 1 and -2
    assert LINEAR.decode(torch.full((1, 3, 1, 2), 0.5)).flatten().tolist() == [0.75, 0.75]


def test_log_encoding_by_hand() -> None:
    depth = as_map(0.5, 80, 0.1, 500, math.sqrt(0.5 * 80), math.nan)
    image = LOG.encode(depth, EVERY)
    assert image[0, 0].flatten().tolist() == pytest.approx([-1, 1, -1, 1, 0, -1], abs=1e-6)
    decoded = LOG.decode(image).flatten().tolist()
    assert decoded == pytest.approx([0.5, 80, 0.5, 80, math.sqrt(40), 0.5], rel=1e-5)


def test_spec_says_what_the_encoding_loses() -> None:
    assert (LINEAR.spec.unit, LINEAR.spec.value_range) == ("relative", (0, 1))
    assert not LINEAR.spec.scale_known
    assert not LINEAR.spec.shift_known
    assert (LOG.spec.unit, LOG.spec.value_range) == ("m", (0.5, 80))
    assert LOG.spec.scale_known
    assert LOG.spec.shift_known
    assert LINEAR.options == {"encoding": "linear"}
    assert LOG.options == {"encoding": "log", "near_m": 0.5, "far_m": 80.0}


def test_metric_by_hand() -> None:
    target, pred = as_map(1, 2, 4, 5, 8, 10), as_map(2, 2, 4, 5, 8, 5)
    metric = LINEAR.metric(align=False)
    metric.update(pred, target, EVERY)
    logs = [math.log(2), 0, 0, 0, 0, math.log(0.5)]
    log_rms = math.sqrt(sum(x * x for x in logs) / 6)
    assert metric.compute() == pytest.approx(
        {
            "abs_rel": (1 + 0.5) / 6,
            "sq_rel": (1 + 2.5) / 6,
            "rmse": math.sqrt((1 + 25) / 6),
            "rmse_log": log_rms,
            "log10": 2 * math.log10(2) / 6,
            "delta1": 4 / 6,
            "delta2": 4 / 6,
            "delta3": 4 / 6,  # 1.25^3 is 1.95
            "i_rmse": math.sqrt((0.5**2 + 0.1**2) / 6),
            "silog": 100 * log_rms,
        }
    )


def test_metric_averages_over_images_not_pixels() -> None:
    target = as_map(1, 1, 1, 1, 1, 1).repeat(2, 1, 1, 1)
    valid = torch.cat([EVERY, as_map(1, 0, 0, 0, 0, 0) > 0])
    metric = LINEAR.metric(align=False)
    metric.update(target * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), target, valid)
    assert metric.compute()["abs_rel"] == 1.0  # (0 + 2) / 2


@pytest.mark.parametrize("task", [LINEAR, LOG], ids=["linear", "log"])
def test_alignment_undoes_scale_and_shift(task: Task) -> None:
    target = as_map(1, 2, 4, 5, 8, 10)
    metric = task.metric()
    metric.update((target - 0.3) / 12, target, EVERY)
    assert metric.compute()["abs_rel"] == pytest.approx(0, abs=1e-6)
    metric = task.metric(align=False)
    metric.update((target - 0.3) / 12, target, EVERY)
    assert metric.compute()["abs_rel"] > 0.9


def test_a_constant_prediction_becomes_the_mean_depth() -> None:
    metric = LINEAR.metric()
    metric.update(as_map(0.5, 0.5, 0.5, 0.5, 0.5, 0.5), as_map(1, 2, 3, 4, 5, 3), EVERY)
    assert metric.compute()["rmse"] == pytest.approx(math.sqrt((4 + 1 + 0 + 1 + 4 + 0) / 6))


def test_prediction_is_clipped_to_the_range_after_alignment() -> None:
    target, pred = as_map(1, 1, 1, 1, 100, 100), as_map(-5, 0.2, 1, 1, 100, 500)

    def rmse_of(**options: float) -> float:
        metric = LINEAR.metric(align=False, **options)
        metric.update(pred, target, EVERY)
        return metric.compute()["rmse"]

    assert rmse_of() == pytest.approx(math.sqrt((1 + 0.8**2 + 20**2 + 20**2) / 6), rel=1e-4)  # 1e-5 and 80
    assert rmse_of(min_depth_m=0.6, max_depth_m=350) == pytest.approx(math.sqrt((0.4**2 * 2 + 250**2) / 6))
    metric = LINEAR.metric(align=False, min_depth_m=0.0)
    metric.update(pred, target, EVERY)
    assert all(math.isfinite(value) for value in metric.compute().values())  # never below 1e-6 m


def test_a_failed_prediction_shows() -> None:
    metric = LINEAR.metric()
    metric.update(as_map(0, 1, math.nan, 1, 0, 0), as_map(1, 2, 3, 4, 5, 6), EVERY)
    assert math.isnan(metric.compute()["abs_rel"])


def test_errors() -> None:
    with pytest.raises(
        ValueError, match=r"depth target must be above 0 m at valid pixels, got 0.0.*target > 0"
    ):
        LINEAR.metric().update(EVERY.float(), as_map(1, 1, 1, 1, 1, 0), EVERY)
    with pytest.raises(ValueError, match=r"0 <= min_depth_m < max_depth_m, got 80.0 and 1.0"):
        LINEAR.metric(min_depth_m=80.0, max_depth_m=1.0)
    with pytest.raises(ValueError, match="unknown depth encoding 'inverse'; choose from linear, log"):
        build_task("depth", encoding="inverse")
    with pytest.raises(
        ValueError, match=r"near_m and far_m must satisfy 0 < near_m < far_m, got 5.0 and 2.0"
    ):
        build_task("depth", encoding="log", near_m=5, far_m=2)
    with pytest.raises(
        ValueError, match="near_m and far_m belong to encoding='log', got near_m=1, far_m=None"
    ):
        build_task("depth", near_m=1)


def test_colorize_runs_from_red_near_to_blue_far() -> None:
    near, far = LINEAR.colorize(torch.tensor([[[2.0, 30.0]]]))[0, :, 0].T.tolist()
    assert near == [158, 1, 66]  # the ends of matplotlib's Spectral
    assert far == [94, 79, 162]
