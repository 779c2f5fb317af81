from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from stablemtl.data import EmptySplitError, Hypersim
from stablemtl.data.formats import write_hdf5
from stablemtl.data.hypersim import tone_map_scale

# Y of the flat colour is 0.3 * 0.25 + 0.59 * 0.5 + 0.11 * 0.75 = 0.4525, at every valid pixel.
SCALE = 0.8**2.2 / 0.4525


@pytest.fixture(scope="module")
def hypersim(data_root):
    return Hypersim(data_root / "hypersim")


def test_split_lists_public_undamaged_frames(hypersim, data_root):
    assert len(hypersim) == 2
    assert [tuple(frame) for frame in hypersim.frames] == [("ai_001_001", "cam_00", n) for n in (0, 1)]
    assert len(Hypersim(data_root / "hypersim", "val")) == 1
    for task in hypersim.tasks:
        assert list(hypersim.indices(task)) == [0, 1]


def test_image_is_tone_mapped(hypersim):
    sample = hypersim.load(0, "depth")
    assert sample.image.shape == (3, 4, 6)
    assert sample.image_next is None
    assert (sample.dataset, sample.task, sample.key) == ("hypersim", "depth", "ai_001_001/cam_00/0000")
    expected = [math.floor(255 * min(1.0, (SCALE * c) ** (1 / 2.2))) / 255 for c in (0.25, 0.5, 0.75)]
    assert expected[0] == 155 / 255  # (1.3526 * 0.25)^0.4545 = 0.6109
    assert sample.image[:, 2, 3].tolist() == pytest.approx(expected)
    assert sample.image[:, 0, 0].tolist() == [1, 1, 1]  # the lamp


def test_depth_is_planar_and_masked(hypersim):
    sample = hypersim.load(0, "depth")
    assert sample.target.shape == (1, 4, 6)
    focal = 886.81 * 6 / 1024
    expected = 2.0 * focal / math.sqrt(2.5**2 + 0.5**2 + focal**2)  # pixel (2, 5), centre (1.5, 2.5)
    assert sample.target[0, 2, 5].item() == pytest.approx(expected)
    invalid = {(0, 0), (3, 0), (3, 5)}  # no entity, NaN, too far
    for row, column in product(range(4), range(6)):
        assert sample.valid[0, row, column].item() == ((row, column) not in invalid)
    assert all(sample.target[0, row, column] == 0 for row, column in invalid)


@pytest.mark.parametrize("index", [0, 1])  # frame 1 has another camera position
def test_normals_point_away_from_the_camera(hypersim, index):
    sample = hypersim.load(index, "normal")
    assert sample.target.shape == (3, 4, 6)
    assert sample.target[:, 2, 2].tolist() == [0, 0, 1]  # wall in front
    assert sample.target[:, 1, 0].tolist() == [0, 1, 0]  # floor
    assert sample.target[:, 1, 1].tolist() == [-1, 0, 0]  # wall on the left
    assert sample.target[:, 1, 3].tolist() == [0, 0, 1]  # stored from behind, length 2
    for row, column in ((0, 0), (1, 4), (1, 5)):  # no entity, no normal, no position
        assert not sample.valid[0, row, column]
        assert sample.target[:, row, column].tolist() == [0, 0, 0]
    assert int(sample.valid.sum()) == 21


def test_albedo_and_shading(hypersim):
    albedo, shading = hypersim.load(0, "albedo"), hypersim.load(0, "shading")
    assert albedo.target.shape == (3, 4, 6)
    assert albedo.target[:, 2, 3].tolist() == [0.5, 0.5, 0.5]
    assert not albedo.valid[0, 1, 2]  # reflectance 0.002
    assert int(albedo.valid.sum()) == 23
    # (0.25, 0.5, 0.75) / 0.5, blue clipped
    assert shading.target.shape == (1, 4, 6)
    assert shading.target[0, 2, 3].item() == pytest.approx(0.3 * 0.5 + 0.59 + 0.11, rel=1e-4)
    assert torch.equal(albedo.valid, shading.valid)


def test_published_albedo_and_shading(data_root):
    hypersim = Hypersim(data_root / "hypersim", albedo_scale="tonemap", shading_scale="raw")
    assert hypersim.load(0, "albedo").target[:, 2, 3].tolist() == pytest.approx([0.5 * SCALE] * 3)
    # (0.25, 0.5, 0.75) / 0.5, blue clipped
    assert hypersim.load(0, "shading").target[0, 2, 3].item() == pytest.approx(
        0.3 * 0.5 + 0.59 * 1.0 + 0.11, rel=1e-4
    )


@pytest.mark.parametrize("scales", [("raw", "tonemap"), ("tonemap", "raw")])
def test_albedo_times_shading_is_the_picture(fakes, tmp_path, scales):
    root = fakes.write_hypersim(tmp_path / "hypersim")
    grey = np.full((*fakes.HYPERSIM_SIZE, 3), 0.5, np.float16)  # no label is clipped
    grey[:, 3:] = 0.25
    final = root / "ai_001_001" / "images" / "scene_cam_00_final_hdf5"
    fakes.write_hdf5(final / "frame.0000.color.hdf5", grey)
    fakes.write_hdf5(final / "frame.0000.diffuse_reflectance.hdf5", np.full_like(grey, 0.75))
    hypersim = Hypersim(root, albedo_scale=scales[0], shading_scale=scales[1])
    product = hypersim.load(0, "albedo").target * hypersim.load(0, "shading").target
    linear = torch.from_numpy(grey.astype(np.float32)).permute(2, 0, 1) * (0.8**2.2 / 0.5)
    torch.testing.assert_close(product, linear, rtol=1e-4, atol=1e-4)
    image = hypersim.load(0, "albedo").image
    torch.testing.assert_close(product ** (1 / 2.2), image, rtol=0, atol=1 / 255)


def test_tone_map_scale():
    color = np.zeros((1, 10, 3))
    color[0, :, 1] = np.arange(10) / 0.59  # Y = 0 ... 9, 90th percentile 8.1
    valid = np.ones((1, 10), bool)
    assert tone_map_scale(color, valid) == pytest.approx(0.8**2.2 / 8.1)
    assert tone_map_scale(color, ~valid) == 1.0
    assert tone_map_scale(color * 0, valid) == 0.0


def test_lamps_beyond_half_floats_and_nan(fakes, tmp_path):
    root = fakes.write_hypersim(tmp_path / "hypersim")
    color = np.full((*fakes.HYPERSIM_SIZE, 3), 0.5, np.float16)
    color[2, 2], color[2, 3] = np.inf, np.nan
    final = root / "ai_001_001" / "images" / "scene_cam_00_final_hdf5"
    fakes.write_hdf5(final / "frame.0000.color.hdf5", color)
    hypersim = Hypersim(root)
    sample = hypersim.load(0, "shading")
    assert sample.image[:, 2, 2].tolist() == [1, 1, 1]
    assert sample.image[:, 2, 3].tolist() == [0, 0, 0]
    assert sample.target[0, 2, 2].item() == pytest.approx(1.0)
    assert sample.valid[0, 2, 2].item()
    assert not sample.valid[0, 2, 3].item()


@pytest.mark.parametrize("folder", ["evermotion_dataset/analysis", "metadata"])
def test_other_places_of_the_split_file_and_scenes(fakes, tmp_path, folder):
    root = fakes.write_hypersim(tmp_path / "hypersim")
    name = "metadata_images_split_scene_v1.csv"
    (root / folder).mkdir(parents=True)
    (root / name).rename(root / folder / name)
    (root / "scenes").mkdir()
    for scene in ("ai_001_001", "ai_001_002"):
        (root / scene).rename(root / "scenes" / scene)
    assert Hypersim(root).load(1, "albedo").key == "ai_001_001/cam_00/0001"


def test_errors(fakes, tmp_path):
    with pytest.raises(FileNotFoundError, match="hypersim: no folder"):
        Hypersim(tmp_path / "missing")
    root = fakes.write_hypersim(tmp_path / "hypersim")
    with pytest.raises(ValueError, match="unknown split 'dev' of hypersim; choose from train, val, test"):
        Hypersim(root, "dev")
    with pytest.raises(ValueError, match="shading_scale must be 'tonemap' or 'raw', got 'none'"):
        Hypersim(root, shading_scale="none")
    with pytest.raises(EmptySplitError, match="names no public frame of the test split"):
        Hypersim(root, "test")
    with pytest.raises(EmptySplitError, match="train split in the scenes ai_001_002"):
        Hypersim(root, scenes=["ai_001_002"])
    hypersim = Hypersim(root, scenes=["ai_001_001"])
    with pytest.raises(
        ValueError, match="no labels for task 'semantic'; it has albedo, shading, depth, normal"
    ):
        hypersim.load(0, "semantic")
    with pytest.raises(ValueError, match="no labels for task 'semantic'"):
        hypersim.indices("semantic")


def test_missing_files_are_named(fakes, tmp_path):
    root = fakes.write_hypersim(tmp_path / "hypersim")
    geometry = root / "ai_001_001" / "images" / "scene_cam_00_geometry_hdf5"
    (geometry / "frame.0001.position.hdf5").unlink()
    hypersim = Hypersim(root)
    assert hypersim.load(1, "depth").key.endswith("0001")  # reads only what the label needs
    with pytest.raises(FileNotFoundError, match=r"hypersim \(train split\): no file .*frame.0001.position"):
        hypersim.load(1, "normal")
    (root / "ai_001_001").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"1 of 1 scenes .* no folder in .*: ai_001_001"):
        Hypersim(root)
    (root / "metadata_images_split_scene_v1.csv").write_text("scene_name,frame_id\n")
    with pytest.raises(ValueError, match="no column camera_name, included_in_public_release"):
        Hypersim(root)
    (root / "metadata_images_split_scene_v1.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no metadata_images_split_scene_v1\.csv in"):
        Hypersim(root)


def test_list_of_frames_with_complete_depth(fakes, tmp_path):
    root = fakes.write_hypersim(tmp_path / "hypersim")
    path = root / "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0001.depth_meters.hdf5"
    write_hdf5(path, np.full(fakes.HYPERSIM_SIZE, 2.0, np.float32))  # frame 0 keeps its NaN
    dataset = Hypersim(root)
    assert list(dataset.indices("depth")) == [0, 1]
    seen: list[int] = []
    assert dataset.list_complete_frames(workers=2, on_progress=seen.append) == 1
    assert seen == [1, 2]
    for found in (dataset, Hypersim(root)):
        assert {task: list(found.indices(task)) for task in found.tasks} == {
            "albedo": [1],
            "shading": [1],
            "depth": [1],
            "normal": [0, 1],
        }
    assert list(Hypersim(root, "val").indices("depth")) == [0]  # another split, without a list
    listed = root / "frames_with_complete_depth_train.txt"
    assert listed.read_text() == "# 1 of 2 frames have no NaN in depth_meters\nai_001_001 cam_00 1\n"
    listed.write_text("ai_001_001 cam_00\n")
    with pytest.raises(ValueError, match="a line must be 'scene camera frame', got 'ai_001_001 cam_00'"):
        Hypersim(root)
    listed.unlink()
    path.write_bytes(b"no hdf5")
    with pytest.raises((OSError, ValueError), match=r"frame\.0001\.depth_meters"):
        Hypersim(root).list_complete_frames()
    assert not listed.exists()
