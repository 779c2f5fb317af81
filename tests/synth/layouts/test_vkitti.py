from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl.data import VirtualKITTI2
from stablemtl.synth.layouts.vkitti import write_vkitti_frame, write_vkitti_intrinsics

SIZE = (5, 9)


def arrays(number: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    depth = np.round(rng.uniform(1, 79, SIZE), 2)
    depth[0] = np.inf
    classes = np.tile(np.array([100, 60, 100], np.uint8), (*SIZE, 1))
    classes[0] = (90, 200, 255)
    valid = np.isfinite(depth)
    valid[2, 3] = False
    return {
        "image": np.full((*SIZE, 3), 40 + number, np.uint8),
        "depth_m": depth,
        "classes_rgb": classes,
        "flow": rng.uniform(-3, 3, (*SIZE, 2)),
        "flow_valid": valid,
        "scene_flow": rng.uniform(-9, 9, (*SIZE, 3)),
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first = arrays()
    last = {key: value for key, value in arrays(1).items() if "flow" not in key}
    write_vkitti_frame(tmp_path, "Scene06", "sunset", 1, 7, **first)
    write_vkitti_frame(tmp_path, "Scene06", "sunset", 1, 8, **last)
    rows = [(number, 1, 7.5, 7.25, 4.0, 2.0) for number in (7, 8)]
    write_vkitti_intrinsics(tmp_path, "Scene06", "sunset", rows)
    dataset = VirtualKITTI2(tmp_path)
    assert [(frame.camera, frame.number) for frame in dataset.frames] == [("Camera_1", 7), ("Camera_1", 8)]
    assert list(dataset.indices("optical_flow")) == [0]
    assert dataset.intrinsics(dataset.frames[0], SIZE) == (7.5, 7.25, 4.0, 2.0)
    depth, classes = dataset.load(0, "depth"), dataset.load(0, "semantic")
    np.testing.assert_array_equal(depth.valid[0], np.isfinite(first["depth_m"]))
    np.testing.assert_allclose(depth.target[0, 1:], first["depth_m"][1:], rtol=1e-6)  # whole centimetres
    assert classes.target[0, 0].tolist() == [6] * 9
    assert classes.target[0, 1].tolist() == [0] * 9
    flow, motion = dataset.load(0, "optical_flow"), dataset.load(0, "scene_flow")
    here = first["flow_valid"]
    np.testing.assert_array_equal(flow.valid[0], here)
    np.testing.assert_array_equal(motion.valid[0], here)
    steps = np.array([8, 4]) / 65535  # half a step: (W - 1) / 65535 and (H - 1) / 65535
    apart = np.abs(flow.target.numpy().transpose(1, 2, 0) - first["flow"])[here]
    assert (apart <= steps * 1.01 + 1e-6).all()
    apart = np.abs(motion.target.numpy().transpose(1, 2, 0) - first["scene_flow"])[here]
    assert apart.max() <= 10 / 65535 * 1.01 + 1e-6


def test_what_the_format_cannot_hold_is_not_valid(tmp_path: Path) -> None:
    given = arrays()
    given["flow"][1, 0] = (8.0, 0)  # as wide as the picture
    given["flow"][1, 1] = (0, -4.5)
    given["scene_flow"][1, 2] = (0, 0, 10.0)
    given["flow"][1, 4] = (7.99, -3.99)
    write_vkitti_frame(tmp_path, "Scene02", "clone", 0, 0, **{**given, "flow_valid": None})
    write_vkitti_frame(tmp_path, "Scene02", "clone", 0, 1, **arrays(1))
    valid = VirtualKITTI2(tmp_path).load(0, "optical_flow").valid[0]
    assert valid[1].tolist() == [False, False, False] + [True] * 6
    assert valid[2:].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": None}, "flow and scene_flow must come together"),
        ({"image": np.zeros((9, 5, 3), np.uint8)}, r"image must be \(5, 9, 3\), as depth_m, got \(9, 5, 3\)"),
        ({"flow": np.zeros((*SIZE, 3))}, r"flow must be \(5, 9, 2\), as depth_m, got \(5, 9, 3\)"),
    ],
)
def test_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_vkitti_frame(tmp_path, "Scene02", "clone", 0, 0, **{**arrays(), **change})
    assert list(tmp_path.iterdir()) == []
