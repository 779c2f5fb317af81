"""Masked sums and fits, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.tasks.reductions import (
    RunningMeans,
    angle_deg,
    least_squares_scale,
    least_squares_scale_and_shift,
    non_negative_scale,
    valid_pixels,
)


def test_valid_pixels_leaves_out_empty_images() -> None:
    pred, target = torch.arange(12.0).view(2, 2, 1, 3), torch.zeros(2, 2, 1, 3)
    valid = torch.tensor([[[[False, False, False]]], [[[True, False, True]]]])
    [(one_pred, one_target)] = valid_pixels(pred, target, valid)
    assert one_pred.tolist() == [[6.0, 8.0], [9.0, 11.0]]
    assert one_target.shape == (2, 2)
    assert one_pred.dtype == one_target.dtype == torch.float64


def test_scale_by_hand() -> None:
    pred = torch.tensor([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [-2.0, 7.0], [1.0, 1.0]])
    assert least_squares_scale(pred, target).tolist() == [2.0, -2.0, 0.0]  # (1*4 + 2*3) / (1 + 4)
    assert non_negative_scale(pred, target).tolist() == [2.0, 0.0, 0.0]


def test_scale_and_shift_by_hand() -> None:
    # the line through (0, 1), (1, 2), (2, 6): slope 2.5, intercept 0.5
    points = torch.tensor([[0.0, 1.0, 2.0], [1.0, 2.0, 6.0]], dtype=torch.float64)
    scale, shift = least_squares_scale_and_shift(*points)
    assert (scale.item(), shift.item()) == pytest.approx((2.5, 0.5))


def test_scale_and_shift_recovers_an_affine_map_far_from_zero() -> None:
    pred = 1000 + torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale, shift = least_squares_scale_and_shift(pred, -3 * pred + 5)
    assert scale.item() == pytest.approx(-3, rel=1e-9)
    assert shift.item() == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 123.4])
@pytest.mark.parametrize("count", [1, 7])
def test_scale_and_shift_survives_a_constant(value: float, count: int) -> None:
    target = torch.linspace(2, 4, count, dtype=torch.float64)
    scale, shift = least_squares_scale_and_shift(torch.full((count,), value, dtype=torch.float64), target)
    assert scale.item() == 0
    assert shift.item() == pytest.approx(target.mean().item())


def test_angle_by_hand() -> None:
    first = torch.tensor([[1.0, 1.0, 2.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0, 4.0]], dtype=torch.float64)
    second = torch.tensor([[0.0, 5.0, -1.0, 1.0, 3.0], [2.0, 5.0, 0.0, 0.0, 4.0]], dtype=torch.float64)
    assert angle_deg(first, second).tolist() == pytest.approx([90, 45, 180, 90, 0], abs=1e-5)


def test_running_means_weigh_each_figure_by_itself() -> None:
    means = RunningMeans(("a", "b", "c"))
    assert all(math.isnan(value) for value in means.compute().values())
    means.add({"a": 1.0, "b": torch.tensor(4.0)}, weight=1)
    means.add({"a": 5.0}, weight=3)
    result = means.compute()
    assert list(result) == ["a", "b", "c"]
    assert (result["a"], result["b"]) == (4.0, 4.0)
    assert math.isnan(result["c"])
    means.add({"a": math.nan})
    assert math.isnan(means.compute()["a"])  # a failed prediction shows
    means.reset()
    means.add({"a": 2.0})
    assert means.compute()["a"] == 2.0
