"""Folders of maps: which files there are, what maps.json says of them, and reading back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stablemtl import __version__
from stablemtl.map_files.formats import DEFAULT_FORMATS, FORMATS
from stablemtl.map_files.layers import read_exr_layers, write_exr_layers, write_exr_map
from stablemtl.map_files.palette import write_palette
from stablemtl.outputs import Prediction, Predictions, prediction_files, read_predictions
from stablemtl.point_cloud import Camera
from stablemtl.tasks import TASKS


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def relative_depth(maps: Predictions) -> Prediction:
    return replace(maps["depth"], unit="relative", scale_known=False, shift_known=False)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ("npz", {f"{name}.npz" for name in TASKS}),
        (["picture"], {f"{name}.png" for name in TASKS}),
        (["png16", "flo"], {"depth_16bit.png", "shading_16bit.png", "optical_flow.flo"}),
        (["kitti_flow", "palette"], {"optical_flow_kitti.png", "semantic_palette.png"}),
        (["exr", "ply", "sheet", "exr"], {"maps.exr", "point_cloud.ply", "contact_sheet.png"}),
    ],
)
def test_formats_are_written_where_they_apply(
    maps: Predictions, tmp_path: Path, formats: str | list[str], expected: set[str]
) -> None:
    assert names(maps.save(tmp_path / "maps", formats=formats)) == expected | {"maps.json"}


def test_formats_that_apply_to_nothing(maps: Predictions, tmp_path: Path) -> None:
    two = Predictions({name: maps[name] for name in ("depth", "normal")})
    for formats, message in (
        (
            ["npz", "flo"],
            r"'flo' applies to none of the maps \(depth: flow has two channels in px, this has 1",
        ),
        ("palette", "depth: it holds no class ids; normal: it holds no class ids"),
        ("tiff", "unknown format 'tiff'; choose from exr, flo"),
        ([], "formats is empty; choose from picture, npz"),
    ):
        with pytest.raises(ValueError, match=message):
            two.save(tmp_path / "maps", formats=formats)
    with pytest.raises(ValueError, match=r"its zero is unknown.*scale_from_points"):
        Predictions({"depth": relative_depth(maps)}).save(tmp_path / "maps", formats="ply")
    fast = replace(maps["optical_flow"], values=maps["optical_flow"].values * 100)
    with pytest.raises(ValueError, match="it ends at 512 px, the values run from -1"):
        Predictions({"optical_flow": fast}).save(tmp_path / "maps", formats="kitti_flow")
    with pytest.raises(ValueError, match="as KITTI's PNG: it ends at 512 px"):
        fast.save(tmp_path / "a.png", format="kitti_flow")
    assert names(tmp_path) == set()
    assert "maps.json" in names(two.save(tmp_path / "maps"))  # the default leaves out what does not apply


def test_names_of_files(maps: Predictions) -> None:
    assert prediction_files(maps["depth"]) == ["depth.png", "depth.npz", "depth_16bit.png"]
    assert prediction_files(maps["semantic"], ["npz", "palette"]) == ["semantic.npz", "semantic_palette.png"]
    assert set(DEFAULT_FORMATS) < set(FORMATS)


def test_sidecar(maps: Predictions, tmp_path: Path) -> None:
    camera = Camera(20.0, 21.0, 7.0, 4.0, (9, 15))
    folder = maps.save(tmp_path, formats=list(FORMATS), camera=camera)
    content = json.loads((folder / "maps.json").read_text(encoding="utf-8"))
    assert (content["kind"], content["kind_version"]) == ("stablemtl maps", 1)
    assert content["stablemtl"] == __version__
    assert content["source"] == {"model": "nano", "inputs": ["street.jpg"]}
    assert list(content["maps"]) == list(TASKS)
    depth = content["maps"]["depth"]
    assert depth["files"] == {"picture": "depth.png", "npz": "depth.npz", "png16": "depth_16bit.png"}
    assert (depth["shape"], depth["dtype"], depth["unit"]) == ([9, 15], "float32", "m")
    assert (depth["scale_known"], depth["shift_known"]) == (True, True)
    assert depth["convention"] == maps["depth"].convention
    assert depth["range"] == pytest.approx(maps["depth"].range)
    assert depth["valid_share"] == pytest.approx(134 / 135)
    assert depth["encoding"] == maps["depth"].encoding
    assert depth["note"] == "a note, with °"
    semantic = content["maps"]["semantic"]
    assert (semantic["dtype"], semantic["range"]) == ("int64", [0, 7])
    assert semantic["classes"][0] == "road"
    assert "classes" not in depth
    assert content["files"] == {"exr": "maps.exr", "ply": "point_cloud.ply", "sheet": "contact_sheet.png"}
    assert content["point_cloud"]["camera"] == {**camera.facts(), "assumed": False}
    assert content["point_cloud"]["points"] == 134
    listed = {name for entry in content["maps"].values() for name in entry["files"].values()}
    assert names(folder) == listed | set(content["files"].values()) | {"maps.json"}


def test_sidecar_of_odd_things(maps: Predictions, tmp_path: Path) -> None:
    nothing = replace(maps["depth"], valid=np.zeros((9, 15), bool))
    source = {"inputs": (Path("a/b.png"),), "seconds": float("nan"), "sizes": {1: (2, 3)}}
    Predictions({"depth": nothing}, source=source).save(tmp_path, formats="npz")
    content = json.loads((tmp_path / "maps.json").read_text())
    assert content["source"] == {"inputs": [str(Path("a/b.png"))], "seconds": None, "sizes": {"1": [2, 3]}}
    assert content["maps"]["depth"]["range"] is None
    assert content["maps"]["depth"]["valid_share"] == 0


def test_assumed_camera_is_said(maps: Predictions, tmp_path: Path) -> None:
    maps.save(tmp_path, formats="ply")
    cloud = json.loads((tmp_path / "maps.json").read_text())["point_cloud"]
    assert cloud["camera"]["assumed"] is True
    assert (cloud["unit"], cloud["scale_known"]) == ("m", True)


def test_read_back(maps: Predictions, tmp_path: Path) -> None:
    back = read_predictions(maps.save(tmp_path))
    assert list(back) == list(TASKS)
    assert back.source == maps.source
    for name, one in maps.items():
        assert (back[name].values == one.values).all()
        assert (back[name].valid == one.valid).all()
        assert back[name].facts() == one.facts()
    (tmp_path / "maps.json").unlink()
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    back = read_predictions(tmp_path)
    assert list(back) == list(TASKS)
    assert back.source == {}


def test_what_cannot_be_read_back(maps: Predictions, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_predictions(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds neither maps\.json nor the \.npz of a map"):
        read_predictions(tmp_path)
    maps.save(tmp_path, formats="picture")
    with pytest.raises(ValueError, match=r"lists no \.npz of 'semantic'"):
        read_predictions(tmp_path)
    maps.save(tmp_path, formats="npz")
    (tmp_path / "depth.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"depth\.npz"):
        read_predictions(tmp_path)
    for text, message in (
        ("{", "does not describe maps: JSONDecodeError"),
        ("[]", "does not describe maps"),
        ('{"kind": "x", "kind_version": 1, "maps": {}, "source": {}}', "must be of kind 'stablemtl maps'"),
    ):
        (tmp_path / "maps.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_predictions(tmp_path)


# layers -----------------------------------------------------------------------------------------------------


def test_layers_come_back_as_maps(maps: Predictions, tmp_path: Path) -> None:
    write_exr_layers(tmp_path / "a.exr", maps)
    back = read_exr_layers(tmp_path / "a.exr")
    assert set(back) == set(TASKS)
    for name, one in maps.items():
        assert back[name].values.dtype == one.values.dtype
        assert (back[name].valid == one.valid).all()
        assert (back[name].values[one.valid] == one.values[one.valid]).all()
        assert back[name].facts() == one.facts()


def test_layer_errors(maps: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    small = replace(maps["depth"], values=np.ones((2, 3), np.float32), valid=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"must have one size, \(height, width\), got"):
        write_exr_layers(path, {"depth": small, "normal": maps["normal"]})
    with pytest.raises(ValueError, match="must have one size"):
        write_exr_layers(path, {})
    with pytest.raises(ValueError, match=r"up to 31 letters, got 'a{40}\.Z'"):
        write_exr_layers(path, {"a" * 40: maps["depth"]})
    wide = replace(maps["albedo"], values=np.zeros((9, 15, 4), np.float32))
    with pytest.raises(ValueError, match="'albedo' has 4 channels; an EXR layer holds 1 to 3"):
        write_exr_layers(path, {"albedo": wide})
    with pytest.raises(ValueError, match="holds 1 to 3 channels, 'albedo' has 4"):
        write_exr_map(path, wide)
    assert names(tmp_path) == set()
    with pytest.raises(FileNotFoundError, match="no file"):
        read_exr_layers(path)
    write_exr_map(path, maps["depth"])
    with pytest.raises(ValueError, match="is not an EXR file of maps written by save"):
        read_exr_layers(path)


def test_palette_errors(maps: Predictions, tmp_path: Path) -> None:
    many = replace(maps["semantic"], values=maps["semantic"].values + 300)
    with pytest.raises(ValueError, match="indices are 0 to 255, the class ids 30"):
        write_palette(tmp_path / "a.png", many)
