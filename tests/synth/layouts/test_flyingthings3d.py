from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl.data import FlyingThings3D
from stablemtl.data.formats import read_rgb
from stablemtl.synth.layouts.flyingthings3d import write_things_pair

SIZE = (6, 8)


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "image_next": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "disparity": rng.uniform(1, 4, SIZE).astype(np.float32),
        "disparity_change": rng.uniform(-0.5, 0.5, SIZE).astype(np.float32),
        "flow": rng.uniform(-3, 3, (*SIZE, 2)).astype(np.float32),
        "occluded": rng.random(SIZE) < 0.3,
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = arrays()
    write_things_pair(tmp_path, "val", 12, **given)
    dataset = FlyingThings3D(tmp_path, "val")
    assert dataset.frames == [12]
    flow, motion = dataset.load(0, "optical_flow"), dataset.load(0, "scene_flow")
    np.testing.assert_array_equal(flow.target.numpy().transpose(1, 2, 0), given["flow"])
    assert flow.image_next is not None
    for image, expected in ((flow.image, given["image"]), (flow.image_next, given["image_next"])):
        np.testing.assert_allclose(image.numpy().transpose(1, 2, 0) * 255, expected, atol=1e-4)
    focal = 1050 / 960 * 8  # z = f / disparity, positive disparities in
    near = focal / (given["disparity"] + given["disparity_change"]) - focal / given["disparity"]
    np.testing.assert_allclose(motion.target[2], near, rtol=1e-3, atol=1e-3)
    hidden = read_rgb(tmp_path / "val" / "flow_occlusions" / "left" / "into_future" / "0000012.png")
    np.testing.assert_array_equal(hidden[..., 0], np.where(given["occluded"], 255, 0))


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"flow must be \(6, 8, 2\), as disparity, got \(8, 6, 2\)"):
        write_things_pair(tmp_path, "val", 0, **{**arrays(), "flow": np.zeros((8, 6, 2))})
    assert list(tmp_path.iterdir()) == []
