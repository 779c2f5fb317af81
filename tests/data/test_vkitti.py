from __future__ import annotations

import pytest

from stablemtl.data import IGNORE_CLASS, EmptySplitError, VirtualKITTI2


@pytest.fixture(scope="module")
def vkitti(data_root):
    return VirtualKITTI2(data_root / "vkitti2")


def test_frames_of_the_scenes_and_variations_that_are_there(vkitti, data_root):
    keys = [vkitti.load(index, "depth").key for index in range(len(vkitti))]
    assert keys == [
        "Scene02/clone/Camera_0/00000",
        "Scene02/clone/Camera_0/00001",
        "Scene02/clone/Camera_1/00000",
        "Scene02/clone/Camera_1/00001",
        "Scene20/sunset/Camera_0/00000",
        "Scene20/sunset/Camera_0/00001",
    ]
    assert len(VirtualKITTI2(data_root / "vkitti2", "test")) == 2
    assert len(VirtualKITTI2(data_root / "vkitti2", variations=["fog"])) == 2


def test_flows_skip_the_last_frame_of_a_sequence(vkitti):
    assert list(vkitti.indices("optical_flow")) == [0, 2, 4]
    assert list(vkitti.indices("scene_flow")) == [0, 2, 4]
    assert list(vkitti.indices("depth")) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="frame 1 ends its sequence: it has no scene_flow"):
        vkitti.load(1, "scene_flow")


def test_images(vkitti):
    sample = vkitti.load(2, "optical_flow")
    assert sample.image.shape == sample.image_next.shape == (3, 5, 7)
    assert sample.image.mean().item() == pytest.approx(60 / 255, abs=1 / 255)
    assert sample.image_next.mean().item() == pytest.approx(160 / 255, abs=1 / 255)
    assert vkitti.load(2, "depth").image_next is None


def test_depth(vkitti):
    sample = vkitti.load(0, "depth")
    assert sample.target.shape == (1, 5, 7)
    assert sample.target[0, 2, 3].item() == 12.5
    assert not sample.valid[0, 0].any()  # sky
    assert not sample.valid[0, 1, 0]  # 80 m
    assert int(sample.valid.sum()) == 27
    assert sample.target[0, 0].tolist() == [0] * 7


def test_classes(vkitti):
    sample = vkitti.load(0, "semantic")
    assert sample.target.shape == (1, 5, 7)
    assert sample.target[0, 1].tolist() == [IGNORE_CLASS, 7, 5, IGNORE_CLASS, 0, 0, 0]
    assert sample.target[0, 0].tolist() == [6] * 7
    assert sample.valid[0, 1].tolist() == [False, True, True, False, True, True, True]


def test_optical_flow(vkitti):
    sample = vkitti.load(0, "optical_flow")
    assert sample.target.shape == (2, 5, 7)
    assert sample.target[:, 0, 0].tolist() == pytest.approx([6.0, -4.0])  # W - 1 right, H - 1 up
    assert sample.target[:, 2, 3].tolist() == pytest.approx([3.0, 2.0], abs=1e-4)
    assert sample.target[:, 4, 6].tolist() == [0, 0]
    assert not sample.valid[0, 4, 6]
    assert int(sample.valid.sum()) == 34


def test_scene_flow(vkitti):
    sample = vkitti.load(0, "scene_flow")
    assert sample.target.shape == (3, 5, 7)
    assert sample.target[:, 2, 3].tolist() == pytest.approx([10.0, -10.0, 5.0], abs=1e-3)
    assert sample.target[:, 4, 6].tolist() == [0, 0, 0]
    assert int(sample.valid.sum()) == 34


def test_normals_come_from_depth(vkitti):
    sample = vkitti.load(0, "normal")
    assert sample.target.shape == (3, 5, 7)
    assert sample.target[:, 3, 3].tolist() == pytest.approx([0, 0, 1], abs=1e-6)
    assert sample.target[:, 0, 3].tolist() == [0, 0, 0]
    assert int(sample.valid.sum()) == 27


def test_intrinsics_scale_with_the_frame_or_come_from_the_file(fakes, tmp_path):
    root = fakes.write_vkitti2(tmp_path / "vkitti2")
    vkitti = VirtualKITTI2(root)
    first = vkitti.frames[0]
    assert vkitti.intrinsics(first, (375, 1242)) == (725.0087, 725.0087, 620.5, 187.0)
    focal = 725.0087 * 7 / 1242
    assert vkitti.intrinsics(first, (5, 7)) == pytest.approx((focal, focal, 3.0, 2.0))
    fakes.write_vkitti2_intrinsics(root, "Scene02", "clone", 9.0, (2.5, 1.5))
    assert VirtualKITTI2(root).intrinsics(first, (5, 7)) == (9.0, 9.0, 2.5, 1.5)
    path = root / "Scene02" / "clone" / "intrinsic.txt"
    path.write_text("frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n7 0 9 9 2.5 1.5\n")
    with pytest.raises(ValueError, match="no row for frame 0, camera 0"):
        VirtualKITTI2(root).intrinsics(first, (5, 7))
    path.write_text("frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n0 0 nine\n")
    with pytest.raises(
        ValueError, match="a row must be 'frame cameraID fx fy u0 v0' with numbers, got '0 0 nine'"
    ):
        VirtualKITTI2(root).intrinsics(first, (5, 7))


def test_intrinsics_reach_the_normals(fakes, tmp_path):
    import numpy as np

    root = fakes.write_vkitti2(tmp_path / "vkitti2")
    # A floor 1 m below a camera of focal length 100 px whose horizon lies 10 rows above the frame.
    rows = np.arange(5)[:, None] + 10.0
    depth = np.round(100.0 * 100.0 / np.broadcast_to(rows, (5, 7))).astype(np.uint16)
    path = root / "Scene02" / "clone" / "frames" / "depth" / "Camera_0" / "depth_00000.png"
    fakes.write_png16(path, depth)
    fakes.write_vkitti2_intrinsics(root, "Scene02", "clone", 100.0, (3.0, -10.0))
    normal = VirtualKITTI2(root).load(0, "normal").target[:, 2, 3]
    assert normal.tolist() == pytest.approx([0, 1, 0], abs=0.02)
    shifted = VirtualKITTI2(root, pixel_origin=1).load(0, "normal").target[:, 2, 3]
    assert (shifted - normal)[2].item() == pytest.approx(-0.01, abs=1e-3)  # tilted by 1 / focal


def test_errors(fakes, tmp_path):
    with pytest.raises(FileNotFoundError, match="vkitti2: no folder"):
        VirtualKITTI2(tmp_path / "missing")
    with pytest.raises(EmptySplitError, match=r"no \{Scene01\}"):
        VirtualKITTI2(tmp_path, "test")
    root = fakes.write_vkitti2(tmp_path / "vkitti2")
    with pytest.raises(ValueError, match="unknown split 'val' of vkitti2; choose from train, test"):
        VirtualKITTI2(root, "val")
    vkitti = VirtualKITTI2(root)
    with pytest.raises(ValueError, match="vkitti2 has no labels for task 'albedo'"):
        vkitti.load(0, "albedo")
    (root / "Scene02/clone/frames/forwardFlow/Camera_0/flow_00000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"vkitti2 \(train split\): no file .*flow_00000\.png"):
        vkitti.load(0, "optical_flow")
