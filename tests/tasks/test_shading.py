"""Shading, and the figures it shares with albedo."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.tasks import TASKS, build_task
from stablemtl.tasks.intrinsic_metrics import local_mse, masked_rmse, structural_similarity

TASK = TASKS["shading"]


def test_coding_by_hand() -> None:
    target = torch.tensor([0.0, 0.25, 1.0, 3.0, -1.0, math.nan]).view(1, 1, 2, 3)
    image = TASK.encode(target, torch.ones(1, 1, 2, 3, dtype=torch.bool))
    assert image[0, 1].flatten().tolist() == [-1, -0.5, 1, 1, -1, -1]
    assert torch.equal(image[:, 0], image[:, 2])
    assert TASK.decode(torch.tensor([0.9, 0.3, -0.6]).view(1, 3, 1, 1)).item() == pytest.approx(
        0.6
    )  # mean 0.2
    assert TASK.decode(torch.tensor([9.0, -1.0, -1.0]).view(1, 3, 1, 1)).item() == 1  # clipped after the mean


def test_one_scale_is_fitted_and_no_shift() -> None:
    target = torch.rand(2, 1, 20, 25, generator=torch.Generator().manual_seed(0)) * 0.8
    valid = torch.ones(2, 1, 20, 25, dtype=torch.bool)
    metric = TASK.metric()
    metric.update(target * torch.tensor([0.2, 1.2]).view(2, 1, 1, 1), target, valid)
    assert metric.compute() == pytest.approx({"rmse": 0, "ssim": 1, "lmse": 0}, abs=1e-6)
    metric = TASK.metric(align=False)
    metric.update(target * 0.5, target, valid)
    assert metric.compute()["rmse"] == pytest.approx(
        (0.5 * target).square().mean(dim=(1, 2, 3)).sqrt().mean().item(), rel=1e-5
    )
    metric = TASK.metric()
    metric.update(target * 0.5 + 0.3, target, valid)
    assert metric.compute()["rmse"] > 0.05


def test_prediction_is_clipped_after_the_fit() -> None:
    target = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3)
    pred = torch.tensor([0.5, 2.0, 0.0]).view(1, 1, 1, 3)
    metric = TASK.metric()
    metric.update(pred, target, torch.ones(1, 1, 1, 3, dtype=torch.bool))
    scale = 2.5 / 4.25
    result = metric.compute()
    assert result["rmse"] == pytest.approx(math.sqrt((1 - 0.5 * scale) ** 2 / 3))  # 2 x scale is clipped to 1
    assert math.isnan(result["ssim"])  # too small an image for its window
    assert math.isnan(result["lmse"])


def test_masked_rmse_divides_by_pixels() -> None:
    pred, target = torch.zeros(3, 1, 4), torch.ones(3, 1, 4)
    mask = torch.tensor([True, True, False, True]).view(1, 1, 4)
    assert masked_rmse(pred, target, mask).item() == pytest.approx(math.sqrt(3))


def test_local_mse_by_hand() -> None:
    # 16 x 24 pixels have two windows that overlap by half
    target = torch.ones(1, 16, 24, dtype=torch.float64)
    pred = target.clone()
    pred[..., 8:16] = 2.0
    mask = torch.ones(1, 16, 24, dtype=torch.bool)
    # in each window half the pixels are 1 and half 2: scale 3 / 5, error (0.4^2 + 0.2^2) / 2
    result = local_mse(pred, target, mask)
    assert result is not None
    assert result.item() == pytest.approx((0.4**2 + 0.2**2) / 2)
    mask[..., 8:16] = False
    result = local_mse(pred, target, mask)
    assert result is not None
    assert result.item() == pytest.approx(0)


def test_local_mse_without_anything_to_measure() -> None:
    mask = torch.ones(1, 16, 16, dtype=torch.bool)
    black, grey = (
        torch.zeros(1, 16, 16, dtype=torch.float64),
        torch.full((1, 16, 16), 0.5, dtype=torch.float64),
    )
    assert local_mse(grey, black, mask) is None
    assert local_mse(grey[:, :15], grey[:, :15], mask[:, :15]) is None
    result = local_mse(black, grey, mask)  # a black prediction explains nothing
    assert result is not None
    assert result.item() == 1


def test_structural_similarity_is_symmetric_and_at_most_one() -> None:
    first, second = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert structural_similarity(first, first) == pytest.approx(1)
    assert structural_similarity(first, second) == pytest.approx(structural_similarity(second, first))
    assert structural_similarity(first, second) < 0.5


def test_colorize_is_grey() -> None:
    picture = TASK.colorize(torch.tensor([[[0.0, 0.5, 2.0]]]))
    assert picture[0, :, 0].T.tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]


def test_relative_encoding_does_not_see_the_scale():
    task = build_task("shading", encoding="relative")
    shading = torch.linspace(0, 0.4, 101).view(1, 1, 1, 101)
    valid = torch.ones_like(shading, dtype=torch.bool)
    encoded = task.encode(shading, valid)
    assert encoded[0, 0, 0, 95].item() == pytest.approx(1.0, abs=1e-5)  # the 95 % quantile, 0.38
    assert encoded[0, 0, 0, 19].item() == pytest.approx(2 * 0.076 / 0.38 - 1, abs=1e-5)
    torch.testing.assert_close(task.encode(2 * shading, valid), encoded)
    assert task.encode(shading * 0, ~valid).isfinite().all()


def test_unknown_encoding():
    with pytest.raises(ValueError, match="unknown shading encoding 'gamma'; choose from absolute, relative"):
        build_task("shading", encoding="gamma")
