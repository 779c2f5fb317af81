from __future__ import annotations

import numpy as np
import pytest
import torch

from stablemtl.data import EmptySplitError
from stablemtl.data.reader import DatasetReader, LabelledFrame, check_option, first_folder


class Yard(DatasetReader[str]):
    """Frames are the names in its folder; depth is how many letters they have, motion is 1 and 2 px."""

    name = "yard"
    tasks = ("depth", "optical_flow", "semantic")
    splits = ("train", "val")

    def __init__(self, root, split="train"):
        super().__init__(root, split)
        self.frames = sorted(path.name for path in (self.root / split).glob("*"))
        self.require_frames(f"file in {self.root / split}")

    def read_frame(self, frame, task):
        image = np.full((2, 3, 3), 51, np.uint8)
        label = {
            "depth": np.full((2, 3), float(len(frame))),
            "optical_flow": np.broadcast_to([1.0, 2.0], (2, 3, 2)),
            "semantic": np.full((2, 3), 7, np.uint8),
        }[task]
        valid = np.ones((2, 3), np.bool_)
        valid[0, 1] = False
        image_next = image + 51 if task == "optical_flow" else None
        return LabelledFrame(image, label, valid, key=f"{frame}!", image_next=image_next)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("oak", "birch"):
        (tmp_path / "train" / name).touch()
    return tmp_path


def test_frames(root):
    yard = Yard(str(root))
    assert (yard.root, yard.split, yard.frames, len(yard)) == (root, "train", ["birch", "oak"], 2)
    assert yard.indices("depth") == range(2)


def test_what_is_read_becomes_a_sample(root):
    sample = Yard(root).load(1, "depth")
    assert (sample.task, sample.dataset, sample.key) == ("depth", "yard", "oak!")
    assert sample.image.shape == (3, 2, 3)
    assert sample.image.unique().item() == pytest.approx(0.2)
    assert sample.image_next is None
    assert sample.target.tolist() == [[[3.0] * 3] * 2]
    assert sample.target.dtype == torch.float32
    assert sample.valid.tolist() == [[[True, False, True], [True] * 3]]


def test_a_pair_and_class_ids(root):
    pair = Yard(root).load(0, "optical_flow")
    assert pair.image_next.unique().item() == pytest.approx(0.4)
    assert pair.target[:, 1, 2].tolist() == [1.0, 2.0]
    classes = Yard(root).load(0, "semantic").target
    assert (classes.dtype, classes.shape, classes.unique().item()) == (torch.int64, (1, 2, 3), 7)


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="yard: no folder"):
        Yard(tmp_path / "missing")
    with pytest.raises(ValueError, match="unknown split 'test' of yard; choose from train, val"):
        Yard(root, "test")
    with pytest.raises(EmptySplitError, match=r"yard \(val split\): no file in .*val\.$"):
        Yard(root, "val")
    message = "yard has no labels for task 'albedo'; it has depth, optical_flow, semantic"
    with pytest.raises(ValueError, match=message):
        Yard(root).indices("albedo")
    with pytest.raises(ValueError, match=message):
        Yard(root).load(0, "albedo")
    with pytest.raises(IndexError):
        Yard(root).load(2, "depth")


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        (("clean", "final"), r"^mode must be 'clean' or 'final', got 'raw'\.$"),
        (("a", "b", None), r"^mode must be 'a', 'b' or None, got 'raw'\.$"),
    ],
)
def test_options(choices, match):
    for choice in choices:
        check_option("mode", choice, choices)
    with pytest.raises(ValueError, match=match):
        check_option("mode", "raw", choices)


def test_first_folder(root):
    (root / "val").mkdir()
    folders = ("test", "val", "train", "")
    assert first_folder(root, folders, lambda folder: folder.is_dir()) == root / "val"
    assert first_folder(root, folders, lambda folder: (folder / "oak").is_file()) == root / "train"
    assert first_folder(root, folders, lambda folder: (folder / "val").is_dir()) == root
    assert first_folder(root, folders, lambda folder: False) == root / "test"
