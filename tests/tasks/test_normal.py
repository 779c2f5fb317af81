"""Surface normals."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.tasks import TASKS

TASK = TASKS["normal"]


def test_decode_clips_then_normalises() -> None:
    image = torch.tensor([[3.0, 0.0, 0.3], [0.0, 0.0, 0.0], [1.0, 0.0, -0.4]]).view(1, 3, 1, 3)
    vectors = TASK.decode(image)[0, :, 0].T
    assert vectors[0].tolist() == pytest.approx([2**-0.5, 0, 2**-0.5])
    assert vectors[1].tolist() == [0, 0, 0]  # no direction: stays finite
    assert vectors[2].tolist() == pytest.approx([0.6, 0, -0.8])


def test_metric_by_hand() -> None:
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 4)
    pred = target.clone()
    pred[0, :, 0, 0] = torch.tensor([0.0, 2.0, 2.0])  # 45 degrees, whatever the length
    pred[0, :, 0, 1] = torch.tensor([1.0, 0.0, 0.0])  # 90
    pred[0, :, 0, 2] = torch.tensor([0.0, 0.0, -1.0])  # 180, but invalid
    pred[1, :, 0, 0] = 0.0  # no direction: 90
    valid = torch.tensor([[True, True, False, True], [True, True, True, True]]).view(2, 1, 1, 4)
    metric = TASK.metric()
    metric.update(pred, target, valid)
    # per image, then averaged: (0, 45, 90) and (0, 0, 0, 90)
    assert metric.compute() == pytest.approx(
        {
            "mean_angular_error": (45 + 22.5) / 2,
            "median_angular_error": (45 + 0) / 2,
            "within_11.25": (1 / 3 + 3 / 4) / 2,
        },
        abs=1e-5,
    )


def test_hflip_negates_x() -> None:
    target = torch.tensor([[0.6, 0.0], [0.0, 1.0], [0.8, 0.0]]).view(1, 3, 1, 2)
    expected = torch.tensor([[0.0, -0.6], [1.0, 0.0], [0.0, 0.8]]).view(1, 3, 1, 2)
    torch.testing.assert_close(TASK.hflip(target), expected)


def test_resize_ignores_missing_vectors() -> None:
    target = torch.tensor([0.0, 0.6, 0.8]).view(1, 3, 1, 1).repeat(1, 1, 4, 6)
    target[..., 0, 0] = math.nan
    resized = TASK.resize(target, (2, 3))
    torch.testing.assert_close(resized, target[..., -1:, -1:].expand_as(resized))


def test_colorize_by_hand() -> None:
    target = torch.tensor([[0.0, -1.0], [0.0, 0.0], [1.0, 0.0]]).view(1, 3, 1, 2)
    assert TASK.colorize(target)[0, :, 0].T.tolist() == [[128, 128, 255], [0, 128, 128]]
