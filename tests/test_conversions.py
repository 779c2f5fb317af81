"""Formulas by hand, what converted maps say of themselves, scales from points and from a camera's height."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stablemtl.camera import Camera
from stablemtl.conversions import (
    ScaleFit,
    depth_to_disparity,
    disparity_to_depth,
    linear_to_srgb,
    normals_in,
    normals_to_opencv,
    normals_to_opengl,
    rescaled,
    scale_from_camera_height,
    scale_from_points,
    srgb_to_linear,
)
from stablemtl.outputs import Prediction
from stablemtl.tasks import TASKS, build_task

H, W = 6, 10


def one(name: str, values: np.ndarray, **options: object) -> Prediction:
    task = build_task(name, **options)
    spec = task.spec
    return Prediction(
        task=name,
        values=values if name == "semantic" else values.astype(np.float32),
        valid=np.ones(values.shape[:2], bool),
        unit=spec.unit,
        convention=spec.convention,
        scale_known=spec.scale_known,
        shift_known=spec.shift_known,
        encoding=dict(task.options),
    )


RELATIVE = one("depth", np.linspace(0, 1, H * W).reshape(H, W))
METRIC = one("depth", np.linspace(1, 10, H * W).reshape(H, W), encoding="log")
ALBEDO = one("albedo", np.linspace(0, 1, H * W * 3).reshape(H, W, 3))


# normals ----------------------------------------------------------------------------------------------------


def test_normals_by_hand() -> None:
    ours = np.array([[[0, 0, 1], [0, 1, 0], [-1, 0, 0]]], np.float32)  # wall ahead, floor, wall on the left
    opengl = normals_to_opengl(ours)
    assert opengl.tolist() == [[[0, 0, 1], [0, 1, 0], [1, 0, 0]]]
    assert opengl.dtype == np.float32
    assert not np.signbit(opengl).any()  # no -0
    assert (normals_to_opencv(opengl) == ours).all()
    assert ours[0, 2, 0] == -1  # not changed


def test_normals_in_every_convention() -> None:
    vectors = np.random.default_rng(0).normal(size=(H, W, 3))
    normal = one("normal", vectors / np.linalg.norm(vectors, axis=2, keepdims=True))
    x, y, z = np.moveaxis(normal.values, 2, 0)
    expected = {
        ("opencv", False): (x, y, z),
        ("opencv", True): (-x, -y, -z),
        ("opengl", True): (-x, y, z),
        ("opengl", False): (x, -y, -z),
    }
    for (axes, outward), values in expected.items():
        there = normals_in(normal, axes, outward=outward)  # type: ignore[arg-type]
        assert (there.values == np.stack(values, axis=2)).all()
        assert (normals_to_opencv(there).values == normal.values).all()
        assert normals_to_opencv(there).convention == normal.convention
        again = normals_in(there, axes, outward=outward)  # type: ignore[arg-type]
        assert (again.values == there.values).all()
    assert len({normals_in(normal, *key[:1], outward=key[1]).convention for key in expected}) == 4  # type: ignore[arg-type]
    assert "OpenGL camera axes x right, y up, z backward" in normals_to_opengl(normal).convention
    assert normals_to_opengl(normal).unit == "unit vector"


def test_what_has_no_normals() -> None:
    with pytest.raises(ValueError, match=r"normals must be \(H, W, 3\), got \(6, 10\)"):
        normals_to_opengl(np.zeros((H, W), np.float32))
    with pytest.raises(ValueError, match="'depth' is no map of normals in a known convention; it says"):
        normals_to_opencv(METRIC)
    normal = one("normal", np.zeros((H, W, 3)))
    with pytest.raises(ValueError, match="unknown axes 'blender'; choose from opencv, opengl"):
        normals_in(normal, "blender", outward=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no map of normals"):
        normals_to_opengl(replace(normal, convention="my own"))


# colours ----------------------------------------------------------------------------------------------------


def test_srgb_by_hand() -> None:
    linear = np.array([0.0, 0.001, 0.0031308, 0.21404114, 1.0, -0.21404114])
    expected = [0.0, 0.01292, 0.0404499, 0.5, 1.0, -0.5]
    np.testing.assert_allclose(linear_to_srgb(linear), expected, atol=1e-6)
    np.testing.assert_allclose(srgb_to_linear(linear_to_srgb(linear)), linear, atol=1e-7)
    assert linear_to_srgb(linear.astype(np.float32)).dtype == np.float32
    assert linear_to_srgb(np.array([2.0]))[0] == pytest.approx(1.055 * 2 ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", ["albedo", "shading"])
def test_colours_say_what_they_are(name: str) -> None:
    linear = ALBEDO if name == "albedo" else one("shading", ALBEDO.values[:, :, 0])
    shown = linear_to_srgb(linear)
    assert "sRGB-encoded" in shown.convention
    assert "linear (no gamma)" not in shown.convention
    assert (shown.unit, shown.scale_known) == ("relative", False)
    assert (shown.values == linear_to_srgb(linear.values)).all()
    back = srgb_to_linear(shown)
    assert back.convention == linear.convention
    np.testing.assert_allclose(back.values, linear.values, atol=1e-6)
    with pytest.raises(ValueError, match=f"'{name}' is not linear; it says"):
        linear_to_srgb(shown)
    with pytest.raises(ValueError, match=f"'{name}' is not sRGB-encoded; it says"):
        srgb_to_linear(linear)
    with pytest.raises(ValueError, match="'depth' is not linear"):
        linear_to_srgb(METRIC)


# disparity --------------------------------------------------------------------------------------------------


def test_disparity_by_hand() -> None:
    depth = np.array([[2.0, 0.0, -1.0, np.nan, 8.0]], np.float32)
    np.testing.assert_array_equal(depth_to_disparity(depth), [[0.5, np.nan, np.nan, np.nan, 0.125]])
    in_px = depth_to_disparity(depth, focal_px=100.0, baseline_m=0.5)
    np.testing.assert_array_equal(in_px, [[25.0, np.nan, np.nan, np.nan, 6.25]])
    assert in_px.dtype == np.float32
    back = disparity_to_depth(in_px, focal_px=100.0, baseline_m=0.5)
    np.testing.assert_array_equal(back, [[2.0, np.nan, np.nan, np.nan, 8.0]])


def test_disparity_says_what_it_is() -> None:
    valid = METRIC.valid.copy()
    valid[0, 0] = False
    metric = replace(METRIC, valid=valid)
    inverse = depth_to_disparity(metric)
    assert (inverse.unit, inverse.scale_known, inverse.shift_known) == ("1/m", True, True)
    assert (inverse.valid == valid).all()
    in_px = depth_to_disparity(metric, focal_px=700.0, baseline_m=0.25)
    assert in_px.unit == "px"
    assert "with 700 px and 0.25 m: larger is nearer" in in_px.convention
    back = disparity_to_depth(in_px, focal_px=700.0, baseline_m=0.25)
    np.testing.assert_allclose(back.values, metric.values, rtol=1e-6)
    assert (back.unit, back.scale_known) == ("m", True)
    assert "planar z" in back.convention
    relative = depth_to_disparity(replace(metric, unit="relative", scale_known=False))
    assert (relative.unit, relative.scale_known) == ("relative", False)
    assert "up to one unknown scale" in relative.convention
    assert disparity_to_depth(relative).unit == "relative"


def test_depth_of_zero_disparity_is_not_valid() -> None:
    disparity = depth_to_disparity(METRIC)
    disparity.values[1, 2] = 0
    assert not disparity_to_depth(disparity).valid[1, 2]
    assert disparity_to_depth(disparity).valid.sum() == H * W - 1


def test_colours_of_disparity_keep_near_and_far() -> None:
    two = np.repeat([[1.0, 2.0]], 4, axis=0)
    depth = one("depth", two, encoding="log")
    assert (np.asarray(depth.colorize()) == np.asarray(depth_to_disparity(depth).colorize())).all()
    ranged = np.asarray(depth_to_disparity(depth).colorize(value_range=(0.5, 1.0)))
    assert (ranged == np.asarray(depth.colorize())).all()


@pytest.mark.parametrize(
    ("convert", "given", "numbers", "message"),
    [
        (depth_to_disparity, METRIC, (700.0, None), "needs both focal_px and baseline_m"),
        (depth_to_disparity, METRIC, (-1.0, 0.5), "focal_px must be above 0, got -1"),
        (depth_to_disparity, METRIC, (1.0, np.inf), "baseline_m must be above 0, got inf"),
        (depth_to_disparity, RELATIVE, (None, None), "relative with an unknown shift.* scale_from_points"),
        (depth_to_disparity, ALBEDO, (None, None), "expected a map of depth, got 'albedo'"),
        (depth_to_disparity, depth_to_disparity(METRIC), (None, None), "expected a map of depth"),
        (disparity_to_depth, METRIC, (None, None), "'depth' is no disparity; it says"),
        (disparity_to_depth, depth_to_disparity(METRIC), (7.0, 1.0), "in 1/m is converted without them"),
        (
            disparity_to_depth,
            depth_to_disparity(METRIC, focal_px=7.0, baseline_m=1.0),
            (None, None),
            "disparity in px needs focal_px and baseline_m",
        ),
    ],
)
def test_what_cannot_become_disparity(convert, given, numbers, message) -> None:
    with pytest.raises(ValueError, match=message):
        convert(given, focal_px=numbers[0], baseline_m=numbers[1])


# rescaled ---------------------------------------------------------------------------------------------------


def test_depth_to_metres() -> None:
    metres = rescaled(RELATIVE, 10.0, 0.5)
    np.testing.assert_allclose(metres.values, RELATIVE.values * 10 + 0.5, rtol=1e-6)
    assert (metres.unit, metres.scale_known, metres.shift_known) == ("m", True, True)
    assert "unknown" not in metres.convention
    assert "times 10 plus 0.5." in metres.convention
    assert metres.valid.all()
    assert metres.encoding == RELATIVE.encoding
    assert RELATIVE.unit == "relative"


def test_without_a_shift_zero_stays_unknown() -> None:
    metres = rescaled(RELATIVE, 10.0)
    assert (metres.unit, metres.scale_known, metres.shift_known) == ("m", True, False)
    assert "right up to one added constant" in metres.convention
    assert metres.valid.all()
    known = rescaled(RELATIVE, 10.0, 0.0)
    assert known.shift_known
    assert not known.valid[0, 0]  # 0 m is no depth
    assert known.valid.sum() == H * W - 1


def test_correction_of_metres() -> None:
    corrected = rescaled(METRIC, 1.1)
    assert (corrected.unit, corrected.scale_known, corrected.shift_known) == ("m", True, True)
    np.testing.assert_allclose(corrected.values, METRIC.values * 1.1, rtol=1e-6)


def test_other_maps_are_rescaled() -> None:
    flow = one("optical_flow", np.ones((H, W, 2)))
    in_px = rescaled(flow, (12.0, 3.0))
    assert in_px.values[0, 0].tolist() == [12.0, 3.0]
    assert in_px.is_flow_in_px
    assert "in pixels" in in_px.convention
    assert rescaled(one("scene_flow", np.ones((H, W, 3))), 0.5).unit == "m"
    brighter = rescaled(ALBEDO, 2.0)
    assert (brighter.unit, brighter.scale_known) == ("relative", False)
    known = rescaled(ALBEDO, 2.0, unit="reflectance")
    assert (known.unit, known.scale_known) == ("reflectance", True)


@pytest.mark.parametrize(
    ("given", "numbers", "message"),
    [
        (one("semantic", np.zeros((H, W), np.int64)), (2.0,), "'semantic' in 'class id' has no scale"),
        (one("normal", np.zeros((H, W, 3))), (2.0,), "'normal' in 'unit vector' has no scale"),
        (depth_to_disparity(METRIC), (2.0,), "convert it with disparity_to_depth first"),
        (METRIC, (0.0,), "scale must be above 0, or 1 such numbers, got 0"),
        (ALBEDO, ((1.0, 2.0),), "scale must be above 0, or 3 such numbers"),
        (METRIC, (np.nan,), "scale must be above 0"),
        (ALBEDO, (1.0, 1.0), "shift must be finite, and for depth only, got 1.0 for 'albedo'"),
        (METRIC, (1.0, np.inf), "shift must be finite"),
    ],
)
def test_what_cannot_be_rescaled(given: Prediction, numbers: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rescaled(given, *numbers)


# scale from points ------------------------------------------------------------------------------------------


def points_of(depth: Prediction, scale: float, shift: float, count: int) -> list[tuple[float, float, float]]:
    generator = np.random.default_rng(count)
    rows, columns = generator.permutation(H * W)[:count] // W, generator.permutation(H * W)[:count] % W
    return [
        (float(x), float(y), scale * float(depth.values[y, x]) + shift)
        for y, x in zip(rows, columns, strict=True)
    ]


def test_one_point_is_enough_where_zero_is_known() -> None:
    up_to_scale = replace(METRIC, unit="relative", scale_known=False)
    fit = scale_from_points(up_to_scale, [(3.4, 1.6, 20.0)])  # the nearest pixel is row 2, column 3
    assert fit.scale == pytest.approx(20.0 / METRIC.values[2, 3])
    assert (fit.shift, fit.count, fit.given) == (0.0, 1, 1)
    assert fit.residual_m == pytest.approx(0, abs=1e-12)
    metres = fit.apply(up_to_scale)
    assert (metres.unit, metres.scale_known) == ("m", True)
    assert metres.values[2, 3] == pytest.approx(20.0)


def test_two_points_give_scale_and_shift() -> None:
    fit = scale_from_points(RELATIVE, [(0, 0, 2.0), (9, 5, 12.0)])  # values 0 and 1
    assert (fit.scale, fit.shift) == pytest.approx((10.0, 2.0))
    metres = fit.apply(RELATIVE)
    assert metres.shift_known
    assert metres.range == pytest.approx((2.0, 12.0))


@pytest.mark.parametrize(("depth", "shift"), [(METRIC, 0.0), (RELATIVE, 1.5)])
def test_wrong_points_do_little_harm(depth: Prediction, shift: float) -> None:
    points = points_of(depth, 7.0, shift, 20)
    for i in (0, 5, 11, 17):
        points[i] = (*points[i][:2], 300.0)
    fit = scale_from_points(depth, points)
    assert fit.scale == pytest.approx(7.0, rel=1e-4)
    assert fit.shift == pytest.approx(shift, abs=1e-3)
    assert fit.residual_m < 1e-3


@pytest.mark.parametrize(
    ("depth", "points", "message"),
    [
        (METRIC, [], "points is empty"),
        (METRIC, [(10, 0, 1.0)], r"point \(10, 0\) lies outside the map, 10x6 px"),
        (METRIC, [(0, -0.6, 1.0)], "lies outside the map"),
        (METRIC, [(np.nan, 0, 1.0)], "lies outside the map"),
        (METRIC, [(0, 0, 0.0)], "must have a depth above 0 m, got 0.0"),
        (replace(METRIC, valid=np.zeros((H, W), bool)), [(0, 0, 1.0)], "where the map is not valid"),
        (RELATIVE, [(0, 0, 1.0)], "at least two points at different values of the map are needed, got 1"),
        (RELATIVE, [(4, 4, 1.0), (4, 4, 2.0)], "at least two points at different values"),
        (RELATIVE, [(0, 0, 5.0), (9, 5, 2.0)], "the points contradict the map"),
        (ALBEDO, [(0, 0, 1.0)], "expected a map of depth, got 'albedo'"),
    ],
)
def test_points_that_do_not_help(depth: Prediction, points: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scale_from_points(depth, points)


# scale from the height of the camera ------------------------------------------------------------------------

SIZE = (48, 80)
CAMERA = Camera(70.0, 72.0, 41.0, 20.0, SIZE)


def ground(height: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> tuple[Prediction, np.ndarray]:
    """Depth of a plane at that height below the camera, and its normal; not valid where there is sky."""
    pitch, roll = np.radians(pitch_deg), np.radians(roll_deg)
    normal = np.array([np.sin(roll), np.cos(roll) * np.cos(pitch), np.cos(roll) * np.sin(pitch)])
    along = CAMERA.rays(*np.mgrid[: SIZE[0], : SIZE[1]]) @ normal
    seen = along > 0.02
    values = np.where(seen, height / np.where(seen, along, 1.0), 1.0)
    return replace(one("depth", values, encoding="log"), valid=seen), normal


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (25, 0), (-10, 0), (10, 15), (50, -5)])
def test_planes_give_the_exact_scale(pitch: float, roll: float) -> None:
    depth, normal = ground(0.4, pitch, roll)  # the map's own units
    up_to_scale = replace(depth, unit="relative", scale_known=False)
    fit = scale_from_camera_height(up_to_scale, 1.6, CAMERA)
    assert fit.scale == pytest.approx(4.0, rel=1e-5)
    assert fit.shift == 0
    assert fit.residual_m < 1e-5
    np.testing.assert_allclose(fit.ground_normal, normal, atol=1e-5)
    assert fit.apply(up_to_scale).unit == "m"


def test_things_on_the_ground_do_no_harm() -> None:
    depth, _ = ground(2.0, 8.0)
    values = depth.values.copy()
    values[30:, 10:38] = np.minimum(values[30:, 10:38], 3.0)  # 35 % of the lower part: a wall of 3 m
    fit = scale_from_camera_height(replace(depth, values=values), 1.0, CAMERA)
    assert fit.scale == pytest.approx(0.5, rel=1e-4)
    assert fit.count < fit.given


def test_noise_does_not_bias_the_scale() -> None:
    depth, _ = ground(1.5, 12.0)
    noise = np.random.default_rng(3).normal(1.0, 0.08, SIZE)
    fit = scale_from_camera_height(
        replace(depth, values=(depth.values * noise).astype(np.float32)), 1.5, CAMERA
    )
    assert fit.scale == pytest.approx(1.0, abs=0.02)
    assert fit.residual_m == pytest.approx(1.5 * 0.08 * 0.6745, rel=0.15)


def test_mask_of_the_ground() -> None:
    depth, _ = ground(1.0, 30.0)
    values = depth.values.copy()
    values[:, 30:] = 1.0  # most of the picture is something else
    mask = np.zeros(SIZE, bool)
    mask[20:, :30] = True
    fit = scale_from_camera_height(replace(depth, values=values), 3.0, CAMERA, ground=mask)
    assert fit.scale == pytest.approx(3.0, rel=1e-5)
    assert fit.given == 28 * 30


def test_where_there_is_no_ground() -> None:
    depth, _ = ground(1.0, 10.0)
    wall = replace(depth, values=np.full(SIZE, 3.0, np.float32), valid=np.ones(SIZE, bool))
    with pytest.raises(
        ValueError, match="most of these pixels lie on a plane that is 90 degrees from lying below"
    ):
        scale_from_camera_height(wall, 1.0, CAMERA)
    noise = np.random.default_rng(1).normal(1.0, 0.05, SIZE).astype(np.float32)
    with pytest.raises(ValueError, match=r"no ground\. Give ground=, a mask"):
        scale_from_camera_height(replace(wall, values=wall.values * noise), 1.0, CAMERA)
    line = np.zeros(SIZE, bool)
    line[40] = True
    with pytest.raises(ValueError, match="the pixels of the ground lie on one line"):
        scale_from_camera_height(
            replace(depth, values=np.full(SIZE, 3.0, np.float32)), 1.0, CAMERA, ground=line
        )
    chaos = np.exp(np.random.default_rng(0).normal(0, 2, SIZE)).astype(np.float32)
    with pytest.raises(ValueError, match="no flat ground found: half of the pixels are more than"):
        scale_from_camera_height(replace(wall, values=chaos), 1.0, CAMERA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": RELATIVE}, "this depth has an unknown shift too.* scale_from_points"),
        ({"depth": ALBEDO}, "expected a map of depth"),
        ({"height_m": 0.0}, "height_m must be above 0, got 0"),
        ({"camera": Camera(1.0, 1.0, 0.0, 0.0, (3, 4))}, r"camera is for \(height, width\) \(3, 4\)"),
        ({"ground": np.ones((3, 4), bool)}, r"ground must be bool \(48, 80\), got bool \(3, 4\)"),
        ({"ground": np.ones(SIZE)}, "got float64"),
        ({"ground": np.eye(*SIZE, dtype=bool)}, "at least 50 valid pixels, got "),
    ],
)
def test_what_gives_no_scale(change: dict, message: str) -> None:
    depth, _ = ground(1.0, 10.0)
    with pytest.raises(ValueError, match=message):
        scale_from_camera_height(**{"depth": depth, "height_m": 1.0, "camera": CAMERA, **change})


def test_a_fit_is_plain() -> None:
    fit = ScaleFit(scale=2.0, shift=1.0, residual_m=0.0, count=2, given=2)
    assert fit.apply(RELATIVE).range == pytest.approx((1.0, 3.0))
    assert TASKS["depth"].spec.unit == "relative"  # the published encoding, for which all this is
