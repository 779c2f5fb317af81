from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from stablemtl.data import EmptySplitError, KittiDepth
from stablemtl.data.formats import write_kitti_map
from stablemtl.data.kitti_depth import (
    Frame,
    benchmark_crop,
    crop_offsets,
    eigen_mask,
    read_frame_list,
)
from stablemtl.synth.layouts.kitti_depth import write_kitti_depth, write_kitti_depth_list

DRIVE, LATER = "2011_09_26_drive_0002_sync", "2011_10_03_drive_0047_sync"
SIZE = (40, 60)


def picture(size: tuple[int, int], value: int = 60) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def depth_map(size: tuple[int, int]) -> np.ndarray:
    """Depths that grow by 1/8 m a column and 1/2 m a row, from 1 m."""
    row, column = np.mgrid[: size[0], : size[1]]
    return 1.0 + 0.5 * row + 0.125 * column


@pytest.fixture
def root(tmp_path) -> Path:
    """Three frames of two drives, everything in the root."""
    for drive, number in ((LATER, 1), (DRIVE, 69), (DRIVE, 3)):
        write_kitti_depth(tmp_path, drive, number, image=picture(SIZE, number), depth_m=depth_map(SIZE))
    return tmp_path


@pytest.mark.parametrize(
    ("size", "offsets"),
    [
        ((375, 1242), (23, 13)),
        ((370, 1224), (18, 4)),
        ((374, 1238), (22, 11)),
        ((376, 1241), (24, 12)),
        ((352, 1216), (0, 0)),
        ((351, 1242), (0, 0)),
        ((375, 1215), (0, 0)),
    ],
)
def test_crop_offsets(size, offsets):
    assert crop_offsets(size) == offsets


def test_benchmark_crop():
    assert benchmark_crop((375, 1242)) == (slice(23, 375), slice(13, 1229))
    assert benchmark_crop((376, 1241)) == (slice(24, 376), slice(12, 1228))
    assert benchmark_crop((352, 1216)) == (slice(0, 352), slice(0, 1216))
    assert benchmark_crop((96, 1300)) == (slice(0, 96), slice(0, 1300))
    assert benchmark_crop((400, 128)) == (slice(0, 400), slice(0, 128))


@pytest.mark.parametrize(
    ("size", "kind", "borders"),
    [
        ((375, 1242), "eigen", (124, 342, 44, 1197)),  # 124.66, 342.57, 44.65, 1197.35
        ((370, 1224), "eigen", (122, 337, 43, 1180)),  # 122.99, 338 less 1e-6, 44 less 1e-5, 1180
        ((375, 1242), "garg", (153, 371, 44, 1197)),  # 153.04, 371.96, 44.65, 1197.35
        ((40, 60), "eigen", (13, 36, 2, 57)),
        ((40, 60), "garg", (16, 39, 2, 57)),
    ],
)
def test_eigen_mask(size, kind, borders):
    mask = eigen_mask(size, kind)
    top, bottom, left, right = borders
    assert mask.shape == size
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask.any(1)).tolist() == list(range(top, bottom))
    assert np.flatnonzero(mask.any(0)).tolist() == list(range(left, right))
    assert mask.sum() == (bottom - top) * (right - left)


def test_frames_with_picture_and_depth_by_drive_and_name(root):
    dataset = KittiDepth(root)
    assert dataset.tasks == ("depth",)
    assert len(dataset) == 3
    assert list(dataset.indices("depth")) == [0, 1, 2]
    assert [dataset.load(index, "depth").key for index in range(3)] == [
        f"2011_09_26/{DRIVE}/image_02/data/0000000003",
        f"2011_09_26/{DRIVE}/image_02/data/0000000069",
        f"2011_10_03/{LATER}/image_02/data/0000000001",
    ]
    assert (root / DRIVE / "proj_depth/groundtruth/image_02/0000000069.png").is_file()
    (root / f"2011_09_26/{DRIVE}/image_02/data/0000000003.png").unlink()
    write_kitti_map(
        root / DRIVE / "proj_depth/groundtruth/image_02/.9.png", np.ones(SIZE), np.ones(SIZE, bool)
    )
    assert len(KittiDepth(root)) == 2


def test_small_frames_are_taken_whole_with_the_mask_in_proportion(root):
    sample = KittiDepth(root).load(1, "depth")
    assert sample.image.shape == (3, *SIZE)
    assert sample.image[0].unique().tolist() == pytest.approx([69 / 255])
    assert sample.image_next is None
    assert sample.target.shape == (1, *SIZE)
    assert sample.valid[0].numpy().tolist() == eigen_mask(SIZE).tolist()
    assert sample.target[0, 20, 30].item() == 1 + 10 + 3.75
    assert sample.target[0, 0, 0].item() == 0  # outside of the mask
    assert (sample.dataset, sample.task) == ("kitti_depth", "depth")


def test_masks(root):
    garg = KittiDepth(root, mask="garg").load(0, "depth")
    assert garg.valid[0].numpy().tolist() == eigen_mask(SIZE, "garg").tolist()
    whole = KittiDepth(root, mask=None).load(0, "depth")
    assert whole.valid.all()
    assert whole.target[0].numpy().tolist() == depth_map(SIZE).tolist()


def test_range(tmp_path):
    depth = np.array([[0.0, 1 / 256, 79.996, 80.0, 200.0], [-1.0, np.nan, np.inf, 12.3, 300.0]])
    write_kitti_depth(tmp_path, DRIVE, 0, image=picture((2, 5)), depth_m=depth)
    sample = KittiDepth(tmp_path, mask=None).load(0, "depth")
    assert sample.valid[0].tolist() == [[False, True, True, False, False], [False, False, False, True, False]]
    assert sample.target[0, 0].tolist() == [0, 1 / 256, 20479 / 256, 0, 0]
    assert sample.target[0, 1].tolist() == [0, 0, 0, pytest.approx(12.3, abs=0.5 / 256), 0]


def test_values_come_back_within_the_steps_of_the_format(tmp_path):
    depth = np.random.default_rng(0).uniform(0.01, 79.9, (7, 11))
    write_kitti_depth(tmp_path, DRIVE, 0, image=picture((7, 11)), depth_m=depth.astype(np.float32))
    target = KittiDepth(tmp_path, mask=None).load(0, "depth").target[0].numpy()
    assert np.abs(target - depth).max() <= 0.5 / 256 + 1e-5


def test_full_frames_are_cropped_after_the_mask(tmp_path):
    size = (375, 1242)
    row, column = np.mgrid[: size[0], : size[1]]
    image = np.stack([row % 256, column % 256, row // 256 * 16 + column // 256], -1).astype(np.uint8)
    write_kitti_depth(tmp_path, DRIVE, 0, image=image, depth_m=1.0 + (row + column) / 32)
    sample = KittiDepth(tmp_path).load(0, "depth")
    assert sample.image.shape == (3, 352, 1216)
    assert (sample.image[:, 0, 0] * 255).round().tolist() == [23, 13, 0]
    assert (sample.image[:, -1, -1] * 255).round().tolist() == [374 - 256, 1228 % 256, 16 + 4]
    assert sample.target.shape == (1, 352, 1216)
    assert sample.target[0, 177, 607].item() == 1 + (200 + 620) / 32
    rows = np.flatnonzero(sample.valid[0].any(1)) + 23
    columns = np.flatnonzero(sample.valid[0].any(0)) + 13
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (124, 341, 44, 1196)
    assert sample.valid.sum() == 218 * 1153
    whole = KittiDepth(tmp_path, crop=None).load(0, "depth")
    assert whole.image.shape == (3, *size)
    assert whole.valid[0].numpy().tolist() == eigen_mask(size).tolist()
    assert whole.target[0, 200, 620] == sample.target[0, 177, 607]


@pytest.mark.parametrize("depths", ["train", "val", "data_depth_annotated/train", "data_depth_annotated/val"])
def test_folders_of_the_downloads(root, depths):
    (root / "raw").mkdir()
    (root / "2011_09_26").rename(root / "raw" / "2011_09_26")
    (root / depths).mkdir(parents=True)
    (root / DRIVE).rename(root / depths / DRIVE)
    dataset = KittiDepth(root)
    assert len(dataset) == 3
    assert dataset.load(0, "depth").image.mean().item() == pytest.approx(3 / 255)
    assert dataset.load(2, "depth").image.mean().item() == pytest.approx(1 / 255)


def test_a_map_in_two_folders_is_one_frame(root):
    shutil.copytree(root / DRIVE, root / "val" / DRIVE)
    assert len(KittiDepth(root)) == 3


def test_the_list_decides(root):
    rows = [
        (f"2011_10_03/{LATER}/image_02/data/0000000001.png", None, 718.856),
        (
            f"2011_09_26/{DRIVE}/image_02/data/0000000069.png",
            f"{DRIVE}/proj_depth/groundtruth/image_02/0000000069.png",
            721.5377,
        ),
    ]
    write_kitti_depth_list(root, rows)
    text = (root / "eigen_test_files_with_gt.txt").read_text()
    assert text.splitlines()[0] == f"2011_10_03/{LATER}/image_02/data/0000000001.png None 718.856"
    assert text.splitlines()[1].endswith(" 721.5377")
    dataset = KittiDepth(root)
    assert dataset.frames == [Frame(*rows[1][:2])]
    assert dataset.load(0, "depth").key == f"2011_09_26/{DRIVE}/image_02/data/0000000069"
    write_kitti_depth_list(root, rows[:1])
    with pytest.raises(
        EmptySplitError, match=r"kitti_depth \(test split\): no line with depth in .*_gt\.txt"
    ):
        KittiDepth(root)
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


def test_read_frame_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("b.png d.png 721.5\n\n  a.png c.png 707.0912  \nx.png None 1\n")
    assert read_frame_list(path) == [Frame("b.png", "d.png"), Frame("a.png", "c.png")]
    path.write_text("b.png d.png\n")
    with pytest.raises(
        ValueError, match=r"list\.txt: a line must be 'picture depth focal', got 'b\.png d\.png'"
    ):
        read_frame_list(path)


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="kitti_depth: no folder"):
        KittiDepth(tmp_path / "missing")
    with pytest.raises(ValueError, match="unknown split 'val' of kitti_depth; choose from test"):
        KittiDepth(root, "val")
    with pytest.raises(ValueError, match="crop must be 'benchmark' or None, got 'middle'"):
        KittiDepth(root, crop="middle")
    with pytest.raises(ValueError, match="mask must be 'eigen', 'garg' or None, got 'all'"):
        KittiDepth(root, mask="all")
    with pytest.raises(ValueError, match="unknown mask 'all'; choose from eigen, garg"):
        eigen_mask(SIZE, "all")
    dataset = KittiDepth(root)
    with pytest.raises(ValueError, match="kitti_depth has no labels for task 'normal'; it has depth"):
        dataset.indices("normal")
    with pytest.raises(ValueError, match="kitti_depth has no labels for task 'normal'"):
        dataset.load(0, "normal")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        EmptySplitError, match=r"no \*/proj_depth/groundtruth/image_02/\*\.png with its picture"
    ):
        KittiDepth(tmp_path / "empty")


def test_missing_files(root):
    dataset = KittiDepth(root)
    depth = root / DRIVE / "proj_depth/groundtruth/image_02/0000000003.png"
    write_kitti_map(depth, np.ones(SIZE[::-1]), np.ones(SIZE[::-1], bool))
    with pytest.raises(
        ValueError, match=r"3\.png must have the size of its picture, \(40, 60\), got \(60, 40\)"
    ):
        dataset.load(0, "depth")
    depth.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*image_02/0000000003\.png, nor in train/, val/, "):
        dataset.load(0, "depth")
    (root / f"2011_09_26/{DRIVE}/image_02/data/0000000003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*image_02/data/0000000003\.png, nor in raw/ of"):
        dataset.load(0, "depth")
