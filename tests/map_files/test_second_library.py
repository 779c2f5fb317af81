"""Every file that is written, read by a library that had no part in writing it, against the values."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from stablemtl.outputs import FORMATS, Predictions
from stablemtl.tasks import TASKS
from stablemtl.tasks.semantic import CLASSES

HOLE = (2, 3)


def exr_with_ffmpeg(path: Path, layer: str = "") -> np.ndarray:
    """FFmpeg's own decoder of OpenEXR, no code of ours or of the library OpenEXR: (H, W) or (H, W, 3)."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if layer:
            stream.codec_context.options = {"layer": layer}
        frame = next(container.decode(video=0))
    planes = [
        np.frombuffer(plane, np.float32).reshape(frame.height, -1)[:, : frame.width] for plane in frame.planes
    ]
    if len(planes) == 1:
        return planes[0]
    assert frame.format.name == "gbrpf32le"
    return np.stack([planes[2], planes[0], planes[1]], axis=-1)


def with_nan(maps: Predictions, name: str) -> np.ndarray:
    one = maps[name]
    mask = one.valid if one.values.ndim == 2 else one.valid[:, :, None]
    return np.where(mask, one.values, np.nan).astype(np.float32)


@pytest.mark.parametrize("name", TASKS)
def test_picture(maps: Predictions, tmp_path: Path, name: str) -> None:
    path = maps[name].save(tmp_path / "a.png")
    expected = np.asarray(maps[name].colorize())
    assert (cv2.imread(str(path))[:, :, ::-1] == expected).all()
    assert (iio.imread(path) == expected).all()


@pytest.mark.parametrize("name", TASKS)
def test_npz_and_npy(maps: Predictions, tmp_path: Path, name: str) -> None:
    with np.load(maps[name].save(tmp_path / "a.npz")) as archive:
        values = archive["values"]
    for read in (values, np.load(maps[name].save(tmp_path / "a.npy"))):
        assert read.dtype == maps[name].values.dtype
        assert (read == maps[name].values).all()


@pytest.mark.parametrize("name", TASKS)
def test_sixteen_bit_png(maps: Predictions, tmp_path: Path, name: str) -> None:
    path = maps[name].save(tmp_path / "a.png", bits=16)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    with Image.open(path) as picture:
        facts = json.loads(picture.text["stablemtl"])  # type: ignore[attr-defined]
    if stored.ndim == 3:
        stored = stored[:, :, ::-1][:, :, : facts["channels"]]
    else:
        assert (iio.imread(path) == stored).all()
    values = facts["offset"] + facts["scale"] * stored.astype(np.float64)
    valid = maps[name].valid
    assert np.abs(values[valid] - maps[name].values[valid]).max() <= facts["scale"] / 2 + 1e-6
    assert (stored[HOLE] == 0).all()
    assert facts["unit"] == maps[name].unit


def test_flo(maps: Predictions, tmp_path: Path) -> None:
    flow = maps["optical_flow"]
    read = cv2.readOpticalFlow(str(flow.save(tmp_path / "a.flo")))
    assert (read[flow.valid] == flow.values[flow.valid]).all()
    assert (read[HOLE] == np.float32(1e10)).all()


def test_kitti_flow(maps: Predictions, tmp_path: Path) -> None:
    flow = maps["optical_flow"]
    path = flow.save(tmp_path / "a.png", format="kitti_flow")
    stored = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)  # blue, green, red
    assert stored.dtype == np.uint16
    read = (stored[:, :, :0:-1].astype(np.float64) - 32768) / 64
    assert np.abs(read[flow.valid] - flow.values[flow.valid]).max() <= 1 / 128
    assert (stored[:, :, 0] == flow.valid).all()


def test_palette(maps: Predictions, tmp_path: Path) -> None:
    semantic = maps["semantic"]
    path = semantic.save(tmp_path / "a.png", format="palette")
    with Image.open(path) as picture:
        assert picture.mode == "P"
        indices = np.asarray(picture)
        facts = json.loads(picture.text["stablemtl"])  # type: ignore[attr-defined]
    assert indices.dtype == np.uint8
    assert (indices[semantic.valid] == semantic.values[semantic.valid]).all()
    assert indices[HOLE] == 250
    assert facts["classes"] == {str(i): name for i, name in enumerate(CLASSES)}
    assert facts["no_class"] == 250
    expected = np.asarray(semantic.colorize())
    assert (cv2.imread(str(path))[:, :, ::-1] == expected).all()  # black where there is no class
    assert (iio.imread(path, mode="RGB") == expected).all()


@pytest.mark.parametrize("name", TASKS)
def test_exr_of_one_map(maps: Predictions, tmp_path: Path, name: str) -> None:
    read = exr_with_ffmpeg(maps[name].save(tmp_path / "a.exr"))
    if name == "optical_flow":
        assert (read[:, :, 2] == 0).all()
        read = read[:, :, :2]
    np.testing.assert_array_equal(read, with_nan(maps, name))


@pytest.mark.parametrize("name", ["normal", "scene_flow", "albedo", "shading"])
def test_layers_with_ffmpeg(maps: Predictions, tmp_path: Path, name: str) -> None:
    """It knows no layers of other channels than R, G, B or X, Y, Z or a single Y."""
    path = maps.save(tmp_path, formats="exr") / "maps.exr"
    np.testing.assert_array_equal(exr_with_ffmpeg(path, name), with_nan(maps, name))


def test_layers_with_mitsuba(maps: Predictions, tmp_path: Path) -> None:
    mitsuba = pytest.importorskip("mitsuba")
    path = maps.save(tmp_path, formats="exr") / "maps.exr"
    bitmap = mitsuba.Bitmap(str(path))
    fields = bitmap.struct_()
    read = dict(
        zip((fields[i].name for i in range(len(fields))), np.moveaxis(np.array(bitmap), 2, 0), strict=True)
    )
    channels = {
        "semantic": ["id"],
        "normal": ["X", "Y", "Z"],
        "depth": ["Z"],
        "optical_flow": ["u", "v"],
        "scene_flow": ["X", "Y", "Z"],
        "shading": ["Y"],
        "albedo": ["R", "G", "B"],
    }
    assert set(read) == {f"{name}.{letter}" for name, letters in channels.items() for letter in letters}
    for name, letters in channels.items():
        values = np.stack([read[f"{name}.{letter}"] for letter in letters], axis=-1)
        expected = with_nan(maps, name)
        np.testing.assert_array_equal(values.reshape(expected.shape), expected)
    metadata = bitmap.metadata()
    assert metadata["depth.unit"] == "m"
    assert metadata["normal.convention"] == maps["normal"].convention


def test_point_cloud(maps: Predictions, tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    content = plyfile.PlyData.read(maps.save(tmp_path, formats="ply") / "point_cloud.ply")
    assert (content.byte_order, content.text) == ("<", False)
    vertex = content["vertex"]
    names = [p.name for p in vertex.properties]
    assert names == ["x", "y", "z", "red", "green", "blue", "nx", "ny", "nz"]
    valid = maps["depth"].valid
    assert len(vertex) == valid.sum()
    assert (vertex["z"] == maps["depth"].values[valid]).all()
    rows, columns = np.nonzero(valid)
    focal = 15 / 2 / np.tan(np.radians(30))
    np.testing.assert_allclose(vertex["x"], (columns - 7) / focal * vertex["z"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(vertex["y"], (rows - 4) / focal * vertex["z"], rtol=1e-5, atol=1e-6)
    colours = np.stack([vertex[name] for name in ("red", "green", "blue")], axis=-1)
    assert (colours == np.asarray(maps.frames[0])[valid]).all()
    normals = np.stack([vertex[name] for name in ("nx", "ny", "nz")], axis=-1)
    assert (normals == -maps["normal"].values[valid]).all()
    assert "unit: metres" in content.comments
    assert any("ASSUMED" in comment for comment in content.comments)


def test_contact_sheet(maps: Predictions, tmp_path: Path) -> None:
    path = maps.save(tmp_path, formats="sheet") / "contact_sheet.png"
    assert (cv2.imread(str(path))[:, :, ::-1] == np.asarray(maps.contact_sheet())).all()


def test_every_format_is_read_above() -> None:
    """A new format needs a test here."""
    read = {"picture", "npz", "png16", "flo", "kitti_flow", "palette", "exr", "ply", "sheet"}
    assert set(FORMATS) == read
