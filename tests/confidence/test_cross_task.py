"""Maps against each other: planes and motions whose answer is known."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stablemtl import StableMTLPipeline
from stablemtl.camera import Camera
from stablemtl.confidence import CHECKS, cross_task
from stablemtl.confidence.agreement import angle_deg, follow, induced_flow, scaled_residual
from stablemtl.conversions import depth_to_disparity, linear_to_srgb, normals_in
from stablemtl.evaluation.label_free import intrinsics, normals_and_depth, photometric
from stablemtl.outputs import Prediction
from stablemtl.pipeline import ONE_FRAME_NOTE
from stablemtl.tasks import build_task

H, W = 24, 34
Y, X = np.mgrid[0:H, 0:W]
CAMERA = Camera.from_field_of_view((H, W), 70.0)


def prediction(name: str, values: Any, **options: Any) -> Prediction:
    """Of the task with these options, in all pixels valid."""
    spec = build_task(name, **options).spec
    values = np.asarray(values, np.float32)
    return Prediction(
        task=name,
        values=values,
        valid=np.ones(values.shape[:2], bool),
        unit=spec.unit,
        convention=spec.convention,
        scale_known=spec.scale_known,
        shift_known=spec.shift_known,
        encoding=options,
    )


def metric_depth(values: Any) -> Prediction:
    return prediction("depth", np.broadcast_to(values, (H, W)), encoding="log")


def flow(values: Any) -> Prediction:
    return prediction("optical_flow", np.broadcast_to(values, (H, W, 2)), encoding="calibrated")


def motion(*metres: float) -> Prediction:
    return prediction("scene_flow", np.broadcast_to(metres, (H, W, 3)), encoding="calibrated")


def wall(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of a wall turned about the vertical axis, 5 m ahead, and its normal (3,)."""
    slope = math.tan(math.radians(degrees))
    ray = (X - CAMERA.cx) / CAMERA.fx
    return 5 / (1 - slope * ray), np.array([-slope, 0, 1]) / math.hypot(slope, 1)


# --- normals and depth


@pytest.mark.parametrize("off", [0.0, 12.0])
def test_normals_of_a_wall(off: float) -> None:
    """30 degrees, and normals that are so many degrees off."""
    depth, _ = wall(30)
    normal = np.broadcast_to(wall(30 + off)[1], (H, W, 3))
    maps = {"depth": metric_depth(depth), "normal": prediction("normal", normal)}
    one = cross_task(maps, None, camera=CAMERA)["normal_depth"]
    assert one.unit == "deg"
    assert one.valid.all()
    np.testing.assert_allclose(one.values, off, atol=0.2)
    assert "70 x 52.6 deg (horizontal x vertical), given" in one.convention
    outward = {**maps, "normal": normals_in(maps["normal"], "opengl", outward=True)}
    np.testing.assert_array_equal(cross_task(outward, None, camera=CAMERA)["normal_depth"].values, one.values)
    check = normals_and_depth(maps["normal"], maps["depth"], field_of_view_deg=70)
    assert check.value == pytest.approx(one.mean, abs=1e-4)
    assert check.pixels == one.valid.sum()


def test_the_wrong_camera_tilts_the_wall() -> None:
    depth, normal = wall(30)
    maps = {"depth": metric_depth(depth), "normal": prediction("normal", np.broadcast_to(normal, (H, W, 3)))}
    assumed = cross_task(maps, None)["normal_depth"]
    assert "60 x 44.3 deg (horizontal x vertical), ASSUMED" in assumed.convention
    focal = Camera.from_field_of_view((H, W)).fx
    tilted = math.degrees(math.atan(math.tan(math.radians(30)) * focal / CAMERA.fx))
    assert float(np.nanmedian(assumed.values)) == pytest.approx(tilted - 30, abs=0.2)
    double = Camera.from_field_of_view((2 * H, 2 * W), 70.0)  # of a larger picture of the same camera
    np.testing.assert_allclose(cross_task(maps, None, camera=double)["normal_depth"].values, 0, atol=0.2)


def test_borders_have_no_normal() -> None:
    depth = np.where(X < 17, 2.0, 4.0)
    maps = {
        "depth": metric_depth(depth),
        "normal": prediction("normal", np.broadcast_to((0, 0, 1), (H, W, 3))),
    }
    one = cross_task(maps, None)["normal_depth"]
    np.testing.assert_array_equal(one.valid, (X != 16) & (X != 17))


# --- flow and scene flow


def test_flow_of_moving_planes() -> None:
    """A wall at 4 m: 0.2 m to the right is f / 20 px; 1 m nearer enlarges by 4 / 3."""
    sideways, visible = induced_flow(np.full((H, W), 4.0), np.broadcast_to((0.2, -0.4, 0), (H, W, 3)), CAMERA)
    assert visible.all()
    np.testing.assert_allclose(sideways[..., 0], CAMERA.fx / 20)
    np.testing.assert_allclose(sideways[..., 1], -CAMERA.fy / 10)
    nearer, _ = induced_flow(np.full((H, W), 4.0), np.broadcast_to((0, 0, -1), (H, W, 3)), CAMERA)
    np.testing.assert_allclose(nearer[..., 0], (X - (W - 1) / 2) / 3, atol=1e-12)
    np.testing.assert_allclose(nearer[..., 1], (Y - (H - 1) / 2) / 3, atol=1e-12)
    off_centre = Camera(50.0, 40.0, 3.0, 20.0, (H, W))
    turned, _ = induced_flow(np.full((H, W), 4.0), np.broadcast_to((0.2, 0, -1), (H, W, 3)), off_centre)
    # (10, 5): X = 4 * 7 / 50 + 0.2, Y = 4 * -15 / 40, Z = 3
    expected = (50 * 0.76 / 3 + 3 - 10, 40 * -1.5 / 3 + 20 - 5)
    np.testing.assert_allclose(turned[5, 10], expected)


def test_flow_against_scene_flow() -> None:
    """3 and 4 px off: 5 px everywhere; a point that comes behind the camera has no flow."""
    maps = {"depth": metric_depth(4.0), "scene_flow": motion(0.2, 0, 0), "optical_flow": flow((0, 0))}
    right = {**maps, "optical_flow": flow((CAMERA.fx / 20, 0))}
    np.testing.assert_allclose(cross_task(right, None, camera=CAMERA)["flow_scene_flow"].values, 0, atol=1e-5)
    off = {**maps, "optical_flow": flow((CAMERA.fx / 20 + 3, -4))}
    one = cross_task(off, None, camera=CAMERA)["flow_scene_flow"]
    np.testing.assert_allclose(one.values, 5, rtol=1e-5)
    assert one.unit == "px"
    behind = {**maps, "depth": metric_depth(np.where(X < 5, 1.0, 4.0)), "scene_flow": motion(0, 0, -1.5)}
    np.testing.assert_array_equal(cross_task(behind, None)["flow_scene_flow"].valid, X >= 5)


# --- pictures


def test_albedo_times_shading() -> None:
    """0.2 and 0.6 under flat maps: 0.4 is best, 0.2 is left; the mean figure is the same residual."""
    image = linear_to_srgb(np.where(X < W // 2, 0.2, 0.6)[:, :, None].repeat(3, 2).astype(np.float32))
    maps = {
        "albedo": prediction("albedo", np.full((H, W, 3), 0.5)),
        "shading": prediction("shading", np.full((H, W), 0.3)),
    }
    one = cross_task(maps, image)["albedo_shading"]
    np.testing.assert_allclose(one.values, 0.2, atol=1e-5)
    assert one.unit == "of white"
    assert intrinsics(image, maps["albedo"], maps["shading"]).value == pytest.approx(0.2, abs=1e-5)
    rng = np.random.default_rng(0)
    light, colour = rng.uniform(0.1, 1, (H, W)), rng.uniform(0.1, 0.9, (H, W, 3))
    exact = {"albedo": prediction("albedo", colour), "shading": prediction("shading", light / 3)}
    picture = linear_to_srgb((0.8 * colour * light[:, :, None]).astype(np.float32))
    np.testing.assert_allclose(cross_task(exact, picture)["albedo_shading"].values, 0, atol=1e-6)


def test_colours_along_the_flow() -> None:
    """A ramp of 1/100 a column that moves by 5 px; the last five columns leave the picture."""
    ramp = np.repeat((X[:, :, None] + 10) / 100, 3, axis=2).astype(np.float32)
    one = cross_task({"optical_flow": flow((5, 0))}, ramp, ramp - np.float32(0.05))["flow_image"]
    np.testing.assert_array_equal(one.valid, X < W - 5)
    np.testing.assert_allclose(one.values[one.valid], 0, atol=1e-6)
    still = cross_task({"optical_flow": flow((0, 0))}, ramp, ramp - np.float32(0.05))["flow_image"]
    np.testing.assert_allclose(still.values, 0.05, atol=1e-6)
    figure = photometric(ramp, ramp - np.float32(0.05), flow((2, 1)))
    again = cross_task({"optical_flow": flow((2, 1))}, ramp, ramp - np.float32(0.05))["flow_image"]
    assert figure.value == pytest.approx(again.mean, abs=1e-7)


def test_a_larger_image_is_resized() -> None:
    image = np.full((2 * H, 2 * W, 3), 128, np.uint8)
    maps = {
        "albedo": prediction("albedo", np.full((H, W, 3), 0.5)),
        "shading": prediction("shading", np.full((H, W), 0.3)),
    }
    np.testing.assert_allclose(cross_task(maps, image)["albedo_shading"].values, 0, atol=1e-6)


# --- what cannot be said


def everything() -> dict[str, Prediction]:
    return {
        "normal": prediction("normal", np.broadcast_to((0, 0, 1), (H, W, 3))),
        "depth": metric_depth(4.0),
        "optical_flow": flow((1, 0)),
        "scene_flow": motion(0.1, 0, 0),
        "shading": prediction("shading", np.full((H, W), 0.5)),
        "albedo": prediction("albedo", np.full((H, W, 3), 0.5)),
    }


GREY = np.full((H, W, 3), 128, np.uint8)


def test_all_checks() -> None:
    found = cross_task(everything(), GREY, GREY)
    assert list(found) == list(CHECKS)
    assert found.left_out == {}
    assert all(one.values.shape == (H, W) and one.name == name for name, one in found.items())


@pytest.mark.parametrize(
    ("task", "change", "left_out"),
    [
        (
            "depth",
            prediction("depth", np.full((H, W), 0.5)),
            {"normal_depth": "up to an added constant", "flow_scene_flow": "depth is relative"},
        ),
        (
            "depth",
            depth_to_disparity(metric_depth(4.0)),
            {"normal_depth": "is a disparity", "flow_scene_flow": "is a disparity"},
        ),
        (
            "scene_flow",
            prediction("scene_flow", np.zeros((H, W, 3))),
            {"flow_scene_flow": "scene_flow is relative"},
        ),
        (
            "optical_flow",
            prediction("optical_flow", np.zeros((H, W, 2))),
            {"flow_scene_flow": "optical_flow is relative", "flow_image": "must be in px"},
        ),
        (
            "optical_flow",
            replace(flow((0, 0)), note=ONE_FRAME_NOTE),
            {"flow_scene_flow": "one frame", "flow_image": "one frame"},
        ),
        ("albedo", None, {"albedo_shading": "albedo not predicted"}),
        ("normal", None, {"normal_depth": "normal not predicted"}),
    ],
)
def test_what_maps_do_not_allow_is_left_out(task, change, left_out, caplog) -> None:
    maps = everything()
    maps.pop(task)
    if change is not None:
        maps[task] = change
    with caplog.at_level(logging.INFO, logger="stablemtl"):
        found = cross_task(maps, GREY, GREY)
    assert set(found.left_out) == set(left_out)
    for name, reason in left_out.items():
        assert reason in found.left_out[name]
        assert f"consistency of {name} left out" in caplog.text
    assert list(found) == [name for name in CHECKS if name not in left_out]


def test_without_pictures() -> None:
    assert cross_task(everything(), None).left_out == {
        "albedo_shading": "image not given",
        "flow_image": "image not given",
    }
    assert cross_task(everything(), GREY).left_out == {"flow_image": "image_next not given"}


def test_of_a_model(tiny_pipeline: StableMTLPipeline) -> None:
    alone = cross_task(tiny_pipeline(GREY), GREY)
    assert list(alone) == ["normal_depth", "albedo_shading"]
    pair = cross_task(tiny_pipeline(GREY, GREY), GREY, GREY)
    assert pair.left_out == {"flow_scene_flow": "scene_flow is relative, and must be in metres"}
    encoded = tiny_pipeline.encode(GREY)
    assert "was encoded before" in cross_task(tiny_pipeline(encoded), encoded).left_out["albedo_shading"]


def test_errors() -> None:
    maps = everything()
    with pytest.raises(ValueError, match=r"image is for \(height, width\) \(24, 24\), .* another aspect"):
        cross_task(maps, GREY[:, :24])
    with pytest.raises(ValueError, match=r"camera is for \(height, width\) \(34, 24\)"):
        cross_task(maps, GREY, camera=Camera.from_field_of_view((W, H)))
    with pytest.raises(
        ValueError, match=r"predictions must have one size .* normal \(24, 34\), depth \(24, 33\)"
    ):
        cross_task({**maps, "depth": prediction("depth", np.ones((H, W - 1)), encoding="log")}, GREY)
    with pytest.raises(FileNotFoundError, match="image not found"):
        cross_task(maps, "nowhere.png")


# --- the arithmetic alone


def test_angles() -> None:
    assert angle_deg(np.array([0, 0, 2.0]), np.array([0, 3.0, 3.0])) == pytest.approx(45)
    assert angle_deg(np.zeros(3), np.array([0, 0, 1.0])) == 90


def test_residual_without_light_and_without_pixels() -> None:
    target = np.full((2, 3, 3), 0.4)
    np.testing.assert_allclose(scaled_residual(np.zeros((2, 3, 3)), target, np.ones((2, 3), bool)), 0.4)
    np.testing.assert_allclose(scaled_residual(np.ones((2, 3, 3)), target, np.zeros((2, 3), bool)), 0.4)


def test_following_a_flow_that_is_unknown() -> None:
    unknown = np.full((H, W, 2), np.nan)
    moved, inside = follow(np.ones((H, W, 1)), unknown)
    assert not inside.any()
    assert np.isfinite(moved).all()
