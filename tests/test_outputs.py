"""What predictions say of themselves, and the files they become."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import writers
from stablemtl.contact_sheet import TILE_WIDTH_PX
from stablemtl.data.formats import read_flo
from stablemtl.outputs import Prediction, Predictions, prediction_files, read_png16_values, read_prediction
from stablemtl.tasks import TASKS, build_task
from stablemtl.writers import read_png16_facts, staged_file, staged_folder, write_png16

H, W = 9, 15
GENERATOR = np.random.default_rng(0)


def prediction(name: str, note: str = "", **options: object) -> Prediction:
    task = build_task(name, **options)
    image = torch.from_numpy(GENERATOR.uniform(-1, 1, (1, 3, H, W)).astype(np.float32))
    return Prediction.from_tensor(task, task.decode(image), note=note)


def all_predictions(**kwargs: object) -> Predictions:
    flow = prediction("optical_flow", encoding="calibrated", scale_px=16.0)
    maps = {name: flow if name == "optical_flow" else prediction(name) for name in TASKS}
    return Predictions(maps, **kwargs)  # type: ignore[arg-type]


SHAPES = {
    "semantic": (H, W),
    "normal": (H, W, 3),
    "depth": (H, W),
    "optical_flow": (H, W, 2),
    "scene_flow": (H, W, 3),
    "shading": (H, W),
    "albedo": (H, W, 3),
}


@pytest.mark.parametrize("name", TASKS)
def test_shape_type_and_meaning(name: str) -> None:
    one = prediction(name)
    spec = TASKS[name].spec
    assert one.task == name
    assert one.values.shape == SHAPES[name]
    assert one.values.dtype == (np.int64 if name == "semantic" else np.float32)
    assert one.valid.shape == (H, W)
    assert one.valid.dtype == bool
    assert one.valid.all()
    assert (one.unit, one.convention, one.scale_known, one.shift_known) == (
        spec.unit,
        spec.convention,
        spec.scale_known,
        spec.shift_known,
    )
    assert one.size == (H, W)
    assert name in repr(one)


@pytest.mark.parametrize("name", TASKS)
def test_picture_is_the_tasks_own(name: str) -> None:
    one = prediction(name)
    picture = one.colorize()
    assert picture.mode == "RGB"
    assert picture.size == (W, H)
    values = torch.from_numpy(one.values)
    values = values[None, None] if values.ndim == 2 else values.permute(2, 0, 1)[None]
    expected = TASKS[name].colorize(values)[0].permute(1, 2, 0).numpy()
    assert (np.asarray(picture) == expected).all()


def test_encoding_travels_with_the_prediction() -> None:
    one = prediction("depth", encoding="log", near_m=1.0, far_m=50.0)
    assert one.unit == "m"
    assert build_task("depth", **one.encoding) == build_task("depth", encoding="log", near_m=1.0, far_m=50.0)


def test_values_that_are_not_finite_are_not_valid() -> None:
    values = torch.ones(1, 3, H, W)
    values[0, 1, 2, 3] = torch.nan
    one = Prediction.from_tensor(TASKS["normal"], values)
    assert not one.valid[2, 3]
    assert one.valid.sum() == H * W - 1
    assert one.range == (1.0, 1.0)


def test_range_text() -> None:
    depth = Prediction.from_tensor(TASKS["depth"], torch.linspace(0, 1, H * W).reshape(1, H, W))
    assert depth.range_text == "0 to 1"
    classes = torch.zeros(1, H, W, dtype=torch.int64)
    assert Prediction.from_tensor(TASKS["semantic"], classes).range_text == "1 class present"
    classes[0, 0] = 3
    assert Prediction.from_tensor(TASKS["semantic"], classes).range_text == "2 classes present"
    nothing = Prediction.from_tensor(TASKS["depth"], torch.full((1, H, W), torch.nan))
    assert np.isnan(nothing.range).all()


# one file ---------------------------------------------------------------------------------------------------


def test_npz_is_read_back(tmp_path: Path) -> None:
    one = prediction("depth", note="a note", encoding="log", near_m=0.5, far_m=80.0)
    path = one.save(tmp_path / "new" / "folder" / "depth.npz")
    back = read_prediction(path)
    assert (back.values == one.values).all()
    assert (back.valid == one.valid).all()
    for field in ("task", "unit", "convention", "scale_known", "shift_known", "encoding", "note"):
        assert getattr(back, field) == getattr(one, field)
    assert (np.asarray(back.colorize()) == np.asarray(one.colorize())).all()
    with np.load(path) as archive:  # no pickle
        assert str(archive["unit"]) == "m"


def test_npy_and_png(tmp_path: Path) -> None:
    one = prediction("normal")
    assert (np.load(one.save(tmp_path / "n.npy")) == one.values).all()
    with Image.open(one.save(tmp_path / "n.PNG")) as picture:
        assert (np.asarray(picture) == np.asarray(one.colorize())).all()


def test_flo_holds_pixels(tmp_path: Path) -> None:
    one = prediction("optical_flow", encoding="calibrated", scale_px=16.0)
    valid = one.valid.copy()
    valid[1, 2] = False
    hole = Prediction(**{**one.__dict__, "valid": valid})
    flow = read_flo(hole.save(tmp_path / "f.flo"))
    assert (flow[valid] == one.values[valid]).all()
    assert (flow[1, 2] == np.float32(1e10)).all()


@pytest.mark.parametrize("name", TASKS)
def test_sixteen_bit_png_is_read_back(tmp_path: Path, name: str) -> None:
    one = prediction(name)
    valid = one.valid.copy()
    valid[0, :3] = False
    path = Prediction(**{**one.__dict__, "valid": valid}).save(tmp_path / "a.png", bits=16)
    facts = read_png16_facts(path)
    back = read_png16_values(path)
    assert back.dtype == np.float32
    assert back.shape == one.values.shape
    assert np.isnan(back[~valid]).all()
    assert np.abs(back[valid] - one.values[valid]).max() <= float(str(facts["scale"])) / 2 + 1e-6
    assert (facts["task"], facts["unit"]) == (name, one.unit)


def test_sixteen_bit_png_by_hand(tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0, 3.0]], np.float32)
    write_png16(tmp_path / "a.png", values, np.array([[True, True, False]]), {"unit": "m", "axes": "° ·"})
    facts = read_png16_facts(tmp_path / "a.png")
    assert facts["unit"] == "m"
    assert facts["axes"] == "° ·"
    scale, offset = float(str(facts["scale"])), float(str(facts["offset"]))
    assert scale == pytest.approx(1.0 / 65533)
    with Image.open(tmp_path / "a.png") as picture:  # any reader of 16-bit PNG sees the integers
        assert picture.mode.startswith("I")
        assert np.asarray(picture).tolist() == [[1, 65534, 0]]
    assert offset + scale * 65534 == pytest.approx(2.0)


def test_sixteen_bit_png_of_constants_and_of_nothing(tmp_path: Path) -> None:
    values = np.full((H, W), 4.25, np.float32)
    write_png16(tmp_path / "a.png", values, np.ones((H, W), bool), {})
    assert (read_png16_values(tmp_path / "a.png") == 4.25).all()
    write_png16(tmp_path / "a.png", np.full((H, W), np.nan, np.float32), np.zeros((H, W), bool), {})
    assert np.isnan(read_png16_values(tmp_path / "a.png")).all()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    depth, relative = prediction("depth"), prediction("optical_flow")
    with pytest.raises(ValueError, match=r"suffix must be one of .png, .npz, .npy, .flo, .exr"):
        depth.save(tmp_path / "depth.tiff")
    with pytest.raises(ValueError, match=r"'depth' has shape \(9, 15\) .* Use .npz"):
        depth.save(tmp_path / "depth.flo")
    with pytest.raises(ValueError, match="unit 'relative'"):
        relative.save(tmp_path / "flow.flo")
    for name, bits in (("depth.png", 12), ("depth.npz", 16)):
        with pytest.raises(ValueError, match=f"got bits={bits}"):
            depth.save(tmp_path / name, bits=bits)
    with pytest.raises(ValueError, match="1 to 3 channels"):
        write_png16(tmp_path / "a.png", np.zeros((H, W, 4), np.float32), np.ones((H, W), bool), {})
    with pytest.raises(ValueError, match="integers must be 0 to 65534, got -1 to -1"):
        write_png16(tmp_path / "a.png", np.full((H, W), -1), np.ones((H, W), bool), {})
    for name, way, message in (
        ("a.npz", "palette", "the format 'palette' goes with the suffix .png, got 'a.npz'"),
        ("a.png", "sheet", "unknown format of one map 'sheet'; choose from exr, flo"),
        ("a.png", "palette", "'depth' cannot be written with a palette: it holds no class ids"),
        ("a.png", "kitti_flow", "the PNG of KITTI flow holds two-channel motion in px; 'depth' has"),
    ):
        with pytest.raises(ValueError, match=message):
            depth.save(tmp_path / name, format=way)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    Image.new("L", (W, H)).save(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", values=np.zeros(3))
    (tmp_path / "b.npz").write_text("text")
    with pytest.raises(ValueError, match=r"was not written by save\(path, bits=16\)"):
        read_png16_values(tmp_path / "a.png")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ValueError, match="is not a prediction written by save"):
            read_prediction(tmp_path / name)
    for read in (read_prediction, read_png16_values):
        with pytest.raises(FileNotFoundError, match="no file"):
            read(tmp_path / "none")  # type: ignore[operator]


# all files --------------------------------------------------------------------------------------------------


def test_folder_of_results(tmp_path: Path) -> None:
    maps = all_predictions(frames=[Image.new("RGB", (W, H))])
    folder = maps.save(tmp_path / "out" / "maps")
    expected = {f"{name}{suffix}" for name in TASKS for suffix in (".png", ".npz")}
    expected |= {"depth_16bit.png", "shading_16bit.png", "optical_flow.flo"}
    assert {path.name for path in folder.iterdir()} == expected | {"contact_sheet.png", "maps.json"}
    assert expected == {name for one in maps.values() for name in prediction_files(one)}
    for name, one in maps.items():
        assert (read_prediction(folder / f"{name}.npz").values == one.values).all()
    assert np.abs(read_png16_values(folder / "depth_16bit.png") - maps["depth"].values).max() < 1e-4
    assert [path.name for path in folder.parent.iterdir()] == ["maps"]


def test_flow_without_pixels_gets_no_flo(tmp_path: Path) -> None:
    folder = Predictions({"optical_flow": prediction("optical_flow")}).save(tmp_path / "maps")
    assert {path.name for path in folder.iterdir()} == {
        "optical_flow.png",
        "optical_flow.npz",
        "contact_sheet.png",
        "maps.json",
    }


def test_existing_folder_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "depth.npz").write_text("old")
    maps = Predictions({"depth": prediction("depth")})
    maps.save(tmp_path)
    maps.save(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert read_prediction(tmp_path / "depth.npz").task == "depth"
    assert not [path for path in tmp_path.parent.iterdir() if path.name.startswith(f".{tmp_path.name}-")]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    maps = all_predictions()
    write_npz, count = writers.write_npz, 0

    def fail_later(*args: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise error
        write_npz(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(writers, "write_npz", fail_later)
    with pytest.raises(type(error)):
        maps.save(tmp_path / "maps")
    assert list(tmp_path.iterdir()) == []


def test_failure_in_a_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def stop_halfway() -> None:
        with staged_file(path) as beside:
            beside.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("")
    with pytest.raises(FileExistsError, match=r"it is a file\. Name a folder"):
        Predictions({"depth": prediction("depth")}).save(tmp_path / "maps")


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").touch()
    with staged_folder(tmp_path / "maps") as beside:
        prediction("depth").save(beside / "depth.npz")
    assert (tmp_path / "maps").stat().st_mode == plain.stat().st_mode
    assert (tmp_path / "maps" / "depth.npz").stat().st_mode == (plain / "file").stat().st_mode


def test_missing_task_lists_what_there_is() -> None:
    maps = Predictions({"depth": prediction("depth")})
    with pytest.raises(KeyError, match="no prediction for 'normals'; this result holds depth"):
        maps["normals"]
    assert "depth" in repr(maps)
    assert maps.get("normal") is None


def test_results_can_be_sent_to_another_process() -> None:
    maps = all_predictions(frames=[Image.new("RGB", (W, H))], source={"model": "nano"})
    back = pickle.loads(pickle.dumps(maps))
    assert list(back) == list(maps)
    assert (back["depth"].values == maps["depth"].values).all()
    assert back.frames[0].size == (W, H)
    assert back.source == {"model": "nano"}


# contact sheet ----------------------------------------------------------------------------------------------


def test_sheet_shows_frames_and_maps() -> None:
    maps = all_predictions()
    blue = np.zeros((H, W, 3), np.uint8)
    blue[..., 2] = 255
    sheet = maps.contact_sheet(Image.new("RGB", (W, H), (255, 0, 0)), blue)
    pixels = np.asarray(sheet).reshape(-1, 3)
    tile = TILE_WIDTH_PX * TILE_WIDTH_PX * H // W
    assert (pixels == (255, 0, 0)).all(axis=1).sum() == tile
    assert (pixels == (0, 0, 255)).all(axis=1).sum() >= tile
    assert sheet.width > 3 * TILE_WIDTH_PX  # nine tiles, three by three
    assert sheet.width < 4 * TILE_WIDTH_PX


def test_sheet_uses_the_kept_frames() -> None:
    maps = Predictions({"depth": prediction("depth")}, frames=[Image.new("RGB", (W, H), (0, 255, 0))])
    assert ((np.asarray(maps.contact_sheet()) == (0, 255, 0)).all(axis=2)).any()


@pytest.mark.parametrize("size", [(2000, 20), (20, 2000), (3000, 2000)])
def test_sheet_stays_readable_whatever_the_shape(size: tuple[int, int]) -> None:
    maps = Predictions({"depth": prediction("depth")})
    sheet = maps.contact_sheet(Image.new("RGB", size))
    assert sheet.width < 3 * TILE_WIDTH_PX
    assert sheet.height < 6 * TILE_WIDTH_PX


def test_sheet_of_nothing() -> None:
    with pytest.raises(ValueError, match="needs a frame or a map"):
        Predictions().contact_sheet()
