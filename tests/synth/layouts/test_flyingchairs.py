from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stablemtl.data import FlyingChairs
from stablemtl.synth.layouts.flyingchairs import write_chairs_pair, write_chairs_split

SIZE = (3, 5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, image_next = rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    flow = rng.uniform(-9, 9, (*SIZE, 2)).astype(np.float32)
    write_chairs_pair(tmp_path, 4, image=image, image_next=image_next, flow=flow)
    write_chairs_split(tmp_path, [1, 0, 1, 2])
    dataset = FlyingChairs(tmp_path, "val")
    assert dataset.frames == [4]
    sample = dataset.load(0, "optical_flow")
    np.testing.assert_array_equal(sample.target.numpy().transpose(1, 2, 0), flow)
    assert sample.image_next is not None
    for found, expected in ((sample.image, image), (sample.image_next, image_next)):
        np.testing.assert_allclose(found.numpy().transpose(1, 2, 0) * 255, expected, atol=1e-4)


def test_errors(tmp_path: Path) -> None:
    image, flow = np.zeros((*SIZE, 3), np.uint8), np.zeros((5, 3, 2))
    with pytest.raises(ValueError, match=r"image must be \(5, 3, 3\), as flow, got \(3, 5, 3\)"):
        write_chairs_pair(tmp_path, 1, image=image, image_next=image, flow=flow)
    assert list(tmp_path.iterdir()) == []
