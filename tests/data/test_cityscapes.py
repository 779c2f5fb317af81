from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stablemtl.data import IGNORE_CLASS, Cityscapes, EmptySplitError
from stablemtl.data.cityscapes import class_ids
from stablemtl.data.formats import write_rgb
from stablemtl.synth.layouts.cityscapes import write_cityscapes
from stablemtl.tasks.semantic import CLASSES

SIZE = (3, 5)


def picture(value: int) -> np.ndarray:
    image = np.full((*SIZE, 3), value, np.uint8)
    image[2, 4] = (10, 20, 30)
    return image


def write(root: Path, *, split: str = "val") -> Path:
    """Two cities; labels 0-14 in the rows of one frame, 15-29 in the next, then road."""
    ids = np.arange(15, dtype=np.uint8).reshape(SIZE)
    write_cityscapes(root, "munster", 3, image=picture(90), label_ids=np.full(SIZE, 7, np.uint8), split=split)
    write_cityscapes(root, "frankfurt", 20, image=picture(60), label_ids=ids + 15, split=split)
    write_cityscapes(root, "frankfurt", 1, image=picture(30), label_ids=ids, split=split)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "cityscapes")


def test_frames_are_sorted_by_city_and_name(root):
    dataset = Cityscapes(root)
    assert dataset.tasks == ("semantic",)
    assert len(dataset) == 3
    assert list(dataset.indices("semantic")) == [0, 1, 2]
    assert [dataset.load(index, "semantic").key for index in range(3)] == [
        "frankfurt_000001_000019",
        "frankfurt_000020_000019",
        "munster_000003_000019",
    ]


def test_the_official_names_are_those_written(root):
    files = sorted(str(path.relative_to(root)) for path in root.rglob("munster*.png"))
    assert files == [
        "gtFine/val/munster/munster_000003_000019_gtFine_labelIds.png",
        "leftImg8bit/val/munster/munster_000003_000019_leftImg8bit.png",
    ]


def test_sample(root):
    sample = Cityscapes(root).load(1, "semantic")
    assert sample.image.shape == (3, *SIZE)
    assert sample.image[:, 0, 0].tolist() == pytest.approx([60 / 255] * 3)
    assert sample.image[:, 2, 4].tolist() == pytest.approx([10 / 255, 20 / 255, 30 / 255])
    assert sample.image_next is None
    assert sample.target.dtype == torch.int64
    assert sample.target.tolist() == [
        [[250, 250, 2, 250, 3], [4, 5, 250, 6, 250], [250, 7, 250, 7, 250]]  # labels 15 to 29
    ]
    assert sample.valid.sum().item() == 7
    assert sample.valid[0, 0].tolist() == [False, False, True, False, True]
    assert (sample.dataset, sample.task) == ("cityscapes", "semantic")


def test_every_label_id():
    expected = {
        "road": [7],
        "building": [11],
        "pole": [17],
        "traffic light": [19],
        "traffic sign": [20],
        "vegetation": [21],
        "sky": [23],
        "vehicle": [26, 28],
    }
    ids = class_ids(np.arange(256, dtype=np.uint8)[None])[0]
    for number, name in enumerate(CLASSES):
        assert np.flatnonzero(ids == number).tolist() == expected[name], name
    assert (ids == IGNORE_CLASS).sum() == 256 - 9


def test_wall(root):
    frame = Cityscapes(root).load(0, "semantic")  # labels 0 to 14: label 12 is at (2, 2)
    assert frame.target[0].tolist() == [[250] * 5, [250, 250, 0, 250, 250], [250, 1, 250, 250, 250]]
    vegetation = Cityscapes(root, wall="vegetation").load(0, "semantic")
    assert vegetation.target[0, 2].tolist() == [250, 1, 5, 250, 250]
    assert vegetation.valid[0, 2].tolist() == [False, True, True, False, False]
    with pytest.raises(ValueError, match="wall must be 'ignore' or 'vegetation', got 'fence'"):
        Cityscapes(root, wall="fence")


def test_archives_unpacked_into_folders_of_their_own(tmp_path):
    root = write(tmp_path / "cityscapes")
    for kind in ("leftImg8bit", "gtFine"):
        (root / f"{kind}_trainvaltest").mkdir()
        (root / kind).rename(root / f"{kind}_trainvaltest" / kind)
    assert len(Cityscapes(root)) == 3
    assert Cityscapes(root).load(2, "semantic").target.unique().tolist() == [0]
    (root / "leftImg8bit" / "train").mkdir(parents=True)  # the split lies in the other folder
    assert len(Cityscapes(root)) == 3


def test_splits(root, tmp_path):
    write_cityscapes(
        tmp_path, "ulm", 5, image=picture(1), label_ids=np.full(SIZE, 26, np.uint8), split="train"
    )
    assert len(Cityscapes(tmp_path, "train")) == 1
    with pytest.raises(ValueError, match="unknown split 'test' of cityscapes; choose from train, val"):
        Cityscapes(root, "test")
    with pytest.raises(EmptySplitError, match=r"cityscapes \(val split\): no leftImg8bit/val/"):
        Cityscapes(tmp_path)


def test_other_files_are_no_frames(tmp_path):
    root = write(tmp_path)
    city = root / "leftImg8bit" / "val" / "frankfurt"
    (city / ".frankfurt_000009_000019_leftImg8bit.png").touch()
    (city / "frankfurt_000009_000019_leftImg8bit.jpg").touch()
    (root / "leftImg8bit" / "val" / "README").touch()
    (root / "leftImg8bit" / "val" / ".cache").mkdir()
    shutil.copy(
        city / "frankfurt_000001_000019_leftImg8bit.png",
        root / "leftImg8bit" / "val" / ".cache" / "x_000001_000019_leftImg8bit.png",
    )
    assert len(Cityscapes(root)) == 3


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="cityscapes: no folder"):
        Cityscapes(tmp_path / "missing")
    with pytest.raises(ValueError, match="cityscapes has no labels for task 'depth'; it has semantic"):
        Cityscapes(root).indices("depth")
    with pytest.raises(ValueError, match="cityscapes has no labels for task 'depth'"):
        Cityscapes(root).load(0, "depth")


def test_pictures_without_labels(tmp_path):
    dataset = Cityscapes(write(tmp_path))
    label = tmp_path / "gtFine/val/frankfurt/frankfurt_000020_000019_gtFine_labelIds.png"
    label.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"_000020_000019_leftImg8bit\.png has no label .*_000020_"
    ) as info:
        dataset.load(1, "semantic")
    assert not isinstance(info.value, EmptySplitError)
    dataset.load(0, "semantic")
    shutil.rmtree(tmp_path / "gtFine")
    with pytest.raises(FileNotFoundError, match="there are pictures, but no folder gtFine/val") as info:
        Cityscapes(tmp_path)
    assert not isinstance(info.value, EmptySplitError)


def test_labels_of_another_kind(tmp_path):
    dataset = Cityscapes(write(tmp_path))
    label = tmp_path / "gtFine/val/frankfurt/frankfurt_000001_000019_gtFine_labelIds.png"
    write_rgb(label, picture(7))  # grey but for one pixel
    with pytest.raises(ValueError, match=r"labelIds\.png must hold grey label ids, got colours"):
        dataset.load(0, "semantic")
    write_rgb(label, np.full(SIZE[::-1], 7, np.uint8))
    with pytest.raises(ValueError, match=r"must have the size of its picture, \(3, 5\), got \(5, 3\)"):
        dataset.load(0, "semantic")
