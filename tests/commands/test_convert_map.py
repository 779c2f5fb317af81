"""`stablemtl convert map`: files, names, values and complaints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl.cli import main
from stablemtl.conversions import linear_to_srgb, normals_to_opengl, scale_from_points
from stablemtl.data.formats import read_flo, read_kitti_flow
from stablemtl.map_files.layers import read_exr_layers
from stablemtl.outputs import Prediction, Predictions, read_png16_values, read_prediction
from stablemtl.tasks import TASKS, build_task

H, W = 9, 15
IN_PX = {"encoding": "calibrated", "scale_px": 16.0}


@pytest.fixture
def maps(tmp_path: Path) -> Predictions:
    """All tasks in the published encodings, flow in px, saved as .npz in ``maps``."""
    generator = np.random.default_rng(0)
    found = {}
    for name in TASKS:
        task = build_task(name, **(IN_PX if name == "optical_flow" else {}))
        image = torch.from_numpy(generator.uniform(-1, 1, (1, 3, H, W)).astype(np.float32))
        found[name] = Prediction.from_tensor(task, task.decode(image))
    predictions = Predictions(found)
    predictions.save(tmp_path / "maps", formats="npz")
    return predictions


def convert(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[Path]:
    """Files that the command says it has written."""
    status = main(["convert", "map", *map(str, arguments)])
    told = capsys.readouterr()
    assert (status, told.err) == (0, "")
    return [Path(line) for line in told.out.splitlines() if not line.startswith("depth [m]")]


Told = pytest.CaptureFixture[str]


def test_one_map_to_other_files(maps: Predictions, tmp_path: Path, capsys: Told) -> None:
    folder = tmp_path / "maps"
    (path,) = convert(capsys, folder / "depth.npz", "--to", ".npy")
    assert path == folder / "depth.npy"
    assert (np.load(path) == maps["depth"].values).all()
    (path,) = convert(capsys, folder / "normal.npz", "--to", "PNG16", "--out", tmp_path / "new")
    assert path == tmp_path / "new" / "normal_16bit.png"
    assert np.abs(read_png16_values(path) - maps["normal"].values).max() < 1e-4
    (path,) = convert(capsys, folder / "semantic.npz", "--to", "palette")
    with Image.open(path) as picture:
        assert (np.asarray(picture) == maps["semantic"].values).all()
    (path,) = convert(capsys, folder / "optical_flow.npz", "--to", "kitti_flow")
    assert np.abs(read_kitti_flow(path)[0] - maps["optical_flow"].values).max() <= 1 / 128
    (path,) = convert(capsys, folder / "albedo.npz", "--to", "exr")
    assert path == folder / "albedo.exr"
    (path,) = convert(capsys, folder / "albedo.npz", "--to", "picture")
    with Image.open(path) as picture:
        assert (np.asarray(picture) == np.asarray(maps["albedo"].colorize())).all()


def test_a_folder(maps: Predictions, tmp_path: Path, capsys: Told) -> None:
    (path,) = convert(capsys, tmp_path / "maps", "--to", "exr")
    assert path == tmp_path / "maps" / "maps.exr"
    layers = read_exr_layers(path)
    assert set(layers) == set(TASKS)
    assert all((layers[name].values == maps[name].values).all() for name in TASKS)
    (path,) = convert(capsys, tmp_path / "maps", "--to", "flo")  # of the only map that it can hold
    assert (read_flo(path) == maps["optical_flow"].values).all()
    paths = convert(capsys, tmp_path / "maps", "--to", "png", "--out", tmp_path / "pictures")
    assert [path.name for path in paths] == [f"{name}.png" for name in TASKS]


def test_conventions_add_to_the_name(maps: Predictions, tmp_path: Path, capsys: Told) -> None:
    folder = tmp_path / "maps"
    (path,) = convert(capsys, folder / "normal.npz", "--to", "npz", "--normals", "opengl")
    assert path.name == "normal_opengl.npz"
    assert (read_prediction(path).values == normals_to_opengl(maps["normal"].values)).all()
    assert "OpenGL" in read_prediction(path).convention
    (path,) = convert(capsys, path, "--to", "npz", "--normals", "opencv", "--out", tmp_path)
    assert (read_prediction(path).values == maps["normal"].values).all()
    paths = convert(capsys, folder / "albedo.npz", folder / "shading.npz", "--to", "npz", "--srgb")
    assert [path.name for path in paths] == ["albedo_srgb.npz", "shading_srgb.npz"]
    assert (read_prediction(paths[0]).values == linear_to_srgb(maps["albedo"].values)).all()


def test_depth_to_metres_to_disparity_and_to_points(maps: Predictions, tmp_path: Path, capsys: Told) -> None:
    plyfile = pytest.importorskip("plyfile")
    depth, folder = maps["depth"], tmp_path / "maps"
    near, far = (np.unravel_index(pick(depth.values), (H, W)) for pick in (np.argmin, np.argmax))
    points = [f"{near[1]},{near[0]},2.0", f"{far[1]},{far[0]},12.0"]
    status = main(["convert", "map", str(folder / "depth.npz"), "--to", "npz", "--scale-points", *points])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[0].startswith("depth [m] = ")
    assert "2 points, median residual" in lines[0]
    scaled = read_prediction(lines[1])
    assert Path(lines[1]).name == "depth_scaled.npz"
    fit = scale_from_points(depth, [(near[1], near[0], 2.0), (far[1], far[0], 12.0)])
    assert (scaled.values == fit.apply(depth).values).all()
    assert (scaled.unit, scaled.shift_known) == ("m", True)

    stereo = ["--disparity", "--focal-px", 100, "--baseline-m", 0.5]
    (path,) = convert(capsys, folder / "depth_scaled.npz", "--to", "npz", *stereo)
    assert path.name == "depth_scaled_disparity.npz"
    np.testing.assert_allclose(read_prediction(path).values, 50 / scaled.values, rtol=1e-6)

    Image.fromarray(np.full((H, W, 3), 77, np.uint8)).save(tmp_path / "street.png")
    files = [folder / "depth_scaled.npz", folder / "normal.npz", "--image", tmp_path / "street.png"]
    (path,) = convert(capsys, *files, "--to", "ply", "--focal-px", 20)
    assert path == folder / "point_cloud.ply"
    vertex = plyfile.PlyData.read(path)["vertex"]
    assert (vertex["z"] == scaled.values.ravel()).all()
    assert (vertex["red"] == 77).all()
    np.testing.assert_allclose(vertex["nz"], -maps["normal"].values[:, :, 2].ravel())
    comments = plyfile.PlyData.read(path).comments
    assert any("fx 20, fy 20, cx 7, cy 4" in line for line in comments)
    (path,) = convert(capsys, *files[:1], "--to", "ply")
    assert any("ASSUMED" in line for line in plyfile.PlyData.read(path).comments)
    (path,) = convert(capsys, *files[:1], "--to", "ply", "--field-of-view", 90, "--max-jump", 0.01)
    content = plyfile.PlyData.read(path)
    assert not any("ASSUMED" in line for line in content.comments)
    assert len(content["vertex"]) < H * W


def test_height_of_the_camera(tmp_path: Path, capsys: Told) -> None:
    rows = np.mgrid[:40, :60][0]
    depth = np.where(rows > 22, 2.0 * 50 / np.maximum(rows - 19.5, 0.1), 80.0)  # the camera is 2 units up
    spec = build_task("depth", encoding="log").spec
    one = Prediction(
        task="depth",
        values=depth.astype(np.float32),
        valid=np.ones((40, 60), bool),
        unit="relative",
        convention=spec.convention,
        scale_known=False,
        shift_known=True,
    )
    one.save(tmp_path / "depth.npz")
    arguments = [str(tmp_path / "depth.npz"), "--to", "npz", "--camera-height", "1.5"]
    assert main(["convert", "map", *arguments, "--focal-px", "50"]) == 0
    assert "depth [m] = 0.75 x value + 0; " in capsys.readouterr().out
    np.testing.assert_allclose(read_prediction(tmp_path / "depth_scaled.npz").values, depth * 0.75, rtol=1e-5)
    assert main(["convert", "map", *arguments]) == 2
    assert "--camera-height needs the camera: --focal-px or --field-of-view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["depth"], ["--to", "tiff"], "unknown --to 'tiff'; choose from exr, flo"),
        (["none"], ["--to", "png"], "no file "),
        (["../a.png"], ["--to", "png"], "must be a map as .npz, or a folder of maps"),
        (
            ["depth"],
            ["--to", "npz"],
            "depth.npz would be written over itself. Name another folder with --out.",
        ),
        (["depth", "depth"], ["--to", "png"], "two maps of depth"),
        (["depth"], ["--to", "flo"], "'flo' applies to none of the maps (depth: flow has two channels in px"),
        (["depth"], ["--to", "ply"], "no point cloud can be made of 'depth': its zero is unknown"),
        (["normal"], ["--to", "ply"], "a point cloud needs a map of depth among FILES; they are normal"),
        (["depth"], ["--to", "ply", "--disparity"], "leave --disparity out"),
        (
            ["depth"],
            ["--to", "png", "--normals", "opengl"],
            "--normals has nothing to change: the maps are depth",
        ),
        (["depth"], ["--to", "png", "--srgb"], "--srgb has nothing to change"),
        (["normal"], ["--to", "png", "--scale-points", "1,1,1"], "--scale-points has nothing to change"),
        (["normal"], ["--to", "png", "--disparity"], "--disparity has nothing to change"),
        (["depth"], ["--to", "png", "--disparity"], "disparity needs depth that knows its zero"),
        (
            ["depth"],
            ["--to", "png", "--disparity", "--focal-px", "3"],
            "--disparity in px needs --baseline-m",
        ),
        (["depth"], ["--to", "png", "--baseline-m", "3"], "--baseline-m needs --disparity and --focal-px"),
        (["depth"], ["--to", "png", "--image", "a.png"], "--image and --max-jump are for point clouds"),
        (
            ["depth"],
            ["--to", "png", "--scale-points", "1,2"],
            "column,row,metres such as 320,400,4.2, got '1,2'",
        ),
        (["depth"], ["--to", "png", "--scale-points", "1,1,1"], "at least two points at different values"),
        (
            ["depth"],
            ["--to", "png", "--scale-points", "1,1,1", "--camera-height", "2"],
            "both bring depth to metres; choose one",
        ),
        (["depth"], ["--to", "ply", "--focal-px", "2", "--field-of-view", "60"], "both describe the camera"),
    ],
)
def test_complaints(
    maps: Predictions, tmp_path: Path, capsys: Told, files: list[str], options: list[str], message: str
) -> None:
    folder = tmp_path / "maps"
    before = sorted(tmp_path.rglob("*"))
    paths = [str(folder / (name if "." in name else f"{name}.npz")) for name in files]
    assert main(["convert", "map", *paths, *options]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_help_and_no_files(capsys: Told) -> None:
    assert main(["convert", "map", "--help"]) == 0
    told = capsys.readouterr().out
    for option in ("--to", "--normals", "--scale-points", "--camera-height", "--disparity", "--max-jump"):
        assert option in told
    assert main(["convert", "map", "--to", "png"]) == 2
    assert main(["convert", "--help"]) == 0
    assert "stablemtl convert map" in capsys.readouterr().out


def test_layers_need_one_size(maps: Predictions, tmp_path: Path, capsys: Told) -> None:
    small = replace(maps["depth"], values=np.ones((3, 4), np.float32), valid=np.ones((3, 4), bool))
    small.save(tmp_path / "depth.npz")
    files = [str(tmp_path / "depth.npz"), str(tmp_path / "maps" / "normal.npz")]
    assert main(["convert", "map", *files, "--to", "exr"]) == 2
    assert "the layers of an EXR file must have one size" in capsys.readouterr().err
