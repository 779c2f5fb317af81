from __future__ import annotations

import pytest

from stablemtl.data import EmptySplitError, FlyingChairs


def test_pairs(data_root):
    chairs = FlyingChairs(data_root / "FlyingChairs_release")
    assert chairs.frames == [1, 3]
    assert list(chairs.indices("optical_flow")) == [0, 1]
    assert FlyingChairs(data_root / "FlyingChairs_release", "val").frames == [2]
    sample = chairs.load(1, "optical_flow")
    assert sample.key == "00003"
    assert sample.image.shape == (3, 3, 5)
    assert sample.image[:, 1, 2].tolist() == pytest.approx([3 / 255, 2 / 255, 3 / 255])
    assert sample.image_next[:, 1, 2].tolist() == pytest.approx([103 / 255, 102 / 255, 103 / 255])
    assert sample.target[:, 1, 2].tolist() == [3.0, -0.5]
    assert not sample.valid[0, 0, 0]
    assert sample.target[:, 0, 0].tolist() == [0, 0]
    assert int(sample.valid.sum()) == 14


def test_split_file_beside_the_folder(fakes, tmp_path):
    root = fakes.write_flyingchairs(tmp_path / "FlyingChairs_release")
    name = "FlyingChairs_train_val.txt"
    (root / name).rename(tmp_path / name)
    assert len(FlyingChairs(root)) == 2


def test_errors(fakes, tmp_path):
    with pytest.raises(FileNotFoundError, match="flyingchairs: no folder"):
        FlyingChairs(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"no FlyingChairs_train_val\.txt in"):
        FlyingChairs(tmp_path)
    root = fakes.write_flyingchairs(tmp_path / "FlyingChairs_release")
    with pytest.raises(ValueError, match="unknown split 'test' of flyingchairs; choose from train, val"):
        FlyingChairs(root, "test")
    chairs = FlyingChairs(root)
    with pytest.raises(ValueError, match="flyingchairs has no labels for task 'depth'; it has optical_flow"):
        chairs.load(0, "depth")
    (root / "data" / "00001_img2.ppm").unlink()
    with pytest.raises(FileNotFoundError, match=r"flyingchairs \(train split\): no file .*00001_img2\.ppm"):
        chairs.load(0, "optical_flow")
    split = root / "FlyingChairs_train_val.txt"
    split.write_text("1\n1\n1\n")
    with pytest.raises(EmptySplitError, match="gives no pair to the val split"):
        FlyingChairs(root, "val")
    split.write_text("0\n0\n1\n")
    assert FlyingChairs(root).frames == [3]
    split.write_text("1\n3\n")
    with pytest.raises(ValueError, match="every line must be 1"):
        FlyingChairs(root)
