from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data import Diode, EmptySplitError
from stablemtl.data.diode import outward_normals
from stablemtl.data.formats import read_npy, write_npy
from stablemtl.synth.layouts.diode import write_diode

SIZE = (4, 6)
FIRST = "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010"
SECOND = "outdoor/scene_00022/scan_00194/00022_00194_outdoor_010_020"


def _frame(seed):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(*SIZE, 3))
    valid = rng.random(SIZE) < 0.7
    valid[0, 0], valid[1, 2] = False, True
    return {
        "image": rng.integers(0, 256, (*SIZE, 3), np.uint8),
        "depth_m": rng.uniform(0.6, 350, SIZE),
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "valid": valid,
    }


@pytest.fixture
def root(tmp_path):
    write_diode(tmp_path / "diode", "outdoor", 22, 194, "00022_00194_outdoor_010_020", **_frame(2))
    write_diode(tmp_path / "diode", "indoors", 19, 183, "00019_00183_indoors_000_010", **_frame(1))
    return tmp_path / "diode"


def test_frames(root):
    diode = Diode(root)
    assert diode.frames == [FIRST, SECOND]
    assert len(diode) == 2
    assert list(diode.indices("depth")) == list(diode.indices("normal")) == [0, 1]
    assert Diode(root, places=["outdoor"]).frames == [SECOND]
    assert Diode(root, places=("outdoor", "indoors")).frames == [SECOND, FIRST]
    sample = diode.load(1, "depth")
    assert (sample.key, sample.dataset, sample.task) == (SECOND, "diode", "depth")
    assert sample.image_next is None
    np.testing.assert_array_equal((sample.image * 255).round().permute(1, 2, 0), _frame(2)["image"])


def test_where_the_folder_may_lie(root):
    assert len(Diode(root / "val")) == 2
    (root / "val").rename(root / "diode_val")
    assert len(Diode(root)) == 2


def test_half_written_files_are_no_frames(root):
    (root / "val" / FIRST).with_name(".beside.png").write_bytes(b"")
    assert len(Diode(root)) == 2


def test_depth(root):
    sample, frame = Diode(root).load(0, "depth"), _frame(1)
    assert sample.target.shape == (1, 4, 6)
    np.testing.assert_array_equal(sample.valid[0], frame["valid"])
    np.testing.assert_allclose(sample.target[0], np.where(frame["valid"], frame["depth_m"], 0), rtol=1e-7)


def test_depth_without_its_last_axis(root):
    path = root / "val" / f"{FIRST}_depth.npy"
    depth = read_npy(path)
    assert depth.shape == (4, 6, 1)
    assert depth.dtype == np.float32
    before = Diode(root).load(0, "depth").target
    write_npy(path, depth[..., 0])
    np.testing.assert_array_equal(Diode(root).load(0, "depth").target, before)


def test_the_mask_alone_decides_what_is_valid(root):
    """No limit of range: 0.1 m and 1000 m count if the mask says so; nothing that is not a depth does."""
    depth = np.full((*SIZE, 1), 5.0, np.float32)
    depth[0, :5, 0] = [0.1, 1000.0, np.nan, np.inf, 0.0]
    mask = np.ones(SIZE, np.float32)
    mask[3, 5] = 0
    write_npy(root / "val" / f"{FIRST}_depth.npy", depth)
    write_npy(root / "val" / f"{FIRST}_depth_mask.npy", mask)
    sample = Diode(root).load(0, "depth")
    assert sample.valid[0, 0].tolist() == [True, True, False, False, False, True]
    assert sample.target[0, 0].tolist() == pytest.approx([0.1, 1000.0, 0.0, 0.0, 0.0, 5.0])
    assert not sample.valid[0, 3, 5]
    assert sample.target[0, 3, 5] == 0
    assert int(sample.valid.sum()) == 20


def test_normals(root):
    sample, frame = Diode(root).load(0, "normal"), _frame(1)
    assert sample.target.shape == (3, 4, 6)
    np.testing.assert_array_equal(sample.valid[0], frame["valid"])
    outward = np.where(frame["valid"][..., None], frame["normal"] * [-1, 1, 1], 0)
    np.testing.assert_allclose(sample.target.permute(1, 2, 0), outward, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "outward"),
    [
        ((0, 0, 1), (0, 0, 1)),  # a wall seen head-on faces the viewer
        ((0, 1, 0), (0, 1, 0)),  # a floor faces up; away from the camera is down, and so is y
        ((1, 0, 0), (-1, 0, 0)),  # a wall on the left faces right; away from the camera is left
        ((0.6, 0, 0.8), (-0.6, 0, 0.8)),
        ((0, 0, 0.51), (0, 0, 1)),
        ((0, 1.49, 0), (0, 1, 0)),
    ],
)
def test_outward_normals(stored, outward):
    normals, valid = outward_normals(np.broadcast_to(stored, (2, 3, 3)))
    assert valid.all()
    np.testing.assert_allclose(normals, np.broadcast_to(outward, (2, 3, 3)), atol=1e-12)


@pytest.mark.parametrize("stored", [(0, 0, 0), (0, 0, 0.5), (0, 1.5, 0), (0, np.nan, 1), (np.inf, 0, 0)])
def test_vectors_that_are_no_normals(stored):
    normals, valid = outward_normals(np.broadcast_to(np.array(stored, np.float32), (2, 3, 3)))
    assert not valid.any()
    assert normals.tolist() == np.zeros((2, 3, 3)).tolist()


def test_normals_are_a_download_of_their_own(root):
    (root / "val" / f"{FIRST}_normal.npy").unlink()
    diode = Diode(root)
    assert list(diode.indices("normal")) == [1]
    assert list(diode.indices("depth")) == [0, 1]
    assert diode.load(0, "depth").valid.any()
    assert diode.load(1, "normal").valid.any()
    with pytest.raises(
        FileNotFoundError, match=r"diode \(val split\): no file .*_010_normal\.npy.* \(val_normals\.tar\.gz\)"
    ):
        diode.load(0, "normal")


@pytest.mark.parametrize(
    ("ending", "task"), [("_depth", "depth"), ("_depth_mask", "depth"), ("_normal", "normal")]
)
def test_damaged_arrays(root, ending, task):
    path = root / "val" / f"{FIRST}{ending}.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf"_010{ending}\.npy is not a readable \.npy file"):
        Diode(root).load(0, task)
    write_npy(path, np.zeros((6, 4, 3), np.float32))
    with pytest.raises(
        ValueError, match=rf"_010{ending}\.npy must be \(4, 6.*\) like its image, got \(6, 4, 3\)"
    ):
        Diode(root).load(0, task)
    write_npy(path, np.full(SIZE, "far"))
    with pytest.raises(ValueError, match=rf"_010{ending}\.npy must hold numbers, got <U3"):
        Diode(root).load(0, task)


def test_damaged_picture(root):
    (root / "val" / f"{FIRST}.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"_010\.png is not an image that can be decoded"):
        Diode(root).load(0, "normal")


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="diode: no folder"):
        Diode(tmp_path / "missing")
    with pytest.raises(
        EmptySplitError, match=r"diode \(val split\): no \{indoors,outdoor\}/scene_\*/scan_\*/"
    ):
        Diode(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'train' of diode; choose from val"):
        Diode(root, "train")
    with pytest.raises(ValueError, match="places must be a sequence out of indoors, outdoor, got 'indoors'"):
        Diode(root, places="indoors")
    with pytest.raises(ValueError, match=r"out of indoors, outdoor, got \('indoor',\)"):
        Diode(root, places=("indoor",))
    diode = Diode(root)
    for call in (lambda: diode.load(0, "albedo"), lambda: diode.indices("albedo")):
        with pytest.raises(ValueError, match="diode has no labels for task 'albedo'; it has depth, normal"):
            call()
    (root / "val" / f"{FIRST}_depth_mask.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"diode \(val split\): no file .*_010_depth_mask\.npy"):
        diode.load(0, "depth")


@pytest.mark.parametrize("name", ["image", "depth_m", "normal"])
def test_the_writer_refuses_other_sizes(tmp_path, name):
    frame = _frame(0)
    frame[name] = frame[name][:3]
    with pytest.raises(ValueError, match=rf"{name} must be \(4, 6.*\), as valid, got \(3, 6"):
        write_diode(tmp_path, "indoors", 1, 2, "a", **frame)
    with pytest.raises(ValueError, match="unknown place 'outdoors'; choose from indoors, outdoor"):
        write_diode(tmp_path, "outdoors", 1, 2, "a", **_frame(0))
    assert not list(tmp_path.iterdir())
