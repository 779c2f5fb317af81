"""Semantic classes."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.tasks import TASKS
from stablemtl.tasks.semantic import CLASSES, IGNORE

TASK = TASKS["semantic"]


def test_classes_are_the_published_ones() -> None:
    assert list(CLASSES) == [
        "road", "building", "pole", "traffic light", "traffic sign", "vegetation", "sky", "vehicle",
    ]  # fmt: skip
    assert (CLASSES["road"], CLASSES["vehicle"], IGNORE) == ((128, 64, 128), (0, 0, 142), 250)


def test_encode_by_hand() -> None:
    ids = torch.tensor([[0, 7, IGNORE], [255, -1, 4]]).view(1, 1, 2, 3)
    image = TASK.encode(ids, ids == 0)
    road, vehicle = (image[0, :, 0, :2] + 1).T / 2 * 255
    assert road.tolist() == pytest.approx([128, 64, 128], abs=1e-4)
    assert vehicle.tolist() == pytest.approx([0, 0, 142], abs=1e-4)
    for row, column in ((0, 2), (1, 0), (1, 1)):  # ids of no class
        assert image[0, :, row, column].tolist() == [-1, -1, -1]


def test_decode_takes_the_nearest_colour_after_clipping() -> None:
    palette = torch.tensor(list(CLASSES.values())) / 127.5 - 1
    noise = 0.05 * torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    image = (palette.T + noise).view(1, 3, 2, 4)
    assert TASK.decode(image).flatten().tolist() == list(range(8))
    # far outside the range only the clipped colour counts: (1, 1, -1) is a traffic sign
    assert TASK.decode(torch.tensor([90.0, 5.0, -9.0]).view(1, 3, 1, 1)).item() == 4


def test_metric_by_hand() -> None:
    target = torch.tensor([[[0, 0, 0, 1], [1, 250, 9, 1]]])
    pred = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 2]]])
    valid = torch.ones(1, 2, 4, dtype=torch.bool)
    metric = TASK.metric()
    metric.update(pred, target, valid)
    result = metric.compute()
    # class 0: 2 hits, 1 missed, 1 false; class 1: 1 hit, 2 missed, 1 false; class 2: 1 false
    assert result["iou/road"] == 2 / 4
    assert result["iou/building"] == 1 / 4
    assert result["iou/pole"] == 0
    assert math.isnan(result["iou/sky"])
    assert result["miou"] == (2 / 4 + 1 / 4 + 0) / 3
    assert result["accuracy"] == 3 / 6


def test_a_prediction_of_no_class_is_a_miss() -> None:
    target = torch.tensor([[[3, 3, 3, 3]]])
    metric = TASK.metric()
    metric.update(torch.tensor([[[3, 250, -1, 8]]]), target, torch.ones(1, 1, 4, dtype=torch.bool))
    result = metric.compute()
    assert (result["accuracy"], result["miou"], result["iou/traffic light"]) == (0.25, 0.25, 0.25)


def test_colorize_gives_the_palette() -> None:
    picture = TASK.colorize(torch.arange(8).view(1, 2, 4))
    assert [tuple(color) for color in picture[0].flatten(1).T.tolist()] == list(CLASSES.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_ids_must_be_integers(dtype: torch.dtype) -> None:
    ids, valid = torch.zeros(1, 1, 2, 3, dtype=dtype), torch.ones(1, 1, 2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=rf"semantic target must hold integer class ids, got {dtype}"):
        TASK.encode(ids, valid)
    with pytest.raises(ValueError, match="semantic pred must hold integer class ids"):
        TASK.metric().update(ids, ids, valid)


def test_eight_bit_ids_are_fine() -> None:
    ids = torch.tensor([[[0, 250, 7]]], dtype=torch.uint8)
    valid = ids < 8
    assert TASK.decode(TASK.encode(ids, valid))[valid[:, None]].tolist() == [0, 7]
    metric = TASK.metric()
    metric.update(ids, ids, valid)
    assert metric.compute()["miou"] == 1
