from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data import EmptySplitError, FlyingThings3D
from stablemtl.data.flyingthings3d import scene_flow


@pytest.fixture(scope="module")
def things(data_root):
    return FlyingThings3D(data_root / "FlyingThings3D_subset")


def test_pairs(things, data_root):
    assert things.frames == [3, 4]
    assert list(things.indices("scene_flow")) == [0, 1]
    sample = things.load(1, "optical_flow")
    assert sample.key == "0000004"
    assert sample.image.shape == (3, 6, 8)
    assert sample.image[:, 2, 3].tolist() == pytest.approx([40 / 255, 100 / 255, 200 / 255])
    assert sample.image_next[:, 2, 3].tolist() == pytest.approx([50 / 255, 100 / 255, 200 / 255])
    assert len(FlyingThings3D(data_root / "FlyingThings3D_subset", "val")) == 1


def test_final_pass(data_root):
    things = FlyingThings3D(data_root / "FlyingThings3D_subset", render_pass="final")
    assert things.load(0, "optical_flow").image[1].mean().item() == pytest.approx(50 / 255)


def test_optical_flow(things):
    sample = things.load(0, "optical_flow")
    assert sample.target.shape == (2, 6, 8)
    assert sample.target[:, 2, 3].tolist() == [2.0, -1.0]
    assert not sample.valid[0, 0, 0]  # 500 px
    assert not sample.valid[0, 0, 1]  # NaN
    assert sample.target[:, 0, :2].abs().sum() == 0
    assert int(sample.valid.sum()) == 46


def test_scene_flow(things):
    sample = things.load(0, "scene_flow")
    assert sample.target.shape == (3, 6, 8)
    # f = 1050 * 8 / 960 = 8.75, centre (3.5, 2.5); pixel (4, 6): x = 2.5, y = 1.5; disparity 1 -> 1.25.
    before = np.array([2.5, 1.5, 8.75]) / 1.00001
    after = np.array([4.5, 0.5, 8.75]) / 1.25001
    assert sample.target[:, 4, 6].tolist() == pytest.approx(list(after - before), rel=1e-5)
    assert not sample.valid[0, 5, 0]  # 43.75 away
    assert not sample.valid[0, 5, 1]  # ends behind the camera
    assert not sample.valid[0, 0, 1]  # no flow
    assert int(sample.valid.sum()) == 45
    assert sample.target.isfinite().all()


def test_scene_flow_of_a_pure_approach():
    size = (3, 5)
    disparity = np.full(size, 0.5)
    row, column = np.mgrid[: size[0], : size[1]]
    flow = np.stack([column - 2.0, row - 1.0], axis=-1)  # twice as large from half the distance
    motion, valid = scene_flow(disparity, disparity * 2, flow)
    focal = 1050 * 5 / 960
    np.testing.assert_allclose(motion[..., 2], -focal, rtol=1e-4)  # from 2 f to f
    np.testing.assert_allclose(motion[..., :2], 0.0, atol=1e-3)
    assert valid.all()


def test_errors(fakes, tmp_path):
    with pytest.raises(FileNotFoundError, match="flyingthings3d: no folder"):
        FlyingThings3D(tmp_path / "missing")
    with pytest.raises(EmptySplitError, match=r"flyingthings3d \(train split\): no \.flo file"):
        FlyingThings3D(tmp_path)
    root = fakes.write_flyingthings3d(tmp_path / "FlyingThings3D_subset")
    with pytest.raises(ValueError, match="unknown split 'test' of flyingthings3d; choose from train, val"):
        FlyingThings3D(root, "test")
    with pytest.raises(ValueError, match="render_pass must be 'clean' or 'final', got 'albedo'"):
        FlyingThings3D(root, render_pass="albedo")
    things = FlyingThings3D(root)
    with pytest.raises(ValueError, match="has no labels for task 'depth'; it has optical_flow, scene_flow"):
        things.load(0, "depth")
    (root / "train/image_clean/left/0000005.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"flyingthings3d \(train split\): no file .*0000005\.png"):
        things.load(1, "scene_flow")
