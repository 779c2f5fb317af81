from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data import EmptySplitError, KittiFlow
from stablemtl.data.formats import write_kitti_map, write_png16, write_rgb
from stablemtl.data.kitti_flow import read_calibration, scene_flow
from stablemtl.synth.layouts.kitti_flow import write_kitti_flow

SIZE = (3, 5)


def _pair(size=SIZE):
    """A pair whose values differ from pixel to pixel, and whose three masks differ."""
    rng = np.random.default_rng(0)
    flow = rng.uniform(-20, 20, (*size, 2))
    flow_valid = np.ones(size, bool)
    flow_valid[0, 0] = False
    disparity, disparity_next = rng.uniform(1, 90, (2, *size))
    disparity[0, 1] = 0
    disparity_next[0, 2] = 0
    return {
        "image": rng.integers(0, 256, (*size, 3), np.uint8),
        "image_next": rng.integers(0, 256, (*size, 3), np.uint8),
        "flow": flow,
        "flow_valid": flow_valid,
        "disparity": disparity,
        "disparity_next": disparity_next,
        "focal_px": 100.0,
        "center_px": (2.25, 0.75),
    }


@pytest.fixture
def root(tmp_path):
    write_kitti_flow(tmp_path / "kitti", 7, **_pair())
    write_kitti_flow(tmp_path / "kitti", 12, **_pair())
    return tmp_path / "kitti"


def test_pairs(root):
    kitti = KittiFlow(root)
    assert kitti.frames == [7, 12]
    assert len(kitti) == 2
    assert list(kitti.indices("optical_flow")) == list(kitti.indices("scene_flow")) == [0, 1]
    sample, pair = kitti.load(1, "optical_flow"), _pair()
    assert (sample.key, sample.dataset, sample.task) == ("000012", "kitti_flow", "optical_flow")
    assert sample.image.shape == sample.image_next.shape == (3, 3, 5)
    np.testing.assert_array_equal((sample.image * 255).round().permute(1, 2, 0), pair["image"])
    np.testing.assert_array_equal((sample.image_next * 255).round().permute(1, 2, 0), pair["image_next"])


@pytest.mark.parametrize("place", ["", "training", "flow_2015"])
def test_where_the_folder_may_lie(tmp_path, place):
    write_kitti_flow(tmp_path / "flow_2015", 0, **_pair())
    root = {
        "": tmp_path,
        "training": tmp_path / "flow_2015" / "training",
        "flow_2015": tmp_path / "flow_2015",
    }
    assert KittiFlow(root[place]).load(0, "scene_flow").key == "000000"


def test_other_frames_of_the_multi_view_release_are_no_pairs(root):
    for name in ("000007_09.png", "000007_12.png", ".000008_10.png", "preview_10.png"):
        write_rgb(root / "training" / "image_2" / name, np.zeros((3, 5, 3), np.uint8))
    assert KittiFlow(root).frames == [7, 12]


def test_optical_flow_comes_back_in_steps_of_a_64th(root):
    sample, pair = KittiFlow(root).load(0, "optical_flow"), _pair()
    assert sample.target.shape == (2, 3, 5)
    assert sample.valid[0].tolist() == pair["flow_valid"].tolist()
    assert sample.target[:, 0, 0].tolist() == [0, 0]
    error = np.abs(sample.target.permute(1, 2, 0).numpy() - pair["flow"])[pair["flow_valid"]]
    assert 0 < error.max() <= 1 / 128


def test_stored_integers(root):
    stored = np.zeros((3, 5, 3), np.uint16)
    stored[1, 2] = (32768 + 96, 32768 - 144, 1)
    stored[2, 4] = (40000, 40000, 0)  # not measured, whatever red and green say
    write_png16(root / "training" / "flow_occ" / "000007_10.png", stored)
    sample = KittiFlow(root).load(0, "optical_flow")
    assert sample.target[:, 1, 2].tolist() == [1.5, -2.25]
    assert sample.target[:, 2, 4].tolist() == [0, 0]
    assert int(sample.valid.sum()) == 1


def test_optical_flow_needs_neither_disparities_nor_calibration(root):
    for folder in ("disp_occ_0", "disp_occ_1", "calib_cam_to_cam"):
        for path in (root / "training" / folder).iterdir():
            path.unlink()
    assert KittiFlow(root).load(0, "optical_flow").valid.sum() == 14
    with pytest.raises(FileNotFoundError, match="frame 000007 has no disp_occ_0"):
        KittiFlow(root, flow_mask="three_way").load(0, "optical_flow")


def test_the_published_mask_of_optical_flow(root):
    own, published = KittiFlow(root), KittiFlow(root, flow_mask="three_way")
    sample, other = own.load(0, "optical_flow"), published.load(0, "optical_flow")
    assert other.valid[0, 0].tolist() == [False, False, False, True, True]
    assert other.valid[0, 1:].all()
    assert other.target[:, 0, :3].abs().sum() == 0
    np.testing.assert_array_equal(other.target[:, 1:], sample.target[:, 1:])
    for kitti in (own, published):
        assert kitti.load(0, "scene_flow").valid.tolist() == other.valid.tolist()


def test_scene_flow_by_hand():
    disparity, disparity_next = np.full(SIZE, 2.0), np.full(SIZE, 4.0)
    flow = np.broadcast_to([1.5, -0.5], (*SIZE, 2))
    motion = scene_flow(disparity, disparity_next, flow, focal_px=100.0, center_px=(2.0, 1.0))
    assert motion.shape == (3, 5, 3)
    assert motion.dtype == np.float32
    # Row 2, column 4. z = 54 / 2.00001 = 26.999865, then 54 / 4.00001 = 13.49996625.
    # (2 + 1.5) * 0.1349996625 - 2 * 0.26999865; (1 - 0.5) * 0.1349996625 - 1 * 0.26999865
    assert motion[2, 4].tolist() == pytest.approx([-0.0674985, -0.2024988, -13.4998988], abs=1e-6)


def test_scene_flow_of_a_sideways_step():
    """A wall 5.4 m away moves 0.27 m to the right: 100 px * 0.27 / 5.4 = 5 px of flow."""
    disparity = np.full(SIZE, 10.0)
    flow = np.broadcast_to([5.0, 0.0], (*SIZE, 2))
    motion = scene_flow(disparity, disparity, flow, focal_px=100.0, center_px=(2.25, 0.75))
    np.testing.assert_allclose(motion, np.broadcast_to([0.27, 0, 0], motion.shape), atol=1e-5)


def test_scene_flow_of_a_frame(root):
    sample, pair = KittiFlow(root).load(0, "scene_flow"), _pair()
    assert sample.target.shape == (3, 3, 5)
    assert sample.target[:, 0, :3].abs().sum() == 0
    for row, column in ((1, 4), (2, 0)):
        (u, v), x, y = pair["flow"][row, column], column - 2.25, row - 0.75
        z, z_next = 54 / pair["disparity"][row, column], 54 / pair["disparity_next"][row, column]
        moved = [((x + u) * z_next - x * z) / 100, ((y + v) * z_next - y * z) / 100, z_next - z]
        assert sample.target[:, row, column].tolist() == pytest.approx(moved, rel=0.01, abs=0.01)


@pytest.mark.parametrize(("size", "top", "left"), [((375, 1242), 23, 13), ((370, 1224), 18, 4)])
def test_benchmark_crop(tmp_path, size, top, left):
    pair = _pair(size)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for name, channel in (("image", 0), ("image_next", 1)):
        pair[name][:] = 0
        pair[name][..., channel] = (rows + columns) % 256
    pair["flow"] = np.stack([columns / 4, rows / 2], axis=-1)  # a multiple of 1/64 px everywhere
    pair["flow_valid"] = (rows + columns) % 3 > 0
    pair["disparity"], pair["disparity_next"] = np.full(size, 9.0), np.full(size, 4.5)
    pair["center_px"] = (600.0, 170.0)
    write_kitti_flow(tmp_path, 0, **pair)
    cut, whole = KittiFlow(tmp_path), KittiFlow(tmp_path, crop=None)
    for task in ("optical_flow", "scene_flow"):
        sample, full = cut.load(0, task), whole.load(0, task)
        assert sample.image.shape == (3, 352, 1216)
        assert full.image.shape == (3, *size)
        for name in ("image", "image_next", "target", "valid"):
            part = getattr(full, name)[:, top : top + 352, left : left + 1216]
            np.testing.assert_array_equal(getattr(sample, name), part)
    # Flow keeps the units of the whole frame, and points are built with its principal point.
    row, column = (0, 0) if (top + left) % 3 else (0, 1)
    u, v = (left + column) / 4, top / 2
    assert cut.load(0, "optical_flow").target[:, row, column].tolist() == [u, v]
    x, y, z = left + column - 600.0, top - 170.0, 54 / 9.00001
    z_next = 54 / 4.50001
    expected = [((x + u) * z_next - x * z) / 100, ((y + v) * z_next - y * z) / 100, z_next - z]
    assert cut.load(0, "scene_flow").target[:, row, column].tolist() == pytest.approx(expected, rel=1e-5)


def test_calibration_of_the_official_kind(tmp_path):
    path = tmp_path / "000000.txt"
    path.write_text(
        "calib_time: 09-Jan-2012 13:57:47\n"
        "K_02: 9.597910e+02 0.000000e+00 6.960217e+02\n"
        "P_rect_00: 1 0 2 0 0 1 3 0 0 0 1 0\n"
        "P_rect_02: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 "
        "0 0 1 2.745884e-03\n"
    )
    assert read_calibration(path) == (721.5377, (609.5593, 172.854))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"000007\.txt has no line 'P_rect_02': it is not a calib_cam_to_cam file"),
        (b"\xff\xfe\x00broken", "has no line 'P_rect_02'"),
        (b"P_rect_02: 1 2 3\n", r"000007\.txt: P_rect_02 must be 12 numbers, got '1 2 3'"),
        (b"P_rect_02: a 0 0 0 0 1 0 0 0 0 1 0", "P_rect_02 must be 12 numbers, got 'a 0"),
        (b"P_rect_02: 0 0 0 0 0 1 0 0 0 0 1 0", "must start with a focal length > 0, got '0 0"),
        (b"P_rect_02: nan 0 0 0 0 1 0 0 0 0 1 0", "must start with a focal length > 0, got 'nan"),
    ],
)
def test_damaged_calibration(root, content, match):
    (root / "training" / "calib_cam_to_cam" / "000007.txt").write_bytes(content)
    kitti = KittiFlow(root)
    with pytest.raises(ValueError, match=match):
        kitti.load(0, "scene_flow")
    assert kitti.load(0, "optical_flow").valid.any()


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("image_2/000007_11.png", "data_scene_flow.zip"),
        ("flow_occ/000007_10.png", "data_scene_flow.zip"),
        ("disp_occ_0/000007_10.png", "data_scene_flow.zip"),
        ("disp_occ_1/000007_10.png", "data_scene_flow.zip"),
        ("calib_cam_to_cam/000007.txt", "data_scene_flow_calib.zip"),
    ],
)
def test_missing_files(root, name, archive):
    (root / "training" / name).unlink()
    folder = name.split("/")[0]
    match = rf"kitti_flow \(training split\): frame 000007 has no {folder}: no file .*{name}.* {archive};"
    with pytest.raises(FileNotFoundError, match=match):
        KittiFlow(root).load(0, "scene_flow")
    assert KittiFlow(root).load(1, "scene_flow").key == "000012"


@pytest.mark.parametrize(
    "name", ["image_2/000007_10", "image_2/000007_11", "flow_occ/000007_10", "disp_occ_1/000007_10"]
)
def test_damaged_pictures(root, name):
    path = root / "training" / f"{name}.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{name}\.png is not an image that can be decoded"):
        KittiFlow(root).load(0, "scene_flow")


def test_sizes_that_differ(root):
    kitti, training = KittiFlow(root), root / "training"
    write_kitti_map(training / "disp_occ_1" / "000007_10.png", np.ones((5, 3)), np.ones((5, 3), bool))
    with pytest.raises(
        ValueError, match=r"kitti_flow frame 000007: the second disparity is 5x3, but the image is 3x5\."
    ):
        kitti.load(0, "scene_flow")
    assert kitti.load(0, "optical_flow").valid.any()
    write_rgb(training / "image_2" / "000007_11.png", np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="frame 000007: the second image is 3x4, but the image is 3x5"):
        kitti.load(0, "optical_flow")


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="kitti_flow: no folder"):
        KittiFlow(tmp_path / "missing")
    with pytest.raises(EmptySplitError, match=r"kitti_flow \(training split\): no image_2/\*_10\.png"):
        KittiFlow(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'testing' of kitti_flow; choose from training"):
        KittiFlow(root, "testing")
    with pytest.raises(ValueError, match="crop must be 'benchmark' or None, got 'center'"):
        KittiFlow(root, crop="center")
    with pytest.raises(ValueError, match="flow_mask must be 'flow' or 'three_way', got 'noc'"):
        KittiFlow(root, flow_mask="noc")
    with pytest.raises(ValueError, match="has no labels for task 'depth'; it has optical_flow, scene_flow"):
        KittiFlow(root).load(0, "depth")
    with pytest.raises(ValueError, match="has no labels for task 'depth'"):
        KittiFlow(root).indices("depth")


def test_what_the_layout_cannot_hold_is_not_valid(tmp_path):
    pair = _pair()
    pair["flow"][1, 1] = (600.0, 0.0)
    pair["flow"][1, 2] = (np.nan, 0.0)
    pair["disparity"][2, 2] = 300.0
    write_kitti_flow(tmp_path, 0, **pair)
    kitti = KittiFlow(tmp_path)
    assert kitti.load(0, "optical_flow").valid[0, 1].tolist() == [True, False, False, True, True]
    assert not kitti.load(0, "scene_flow").valid[0, 2, 2]


@pytest.mark.parametrize("name", ["image", "image_next", "flow", "flow_valid", "disparity_next"])
def test_the_writer_refuses_other_sizes(tmp_path, name):
    pair = _pair()
    pair[name] = pair[name][:, :4]
    with pytest.raises(ValueError, match=rf"{name} must be \(3, 5.*\), as disparity, got \(3, 4"):
        write_kitti_flow(tmp_path, 0, **pair)
    assert not list(tmp_path.iterdir())
