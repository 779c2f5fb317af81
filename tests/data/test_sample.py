from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stablemtl.data import sample


def fields(**changes):
    size = (2, 3)
    return {
        "image": torch.zeros(3, *size),
        "target": torch.zeros(1, *size),
        "valid": torch.ones(1, *size, dtype=torch.bool),
        "task": "depth",
        "dataset": "some",
        "key": "0",
    } | changes


def test_sample_accepts_one_and_two_frames():
    assert sample.Sample(**fields()).image_next is None
    assert sample.Sample(**fields(image_next=torch.ones(3, 2, 3))).image_next is not None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image": torch.zeros(2, 3, 3)}, r"image must be \(3, H, W\) float32, got \(2, 3, 3\) float32"),
        ({"image": torch.zeros(3, 2, 3, dtype=torch.uint8)}, r"image must be .* got \(3, 2, 3\) uint8"),
        ({"image_next": torch.zeros(3, 3, 2)}, r"image_next must be \(3, 2, 3\) float32, got \(3, 3, 2\)"),
        ({"target": torch.zeros(2, 3)}, r"target must be \(C, 2, 3\), got \(2, 3\) float32"),
        ({"target": torch.zeros(1, 3, 2)}, r"target must be \(C, 2, 3\)"),
        ({"valid": torch.ones(1, 2, 3)}, r"valid must be \(1, 2, 3\) bool, got \(1, 2, 3\) float32"),
    ],
)
def test_sample_refuses_other_shapes(changes, match):
    with pytest.raises(ValueError, match=match):
        sample.Sample(**fields(**changes))


def test_tensors_are_channels_first():
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = (255, 51, 0)
    assert sample.image_tensor(image)[:, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
    label = np.zeros((2, 3, 2))
    label[1, 2] = (4, 5)
    assert sample.label_tensor(label)[:, 1, 2].tolist() == [4.0, 5.0]
    assert sample.label_tensor(label).dtype == torch.float32
    assert sample.label_tensor(np.ones((2, 3), np.uint8)).dtype == torch.int64
    assert sample.label_tensor(np.ones((2, 3))).shape == (1, 2, 3)
    assert sample.mask_tensor(np.ones((2, 3), bool)).shape == (1, 2, 3)


def test_checks(tmp_path):
    assert sample.check_split("some", "val", ("train", "val")) == "val"
    with pytest.raises(ValueError, match="unknown split 'dev' of some; choose from train, val"):
        sample.check_split("some", "dev", ("train", "val"))
    with pytest.raises(ValueError, match="some has no labels for task 'normals'; it has depth, normal"):
        sample.check_task("some", "normals", ("depth", "normal"))
    with pytest.raises(FileNotFoundError, match=r"some: no folder .*missing.* unpacked official download"):
        sample.require_folder(tmp_path / "missing", "some")
    with pytest.raises(FileNotFoundError, match=r"some \(val split\): no file .*missing"):
        sample.require_file(tmp_path / "missing", "some", "val")


def test_names_are_sorted_and_not_hidden():
    assert sample.sorted_names([Path("x/b"), Path("y/a"), Path("x/.c")]) == ["a", "b"]
