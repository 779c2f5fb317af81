"""Label files of each task: what has to be declared, and what becomes of the numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stablemtl.data.formats import write_flo, write_kitti_flow, write_pfm, write_png16, write_rgb
from stablemtl.data.own.labels import LABEL_FILES, label_files, read_units
from stablemtl.data.own.values import Label
from stablemtl.tasks import TASKS


def read(task: str, path: Path, **options: Any) -> Label:
    """The label, after a check that the options are all that is needed."""
    files = label_files(task)
    assert path.suffix in files.suffixes
    assert files.undeclared(options, path.suffix) == ""
    return files.read(path, options)


def npy(path: Path, values: Any, dtype: Any = np.float32) -> Path:
    np.save(path / "a.npy", np.array(values, dtype))
    return path / "a.npy"


# semantic -------------------------------------------------------------------------------------------------


def test_class_ids(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.png", np.array([[7, 26, 0], [7, 99, 23]], np.uint8))
    ids, valid = read(
        "semantic", tmp_path / "a.png", ids={7: "road", 26: "vehicle", 23: "sky", 99: "ignore", 1: "pole"}
    )
    assert ids.tolist() == [[0, 7, 250], [0, 250, 6]]
    assert ids.dtype == np.int64
    assert valid.tolist() == [[True, True, False], [True, False, True]]


def test_palette_indices_are_ids(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([9, 9, 9, 128, 64, 128])
    picture.save(tmp_path / "a.png")
    assert read("semantic", tmp_path / "a.png", ids={1: "road"})[0].tolist() == [[250, 0]]
    assert read("semantic", tmp_path / "a.png", colours={0x804080: "road"})[0].tolist() == [[250, 0]]


def test_class_colours(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.png", np.array([[[128, 64, 128], [128, 64, 129], [70, 130, 180]]], np.uint8))
    ids, valid = read("semantic", tmp_path / "a.png", colours={0x804080: "road", 0x4682B4: "sky"})
    assert ids.tolist() == [[0, 250, 6]]
    assert valid.tolist() == [[True, False, True]]
    with pytest.raises(ValueError, match=r"a.png holds colours, not ids: declare them in \[semantic.colours"):
        read("semantic", tmp_path / "a.png", ids={7: "road"})
    with pytest.raises(ValueError, match=r"a.npy must hold \(H, W, 3\), got \(1, 2\)"):
        read("semantic", npy(tmp_path, [[7, 8]], np.uint8), colours={7: "road"})


def test_class_ids_are_integers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.npy must hold integers, the ids of classes, got float32"):
        read("semantic", npy(tmp_path, [[7, 26]]), ids={7: "road"})


# normal ---------------------------------------------------------------------------------------------------

FLOOR = {
    ("opencv", "away"): (0, 1, 0),
    ("opencv", "camera"): (0, -1, 0),
    ("opengl", "away"): (0, -1, 0),
    ("opengl", "camera"): (0, 1, 0),
}
WALL = {
    ("opencv", "away"): (0, 0, 1),
    ("opencv", "camera"): (0, 0, -1),
    ("opengl", "away"): (0, 0, -1),
    ("opengl", "camera"): (0, 0, 1),
}


@pytest.mark.parametrize(("axes", "facing"), FLOOR)
def test_normals_of_any_convention(tmp_path: Path, axes: str, facing: str) -> None:
    stored = [[FLOOR[axes, facing], WALL[axes, facing], (0.9, 0, 0)]]
    normals, valid = read("normal", npy(tmp_path, stored), axes=axes, facing=facing)
    right = 1 if facing == "away" else -1
    assert normals.tolist() == [[[0, 1, 0], [0, 0, 1], [right, 0, 0]]]  # of unit length
    assert valid.all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_normals_in_integers(tmp_path: Path, dtype: type) -> None:
    full = np.iinfo(dtype).max
    half = (full + 1) // 2
    pixels = np.array([[[full, half, half], [0, 0, 0], [half, half, half]]], dtype)
    path = tmp_path / "a.png"
    (write_rgb if dtype == np.uint8 else write_png16)(path, pixels)
    normals, valid = read("normal", path, axes="opencv", facing="away")
    assert normals[0, 0] == pytest.approx((1, 0, 0), abs=0.006)
    assert valid.tolist() == [[True, False, False]]  # black and grey are no normals


def test_normals_far_from_unit_length_are_not_valid(tmp_path: Path) -> None:
    stored = [[(0, 0, 0.4), (0, 0, 1.6), (np.nan, 0, 1), (0, 0, 1)]]
    _, valid = read("normal", npy(tmp_path, stored), axes="opencv", facing="away", invalid=(0.0,))
    assert valid.tolist() == [[False, False, False, True]]
    with pytest.raises(ValueError, match=r"must hold floats, or integers of type uint8 or uint16, got int32"):
        read("normal", npy(tmp_path, [[(0, 0, 1)]], np.int32), axes="opencv", facing="away")


# depth ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "metres"), [("m", 1500), ("cm", 15), ("mm", 1.5), ("km", 1.5e6)])
def test_planar_depth(tmp_path: Path, unit: str, metres: float) -> None:
    write_png16(tmp_path / "a.png", np.array([[1500, 0, 65535]], np.uint16))
    depth, valid = read("depth", tmp_path / "a.png", kind="planar", unit=unit, invalid=(65535.0,))
    assert depth[0, 0] == pytest.approx(metres)
    assert valid.tolist() == [[True, False, False]]


def test_scale_of_depth(tmp_path: Path) -> None:
    write_png16(tmp_path / "a.png", np.array([[512, 256]], np.uint16))
    depth, _ = read("depth", tmp_path / "a.png", kind="planar", unit="m", scale=1 / 256)
    assert depth.tolist() == [[2.0, 1.0]]


def test_distance_along_the_ray(tmp_path: Path) -> None:
    write_pfm(tmp_path / "a.pfm", np.full((3, 9), 5.0, np.float32))
    depth, valid = read("depth", tmp_path / "a.pfm", kind="distance", unit="m", focal_px=3.0)
    assert depth[1, 4] == pytest.approx(5.0)  # in the middle
    assert depth[1, 8] == pytest.approx(5.0 * 3 / 5)  # 4 px beside it: a triangle of 3, 4, 5
    assert depth[0, 4] == pytest.approx(5.0 * 3 / math.sqrt(10))
    assert valid.all()
    moved, _ = read(
        "depth", tmp_path / "a.pfm", kind="distance", unit="m", focal_px=3.0, center_px=(0.0, 2.0)
    )
    assert moved[2, 4] == pytest.approx(3.0)
    assert moved[2, 0] == pytest.approx(5.0)


def test_disparity(tmp_path: Path) -> None:
    stored = [[10.0, 0.0, np.nan, np.inf, -2.0]]
    path = npy(tmp_path, stored)
    depth, valid = read("depth", path, kind="disparity", focal_px=100.0, baseline_m=0.2)
    assert depth[0, 0] == pytest.approx(2.0)
    assert valid.tolist() == [[True, False, False, False, False]]
    nearer, _ = read("depth", path, kind="disparity", focal_px=100.0, baseline_m=0.2, offset_px=30.0)
    assert nearer[0, 0] == pytest.approx(0.5)
    _, none = read("depth", path, kind="disparity", focal_px=100.0, baseline_m=0.2, offset_px=-10.0)
    assert not none.any()


def test_depth_has_one_channel(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.png", np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a.png must hold \(H, W\), got \(2, 4, 3\)"):
        read("depth", tmp_path / "a.png", kind="planar", unit="m")


# motion ---------------------------------------------------------------------------------------------------


def test_optical_flow_of_formats_that_say_what_they_hold(tmp_path: Path) -> None:
    flow = np.array([[[1.5, -2.0], [1e10, 0.0], [np.nan, 1.0]]], np.float32)
    write_flo(tmp_path / "a.flo", flow)
    values, valid = read("optical_flow", tmp_path / "a.flo")
    assert valid.tolist() == [[True, False, False]]
    assert values.tolist() == [[[1.5, -2.0], [0.0, 0.0], [0.0, 0.0]]]
    write_kitti_flow(tmp_path / "a.png", flow, valid)
    values, kitti_valid = read("optical_flow", tmp_path / "a.png", encoding="kitti")
    assert values[0, 0].tolist() == [1.5, -2.0]
    assert kitti_valid.tolist() == valid.tolist()


def test_optical_flow_in_arrays(tmp_path: Path) -> None:
    path = npy(tmp_path, [[[1.0, -2.0], [99.0, 99.0], [99.0, 1.0]]])
    values, valid = read("optical_flow", path, unit="px", scale=2.0, invalid=(99.0,))
    assert values[0, 0].tolist() == [2.0, -4.0]
    assert valid.tolist() == [[True, False, True]]  # all channels must be the number that means nothing
    write_pfm(tmp_path / "a.pfm", np.array([[[1.0, -2.0, 7.0]]], np.float32))
    assert read("optical_flow", tmp_path / "a.pfm", unit="px")[0].tolist() == [[[1.0, -2.0]]]
    with pytest.raises(ValueError, match=r"must hold \(H, W, 2\), got \(1, 1, 3\)"):
        read("optical_flow", npy(tmp_path, [[[1.0, 2.0, 3.0]]]), unit="px")


def test_scene_flow(tmp_path: Path) -> None:
    path = npy(tmp_path, [[[10.0, 20.0, -30.0], [np.inf, 0, 0]]])
    values, valid = read("scene_flow", path, unit="cm", axes="opencv")
    assert values[0, 0] == pytest.approx((0.1, 0.2, -0.3))
    assert valid.tolist() == [[True, False]]
    values, _ = read("scene_flow", path, unit="m", axes="opengl", scale=0.1)
    assert values[0, 0] == pytest.approx((1.0, -2.0, 3.0))


# light ----------------------------------------------------------------------------------------------------


def test_albedo_is_linear(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.png", np.array([[[255, 188, 5], [9, 9, 9]]], np.uint8))
    linear, valid = read("albedo", tmp_path / "a.png", space="linear", invalid=(9.0,))
    assert linear[0, 0] == pytest.approx((1, 188 / 255, 5 / 255))
    assert valid.tolist() == [[True, False]]
    values, _ = read("albedo", tmp_path / "a.png", space="srgb")
    # 188 is half of the light in sRGB; below 0.04045 the curve is a line of slope 1 / 12.92.
    assert values[0, 0] == pytest.approx((1.0, 0.5029, 5 / 255 / 12.92), abs=1e-4)
    with pytest.raises(ValueError, match=r"must hold \(H, W, 3\), got \(1, 2\)"):
        read("albedo", npy(tmp_path, [[0.5, 0.5]]), space="linear")


def test_shading_is_grey(tmp_path: Path) -> None:
    grey, valid = read("shading", npy(tmp_path, [[0.25, np.nan, -0.5]]), space="linear")
    assert grey.tolist() == [[0.25, 0.0, -0.5]]
    assert valid.tolist() == [[True, False, True]]
    colours, _ = read("shading", npy(tmp_path, [[[1.0, 0.5, 0.0]]]), space="linear")
    assert colours.shape == (1, 1)
    assert colours[0, 0] == pytest.approx(0.3 + 0.59 / 2)
    srgb, _ = read("shading", npy(tmp_path, [[0.5, -0.5]]), space="srgb")
    assert srgb[0] == pytest.approx((0.21404, -0.5 / 12.92), abs=1e-5)


# declarations ---------------------------------------------------------------------------------------------


def test_every_task_has_an_entry() -> None:
    assert list(LABEL_FILES) == list(TASKS)


@pytest.mark.parametrize(
    ("task", "suffix", "options", "missing"),
    [
        ("semantic", ".png", {}, 'ids = { 7 = "road", 26 = "vehicle" }'),
        ("semantic", ".png", {"colours": {1: "road"}}, ""),
        (
            "normal",
            ".npy",
            {},
            'axes = "opencv" or "opengl", and facing = "away" or "camera"',
        ),
        (
            "depth",
            ".png",
            {},
            'kind = "planar", "distance" or "disparity", and unit = "m", "cm", "mm" or "km"',
        ),
        ("depth", ".png", {"unit": "m", "kind": "planar"}, ""),
        ("depth", ".png", {"unit": "m", "kind": "distance"}, "focal_px = a number above 0"),
        (
            "depth",
            ".png",
            {"kind": "disparity"},
            "focal_px = a number above 0, and baseline_m = a number above 0",
        ),
        ("optical_flow", ".flo", {}, ""),
        ("optical_flow", ".png", {"unit": "px"}, 'encoding = "kitti"'),
        ("optical_flow", ".npy", {"encoding": "kitti"}, 'unit = "px"'),
        (
            "scene_flow",
            ".npy",
            {},
            'unit = "m", "cm", "mm" or "km", and axes = "opencv" or "opengl"',
        ),
        ("shading", ".png", {}, 'space = "linear" or "srgb"'),
        ("albedo", ".exr", {}, 'space = "linear" or "srgb"'),
    ],
)
def test_what_has_to_be_declared(task: str, suffix: str, options: dict[str, Any], missing: str) -> None:
    assert label_files(task).undeclared(options, suffix) == missing


def test_units(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text('[depth]\nunit = "mm"\nkind = "planar"\n[semantic.ids]\n7 = "road"\n')
    assert read_units(path) == (
        {"depth": {"unit": "mm", "kind": "planar"}, "semantic": {"ids": {7: "road"}}},
        [],
    )


def test_wrong_units_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(
        'normal = "opencv"\n'
        '[depht]\nunit = "m"\n'
        '[depth]\nkind = "disparity"\nunit = "m"\nfoo = 1\n'
        '[shading]\nspace = "gamma"\n'
        '[semantic]\nids = { 7 = "road" }\ncolours = { "#000000" = "sky" }\n'
    )
    assert read_units(path)[1] == [
        "normal must be a table, [normal] with keys below it, got 'opencv'.",
        "unknown table [depht]: did you mean 'depth'?",
        "[depth] unknown key 'foo': choose from kind, unit, scale, focal_px, center_px, baseline_m, "
        "offset_px, array, invalid.",
        '[shading] space must be "linear" or "srgb", got \'gamma\'.',
        "[semantic] must have ids or colours, got both.",
        "[depth] a disparity is in pixels: leave unit out, or write another kind.",
    ]


def test_a_task_of_ones_own_takes_arrays_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "foreground", TASKS["shading"])  # one channel
    values, valid = read("foreground", npy(tmp_path, [[0.5, np.nan]]))
    assert values.tolist() == [[0.5, 0.0]]
    assert valid.tolist() == [[True, False]]
    assert "scale = the value of one stored step" in label_files("foreground").undeclared({}, ".png")
    write_png16(tmp_path / "a.png", np.array([[4, 0]], np.uint16))
    assert read("foreground", tmp_path / "a.png", scale=0.25)[0].tolist() == [[1.0, 0.0]]
