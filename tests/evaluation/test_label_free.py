"""Checks without labels: scenes whose answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stablemtl import StableMTLPipeline, cli
from stablemtl.evaluation.html_checks import checks_html
from stablemtl.evaluation.label_free import (
    Check,
    forward_backward,
    intrinsics,
    normals_and_depth,
    photometric,
)
from stablemtl.evaluation.pictures import check_pictures, examine_pictures, read_pictures
from stablemtl.outputs import Prediction

H, W = 24, 34


def prediction(task: str, values: Any, unit: str = "", **entries: Any) -> Prediction:
    values = np.asarray(values, np.float32)
    known = {
        "valid": np.ones(values.shape[:2], bool),
        "convention": "",
        "scale_known": True,
        "shift_known": True,
    }
    return Prediction(**{**known, "task": task, "values": values, "unit": unit, **entries})


def flow(u: float, v: float, **entries: Any) -> Prediction:
    return prediction("optical_flow", np.full((H, W, 2), (u, v)), **{"unit": "px", **entries})


# --- flow


def test_there_and_back() -> None:
    """(3, 4) px there, (-3, -4) back: nothing is left; without a way back, 5 px."""
    found = forward_backward(flow(3, 4), flow(-3, -4))
    assert (found.value, found.reference, found.unit) == (0.0, 5.0, "px")
    assert found.pixels == (H - 4) * (W - 3)
    assert forward_backward(flow(3, 4), flow(0, 0)).value == 5.0
    assert forward_backward(flow(3, 4), flow(-3, 0)).value == 4.0


def test_backward_flow_is_read_where_the_forward_one_leads() -> None:
    back = np.zeros((H, W, 2))
    back[:, W // 2 :, 0] = -2
    ahead = np.zeros((H, W, 2))
    ahead[:, W // 2 - 2 : -2, 0] = 2
    pair = (prediction("optical_flow", maps, "px") for maps in (ahead, back))
    found = forward_backward(*pair)
    # All that moves comes back; the last two columns stay, but are told to go back.
    assert found.value == pytest.approx(2 * 2 * H / (H * W))


def test_nothing_in_the_picture() -> None:
    found = forward_backward(flow(100, 0), flow(0, 0))
    assert found.pixels == 0
    assert math.isnan(found.value)
    assert found.to_dict()["value"] is None


def test_invalid_pixels_do_not_count() -> None:
    valid = np.zeros((H, W), bool)
    valid[5, 6:9] = True
    assert forward_backward(flow(1, 0, valid=valid), flow(0, 0)).pixels == 3


def test_colours_along_the_flow() -> None:
    """A ramp of 1/100 per column that moves by 5 px; half a pixel is interpolated."""
    ramp = np.repeat((np.arange(W)[None, :, None] + 10) / 100, 3, axis=2).repeat(H, axis=0)
    moved = ramp - 0.05
    found = photometric(ramp, moved, flow(5, 0))
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.reference == pytest.approx(0.05)
    assert found.pixels == H * (W - 5)
    assert photometric(ramp, moved, flow(4.5, 0)).value == pytest.approx(0.005)
    assert photometric(ramp, moved, flow(-5, 0)).value == pytest.approx(0.1)
    assert photometric(ramp, moved, flow(5, 3)).value == pytest.approx(0, abs=1e-9)


def test_flow_must_be_in_px() -> None:
    with pytest.raises(ValueError, match=r"backward must be motion in px, .* 'relative'"):
        forward_backward(flow(0, 0), flow(0, 0, unit="relative", scale_known=False))
    with pytest.raises(ValueError, match=r"one size .height x width., got flow 24x34, image 24x33"):
        photometric(np.zeros((H, W - 1, 3)), np.zeros((H, W, 3)), flow(0, 0))


# --- albedo x shading


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_product_up_to_one_scale() -> None:
    rng = np.random.default_rng(0)
    albedo, shading = rng.uniform(0, 1, (H, W, 3)), rng.uniform(0, 1, (H, W))
    image = srgb(0.7 * albedo * shading[:, :, None])
    found = intrinsics(image, prediction("albedo", 0.5 * albedo), prediction("shading", shading))
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.reference > 0.1
    assert found.pixels == H * W
    assert intrinsics(image**1.5, prediction("albedo", albedo), prediction("shading", shading)).value > 0.01


def test_residual_by_hand() -> None:
    """Linear picture 0.2 on one half and 0.6 on the other, maps of one value: 0.4 is best, 0.2 is left."""
    linear = np.full((2, 4, 3), 0.2)
    linear[:, 2:] = 0.6
    flat = prediction("albedo", np.ones((2, 4, 3))), prediction("shading", np.full((2, 4), 0.3))
    found = intrinsics(srgb(linear), *flat)
    assert (found.value, found.reference) == (pytest.approx(0.2), pytest.approx(0.2))
    with pytest.raises(ValueError, match=r"albedo must be .H, W, 3. and shading .H, W., got .2, 4. and"):
        intrinsics(srgb(linear), flat[1], flat[1])


# --- normals and depth


def plane(slope: float, field_of_view_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) and unit normal (3,) of z = 5 + slope * x, seen at that angle."""
    focal = W / 2 / math.tan(math.radians(field_of_view_deg) / 2)
    ray = (np.arange(W) - (W - 1) / 2) / focal
    depth = np.repeat((5 / (1 - slope * ray))[None], H, axis=0)
    return depth, np.array([-slope, 0, 1]) / math.hypot(slope, 1)


@pytest.mark.parametrize("field_of_view", [40.0, 75.0])
def test_normals_of_a_plane(field_of_view: float) -> None:
    """A wall turned by 30 degrees, its own normal, and one that is 10 degrees off."""
    depth, normal = plane(math.tan(math.radians(30)), field_of_view)
    maps = prediction("normal", np.broadcast_to(normal, (H, W, 3)))
    metric = prediction("depth", depth, "m")
    found = normals_and_depth(maps, metric, field_of_view_deg=field_of_view)
    assert found.value == pytest.approx(0, abs=0.5)
    assert found.reference == pytest.approx(30, abs=0.5)
    assert found.unit == "deg"
    turn = math.radians(40)
    off = prediction("normal", np.broadcast_to((-math.sin(turn), 0, math.cos(turn)), (H, W, 3)))
    assert normals_and_depth(off, metric, field_of_view_deg=field_of_view).value == pytest.approx(10, abs=0.5)
    far = prediction("depth", 100 * depth)  # the scale does not matter
    assert normals_and_depth(maps, far, field_of_view_deg=field_of_view).value < 0.5


def test_borders_of_objects_do_not_count() -> None:
    depth = np.full((H, W), 2.0)
    depth[:, 17:] = 4.0
    facing = prediction("normal", np.broadcast_to((0, 0, 1), (H, W, 3)))
    found = normals_and_depth(facing, prediction("depth", depth))
    assert found.pixels == H * (W - 2)
    assert found.value == pytest.approx(0, abs=1e-3)


def test_refuses_depth_without_a_zero() -> None:
    facing = prediction("normal", np.broadcast_to((0, 0, 1), (H, W, 3)))
    with pytest.raises(ValueError, match="known up to an added constant only"):
        normals_and_depth(facing, prediction("depth", np.ones((H, W)), shift_known=False))
    with pytest.raises(ValueError, match="field_of_view_deg must be between 0 and 180, got 180"):
        normals_and_depth(facing, prediction("depth", np.ones((H, W))), field_of_view_deg=180)


# --- pictures


def write_frames(folder: Path, sizes: tuple[tuple[int, int], ...] = ((H, W), (H, W))) -> list[str]:
    rng = np.random.default_rng(2)
    paths = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_checks_of_a_model(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    files = write_frames(tmp_path)
    alone = check_pictures(tiny_pipeline, read_pictures(files))
    assert list(alone) == files
    assert [check.name for check in alone[files[0]]] == ["albedo x shading", "normals and depth"]
    pairs = check_pictures(tiny_pipeline, read_pictures(files, sequence=True))
    assert list(pairs) == ["0.png to 1.png"]
    (checks,) = pairs.values()
    assert len(checks) == 4
    assert all(isinstance(check, Check) and math.isfinite(check.value) for check in checks)


def test_pictures_show_what_the_checks_say(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    """Means of the maps are the figures, but for albedo x shading: its figure is a root mean square."""
    pairs = read_pictures(write_frames(tmp_path), sequence=True)
    (examined,) = examine_pictures(tiny_pipeline, pairs).values()
    assert list(examined.checks) == check_pictures(tiny_pipeline, pairs)["0.png to 1.png"]
    assert list(examined.frames) == ["picture", "next picture"]
    assert list(examined.maps) == ["normal", "depth", "shading", "albedo", "optical_flow"]
    assert list(examined.agreement) == [check.name for check in examined.checks]
    for check in examined.checks:
        one = examined.agreement[check.name]
        seen = one.values[one.valid].astype(float)
        value = math.sqrt((seen**2).mean()) if check.name == "albedo x shading" else seen.mean()
        assert value == pytest.approx(check.value, rel=1e-5)
        assert len(seen) == check.pixels


def test_only_the_first_pictures_are_drawn(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    found = examine_pictures(tiny_pipeline, read_pictures(write_frames(tmp_path)), draw=1)
    assert [bool(examined.maps) for examined in found.values()] == [True, False]
    assert all(examined.checks for examined in found.values())
    page = checks_html(found, model="a <b>", field_of_view_deg=60, versions={"torch": "2"})
    assert "Maps are drawn of the first 1 pictures, not of the other 1." in page
    assert "Checks of a &lt;b&gt; without labels" in page
    assert page.count("<img ") == page.count("data:image/jpeg") == 1 + 4 + 2
    assert "http" not in page


def test_the_pictures_of_scikit_image() -> None:
    found = read_pictures(["skimage"])
    assert len(found) == 5
    left, right = found["skimage motorcycle"]
    assert right is not None
    assert left.shape == right.shape == (500, 741, 3)
    assert found["skimage coffee"][1] is None


def test_pictures_that_do_not_fit(tmp_path: Path) -> None:
    files = write_frames(tmp_path, ((H, W), (H, W + 1)))
    with pytest.raises(ValueError, match="must have one size"):
        read_pictures(files, sequence=True)
    with pytest.raises(ValueError, match="at least two pictures"):
        read_pictures(files[:1], sequence=True)
    with pytest.raises(ValueError, match="at least one picture"):
        read_pictures([])


def test_the_command(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_frames(tmp_path)
    arguments = [
        "evaluate",
        "--pictures",
        *files,
        "--sequence",
        "--model",
        str(tiny_folder),
        "--device",
        "cpu",
    ]
    assert cli.main([*arguments, "--out", str(tmp_path / "p.json")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "flow, forward and backward" in captured.out
    page = (tmp_path / "p.html").read_text()
    assert page.count("data:image/jpeg") == 2 + 5 + 4  # frames, maps, where they agree
    assert "flow, forward and backward: " in page
    written = json.loads((tmp_path / "p.json").read_text())
    assert cli.main([*arguments, "--out", str(tmp_path / "p.json"), "--json"]) == 0
    captured = capsys.readouterr()
    assert (json.loads(captured.out), captured.err) == ({**written, "out": str(tmp_path / "p.json")}, "")
    found = written["pictures"]["0.png to 1.png"]
    assert [check["unit"] for check in found] == ["px", "in [0, 1]", "in [0, 1]", "deg"]
    for more, message in (
        (["--data", "."], "--pictures have no labels"),
        (["--field-of-view", "0"], "--field-of-view must be between 0 and 180 degrees, got 0"),
    ):
        assert cli.main([*arguments, *more]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["evaluate", "--data", ".", "--sequence"]) == 2
    assert "--sequence belongs to --pictures" in capsys.readouterr().err
