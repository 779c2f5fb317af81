"""What the writer refuses; what it writes is read back in ``tests/data/test_kitti_depth.py``."""

from __future__ import annotations

import numpy as np
import pytest

from stablemtl.synth.layouts.kitti_depth import write_kitti_depth

DRIVE = "2011_09_26_drive_0002_sync"
IMAGE = np.zeros((3, 5, 3), np.uint8)
DEPTH = np.ones((3, 5))


def test_paths_are_those_of_the_list(tmp_path):
    picture, depth = write_kitti_depth(tmp_path, DRIVE, 69, image=IMAGE, depth_m=DEPTH)
    assert picture == f"2011_09_26/{DRIVE}/image_02/data/0000000069.png"
    assert depth == f"{DRIVE}/proj_depth/groundtruth/image_02/0000000069.png"
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [picture, depth]


@pytest.mark.parametrize(
    ("drive", "image", "depth_m", "message"),
    [
        ("drive_0002", IMAGE, DEPTH, "drive must begin with its date, .* got 'drive_0002'"),
        (DRIVE, IMAGE[..., 0], DEPTH, r"image must be \(H, W, 3\) uint8, got \(3, 5\) uint8"),
        (DRIVE, IMAGE, DEPTH.T, r"depth_m must be \(3, 5\), as the image, got \(5, 3\)"),
        (DRIVE, IMAGE.astype(np.float32), DEPTH, "image must be uint8, got float32"),
    ],
)
def test_errors(tmp_path, drive, image, depth_m, message):
    with pytest.raises(ValueError, match=message):
        write_kitti_depth(tmp_path, drive, 0, image=image, depth_m=depth_m)
    assert not list(tmp_path.rglob("*.png"))
