"""The binary glTF of a point cloud, taken apart by hand."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stablemtl.app.clouds import draw_cloud, write_glb
from stablemtl.app.prediction import Result
from stablemtl.outputs import Predictions


def test_the_file_holds_points_and_linear_colours(tmp_path: Path) -> None:
    points = np.array([[1, 2, 3], [-1, 0.5, 10], [0, 0, 5]], dtype=np.float32)
    colors = np.array([[0, 128, 255], [255, 0, 0], [10, 20, 30]], dtype=np.uint8)
    path = tmp_path / "cloud.glb"
    write_glb(path, points, colors)
    data = path.read_bytes()
    assert struct.unpack("<4sII", data[:12]) == (b"glTF", 2, len(data))
    length, kind = struct.unpack("<I4s", data[12:20])
    assert (kind, length % 4) == (b"JSON", 0)
    facts = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    body = data[28 + length :]
    assert (kind, size, len(body)) == (b"BIN\0", len(body), facts["buffers"][0]["byteLength"])
    views, (places, shades) = facts["bufferViews"], facts["accessors"]
    primitive = facts["meshes"][0]["primitives"][0]
    assert (primitive["mode"], primitive["attributes"]) == (0, {"POSITION": 0, "COLOR_0": 1})

    start = views[0]["byteOffset"]
    xyz = np.frombuffer(body[start : start + views[0]["byteLength"]], "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(xyz, points * (1, -1, -1))  # y up, looking along -z
    assert (places["count"], places["min"], places["max"]) == (3, [-1, -2, -10], [1, 0, -3])
    start = views[1]["byteOffset"]
    rgba = np.frombuffer(body[start:], "<u2").reshape(-1, 4)
    assert shades["normalized"] is True
    assert (rgba[:, 3] == 65535).all()
    assert tuple(rgba[1, :3]) == (65535, 0, 0)
    assert rgba[0, 1] == pytest.approx(0.21586 * 65535, abs=2)  # sRGB 128 is linear 0.216


@pytest.mark.parametrize("count", [0, 2])
def test_shapes_must_agree(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=r"points and colors must be \(N, 3\)"):
        write_glb(tmp_path / "a.glb", np.zeros((count, 3), np.float32), np.zeros((0, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_the_cloud_of_a_result(result: Result, tmp_path: Path) -> None:
    text = draw_cloud(result, tmp_path / "cloud.glb")
    assert re.match(r"\d+ points in metres\. The camera is assumed to see 60 degrees", text)
    assert (tmp_path / "cloud.glb").stat().st_size > 20 * int(text.split()[0])


def test_no_depth_gives_no_cloud(result: Result, tmp_path: Path) -> None:
    normals = Predictions({"normal": result.predictions["normal"]})
    with pytest.raises(ValueError, match="no 3D view: depth was not predicted"):
        draw_cloud(replace(result, predictions=normals), tmp_path / "cloud.glb")
    bent = Predictions({"depth": replace(result.predictions["depth"], shift_known=False)})
    with pytest.raises(ValueError, match="no 3D view: its zero is unknown"):
        draw_cloud(replace(result, predictions=bent), tmp_path / "cloud.glb")
    assert not list(tmp_path.iterdir())
