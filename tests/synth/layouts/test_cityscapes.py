"""What the writer refuses; what it writes is read back in ``tests/data/test_cityscapes.py``."""

from __future__ import annotations

import numpy as np
import pytest

from stablemtl.synth.layouts.cityscapes import write_cityscapes

IMAGE = np.zeros((3, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "label_ids", "message"),
    [
        (IMAGE[..., 0], IMAGE[..., 0], r"image must be \(H, W, 3\) uint8, got \(3, 5\) uint8"),
        (IMAGE, IMAGE, r"label_ids must be \(3, 5\) uint8, as the image, got \(3, 5, 3\) uint8"),
        (IMAGE, IMAGE[..., 0].T, r"label_ids must be \(3, 5\) uint8, as the image, got \(5, 3\) uint8"),
        (IMAGE, IMAGE[..., 0].astype(np.int64), r"label_ids must be .* got \(3, 5\) int64"),
        (IMAGE.astype(np.float32), IMAGE[..., 0], "image must be uint8, got float32"),
    ],
)
def test_errors(tmp_path, image, label_ids, message):
    with pytest.raises(ValueError, match=message):
        write_cityscapes(tmp_path, "ulm", 0, image=image, label_ids=label_ids)
    assert not list(tmp_path.rglob("*.png"))
