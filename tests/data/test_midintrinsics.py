from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data import EmptySplitError, MIDIntrinsics
from stablemtl.data.exr import write_exr
from stablemtl.synth.layouts.midintrinsics import write_midintrinsics, write_midintrinsics_albedo

SIZE = (4, 6)
GREY = np.array([0.3, 0.59, 0.11])


def _color(seed=0):
    return np.random.default_rng(seed).uniform(0.0, 3.0, (*SIZE, 3)).astype(np.float32)


def _albedo():
    albedo = np.random.default_rng(9).uniform(0.1, 0.9, (*SIZE, 3)).astype(np.float32)
    albedo[0, 0] = (0.5, 0.0039, 0.5)
    albedo[0, 1] = (0.5, 0.0041, 0.5)
    albedo[0, 2] = 0.0
    albedo[0, 3] = (1.7, 0.5, 0.5)
    return albedo


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "midintrinsics"
    for scene in ("everett_kitchen2", "everett_dining1"):
        write_midintrinsics_albedo(root, scene, _albedo())
        for light in (10, 2):
            write_midintrinsics(root, scene, light, color=_color(light))
    return root


def test_pictures(root):
    mid = MIDIntrinsics(root)
    assert len(mid) == 4
    assert list(mid.indices("shading")) == list(mid.indices("albedo")) == [0, 1, 2, 3]
    keys = [mid.load(index, "albedo").key for index in range(4)]
    assert keys == [
        "everett_dining1/dir_2",
        "everett_dining1/dir_10",
        "everett_kitchen2/dir_2",
        "everett_kitchen2/dir_10",
    ]
    sample = mid.load(0, "shading")
    assert (sample.dataset, sample.task, sample.image_next) == ("midintrinsics", "shading", None)


def test_where_the_folder_may_lie(root):
    assert len(MIDIntrinsics(root / "test")) == 4
    (root / "test").rename(root / "multi_illumination_test_mip2_exr")
    assert len(MIDIntrinsics(root)) == 4


def test_other_files_are_no_pictures(root):
    for name in ("dir_2_mip2_gray.exr", "dir_x_mip2.exr", ".dir_3_mip2.exr", "dir_3_mip4.exr"):
        write_exr(root / "test" / "everett_dining1" / name, _color())
    assert len(MIDIntrinsics(root)) == 4


def _scale(color):
    return 0.8**2.2 / np.percentile(color @ GREY, 90)


def test_image_is_the_tone_mapped_picture(root):
    image = MIDIntrinsics(root).load(1, "albedo").image
    color = _color(10).astype(np.float64)
    expected = 255 * np.clip((_scale(color) * color) ** (1 / 2.2), 0, 1)
    assert image.shape == (3, 4, 6)
    np.testing.assert_allclose(image.permute(1, 2, 0) * 255, np.floor(expected), atol=1.0001)
    assert np.abs(image.permute(1, 2, 0).numpy() * 255 - expected).max() < 1.001  # rounded down
    assert 0.3 < image.mean() < 1


def test_albedo(root):
    sample = MIDIntrinsics(root).load(0, "albedo")
    assert sample.target.shape == (3, 4, 6)
    np.testing.assert_array_equal(sample.target.permute(1, 2, 0), np.clip(_albedo(), 0, 1))
    assert sample.valid[0, 0].tolist() == [False, True, False, True, True, True]
    assert sample.valid[0, 1:].all()


def test_shading(root):
    sample = MIDIntrinsics(root).load(0, "shading")
    assert sample.target.shape == (1, 4, 6)
    color, albedo = _color(2).astype(np.float64), np.clip(_albedo(), 0, 1).astype(np.float64)
    with np.errstate(divide="ignore"):
        ratio = np.clip(np.clip(_scale(color) * color, 0, 1) / albedo, 0, 1)
    np.testing.assert_allclose(sample.target[0], ratio @ GREY, atol=1e-5)
    assert sample.valid[0, 0].tolist() == [False, True, False, True, True, True]
    assert sample.target[0, 0, 2] == pytest.approx(1)  # no reflectance: as bright as can be, and not valid


def test_shading_by_hand(tmp_path):
    """The 90th percentile of the brightness is 4, so that s = 0.8^2.2 / 4 = 0.6120656 / 4 = 0.1530164."""
    color = np.full((2, 10, 3), 4.0, np.float32)
    color[0, 0], color[0, 1] = (0.5, 1.0, 2.0), 0.0
    albedo = np.full((2, 10, 3), 0.8, np.float32)
    albedo[0, 2] = 0.0
    write_midintrinsics(tmp_path, "room", 0, color=color)
    write_midintrinsics_albedo(tmp_path, "room", albedo)
    sample = MIDIntrinsics(tmp_path).load(0, "shading")
    # s * color / 0.8 = (0.0956353, 0.1912705, 0.3825410); times (0.3, 0.59, 0.11).
    assert sample.target[0, 0, 0].item() == pytest.approx(0.1836197, abs=1e-6)
    assert sample.target[0, 1, 5].item() == pytest.approx(0.6120656 / 0.8, abs=1e-6)
    assert sample.target[0, 0, 1] == 0
    assert sample.image[:, 1, 5].tolist() == pytest.approx([204 / 255] * 3, abs=1.01 / 255)
    raw = MIDIntrinsics(tmp_path, shading_scale="raw").load(0, "shading")
    # (0.625, 1, 1) after clipping.
    assert raw.target[0, 0, 0].item() == pytest.approx(0.3 * 0.625 + 0.59 + 0.11, abs=1e-6)
    np.testing.assert_array_equal(raw.image, sample.image)


def test_black_pictures_and_pixels_without_a_value(tmp_path):
    write_midintrinsics_albedo(tmp_path, "room", np.zeros((*SIZE, 3)))
    write_midintrinsics(tmp_path, "room", 0, color=np.zeros((*SIZE, 3)))
    sample = MIDIntrinsics(tmp_path).load(0, "shading")
    assert sample.target.abs().sum() == 0
    assert not sample.valid.any()
    color = _color()
    color[0, 0], color[0, 1] = np.nan, np.inf
    write_midintrinsics(tmp_path, "room", 0, color=color)
    write_midintrinsics_albedo(tmp_path, "room", np.full((*SIZE, 3), 0.5))
    for task in ("shading", "albedo"):
        sample = MIDIntrinsics(tmp_path).load(0, task)
        assert sample.target.isfinite().all()
        assert sample.image.isfinite().all()
        assert sample.valid[0, 0].tolist() == [False, True, True, True, True, True]


def test_half_floats(tmp_path):
    write_midintrinsics(tmp_path, "room", 0, color=_color().astype(np.float16))
    write_midintrinsics_albedo(tmp_path, "room", _albedo().astype(np.float16))
    sample = MIDIntrinsics(tmp_path).load(0, "albedo")
    np.testing.assert_allclose(sample.target.permute(1, 2, 0), np.clip(_albedo(), 0, 1), rtol=5e-4)


def test_albedo_is_a_download_of_its_own(root):
    (root / "test" / "everett_kitchen2" / "albedo.exr").unlink()
    mid = MIDIntrinsics(root)
    assert mid.load(1, "shading").valid.any()
    match = r"midintrinsics \(test split\): no file .*everett_kitchen2/albedo\.exr.* \(midi_test_albedo\.zip"
    for task in ("shading", "albedo"):
        with pytest.raises(FileNotFoundError, match=match):
            mid.load(2, task)


@pytest.mark.parametrize("name", ["dir_2_mip2", "albedo"])
def test_damaged_files(root, name):
    path = root / "test" / "everett_dining1" / f"{name}.exr"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"everett_dining1/{name}\.exr is not a readable OpenEXR file"):
        MIDIntrinsics(root).load(0, "albedo")
    write_exr(path, np.ones(SIZE))
    with pytest.raises(ValueError, match=rf"{name}\.exr must have channels R, G, B, got a single one"):
        MIDIntrinsics(root).load(0, "albedo")


def test_albedo_of_another_size(root):
    write_midintrinsics_albedo(root, "everett_dining1", np.ones((6, 4, 3)))
    with pytest.raises(ValueError, match=r"albedo\.exr must be 4x6 like dir_2_mip2\.exr beside it, got 6x4"):
        MIDIntrinsics(root).load(0, "shading")


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="midintrinsics: no folder"):
        MIDIntrinsics(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        EmptySplitError, match=r"midintrinsics \(test split\): no <scene>/dir_<k>_mip2\.exr in"
    ):
        MIDIntrinsics(tmp_path / "empty")
    with pytest.raises(ValueError, match="unknown split 'train' of midintrinsics; choose from test"):
        MIDIntrinsics(root, "train")
    with pytest.raises(ValueError, match="shading_scale must be 'tonemap' or 'raw', got 'linear'"):
        MIDIntrinsics(root, shading_scale="linear")
    mid = MIDIntrinsics(root)
    for call in (lambda: mid.load(0, "depth"), lambda: mid.indices("depth")):
        with pytest.raises(ValueError, match="has no labels for task 'depth'; it has shading, albedo"):
            call()
    (root / "test" / "everett_dining1" / "dir_2_mip2.exr").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*dir_2_mip2\.exr"):
        mid.load(0, "shading")


def test_the_writers_refuse_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"color must be \(H, W, 3\), got \(4, 6\)"):
        write_midintrinsics(tmp_path, "room", 0, color=np.zeros(SIZE))
    with pytest.raises(ValueError, match=r"albedo must be \(H, W, 3\), got \(4, 6, 4\)"):
        write_midintrinsics_albedo(tmp_path, "room", np.zeros((*SIZE, 4)))
    assert not list(tmp_path.iterdir())
