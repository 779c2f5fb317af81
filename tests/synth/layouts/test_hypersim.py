from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl.data import Hypersim
from stablemtl.data.formats import read_hdf5
from stablemtl.synth.layouts.hypersim import (
    write_hypersim_cameras,
    write_hypersim_frame,
    write_hypersim_split,
)

SIZE = (4, 6)


def arrays() -> dict[str, Any]:
    """A wall 2 m in front of the camera at (1, 0, 0); world axes are x right, y up, z to the viewer."""
    entity = np.ones(SIZE, int)
    entity[0, 0] = -1
    normal = np.zeros((*SIZE, 3))
    normal[..., 2] = 1
    position = np.tile([1.0, 0.0, -2.0], (*SIZE, 1))
    return {
        "color": np.tile([0.25, 0.5, 0.125], (*SIZE, 1)),
        "reflectance": np.full((*SIZE, 3), 0.5),
        "distance": np.full(SIZE, 2.0) + np.arange(SIZE[1]) / 8,
        "normal_cam": normal,
        "normal_world": normal,
        "position": position,
        "entity": entity,
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = arrays()
    for number in (0, 3):
        write_hypersim_frame(tmp_path, "ai_001_002", "cam_01", number, **given)
    write_hypersim_cameras(tmp_path, "ai_001_002", "cam_01", np.tile([1.0, 0.0, 0.0], (4, 1)))
    rows = [("ai_001_002", "cam_01", number, True, "", "val") for number in (0, 3)]
    rows.insert(1, ("ai_001_002", "cam_01", 1, False, "dark", "val"))
    write_hypersim_split(tmp_path, rows)
    dataset = Hypersim(tmp_path, "val")
    assert [frame.number for frame in dataset.frames] == [0, 3]
    albedo, shading, depth, normal = (dataset.load(1, task) for task in dataset.tasks)
    np.testing.assert_array_equal(albedo.target, np.full((3, *SIZE), 0.5))
    grey = 0.3 * 0.5 + 0.59 * 1.0 + 0.11 * 0.25
    np.testing.assert_allclose(shading.target, np.full((1, *SIZE), grey), atol=1e-5)
    np.testing.assert_array_equal(depth.valid[0], given["entity"] > 0)
    folder = tmp_path / "ai_001_002" / "images" / "scene_cam_01_geometry_hdf5"
    stored = read_hdf5(folder / "frame.0003.depth_meters.hdf5")
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, given["distance"])  # eighths are exact in half floats
    np.testing.assert_allclose(normal.target[:, 1, 1], [0, 0, 1], atol=1e-6)


def test_errors(tmp_path: Path) -> None:
    wrong = {**arrays(), "distance": np.ones((6, 4))}
    with pytest.raises(ValueError, match=r"depth_meters must be \(4, 6\), as entity, got \(6, 4\)"):
        write_hypersim_frame(tmp_path, "ai_001_001", "cam_00", 0, **wrong)
    with pytest.raises(ValueError, match=r"positions must be \(frames, 3\) in metres, got \(3,\)"):
        write_hypersim_cameras(tmp_path, "ai_001_001", "cam_00", np.zeros(3))
    assert list(tmp_path.iterdir()) == []
