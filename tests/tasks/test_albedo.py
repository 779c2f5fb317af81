"""Albedo."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.tasks import TASKS

TASK = TASKS["albedo"]


def test_coding_by_hand() -> None:
    target = torch.tensor([0.0, 0.5, 1.2]).view(1, 3, 1, 1)
    image = TASK.encode(target, torch.ones(1, 1, 1, 1, dtype=torch.bool))
    assert image.flatten().tolist() == [-1, 0, 1]
    assert TASK.decode(torch.tensor([-3.0, 0.5, 1.5]).view(1, 3, 1, 1)).flatten().tolist() == [0, 0.75, 1]


def test_one_scale_serves_all_channels() -> None:
    target = torch.rand(1, 3, 20, 25, generator=torch.Generator().manual_seed(0)) * 0.8
    valid = torch.ones(1, 20, 25, dtype=torch.bool)
    metric = TASK.metric()
    metric.update(target * 0.3, target, valid)
    assert metric.compute() == pytest.approx({"rmse": 0, "ssim": 1, "lmse": 0}, abs=1e-6)
    metric.reset()
    metric.update(target * torch.tensor([0.3, 0.6, 1.0]).view(1, 3, 1, 1), target, valid)
    assert metric.compute()["rmse"] > 0.1


def test_rmse_is_per_pixel() -> None:
    target = torch.full((1, 3, 4, 5), 0.5)
    metric = TASK.metric(align=False)
    metric.update(target + 0.1, target, torch.ones(1, 4, 5, dtype=torch.bool))
    assert metric.compute()["rmse"] == pytest.approx(0.1 * math.sqrt(3), rel=1e-5)


def test_colorize_is_rgb() -> None:
    assert TASK.colorize(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)).flatten().tolist() == [0, 128, 255]
