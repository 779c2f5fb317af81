"""Smoothing of maps whose flicker is known."""

from __future__ import annotations

import numpy as np
import pytest

from stablemtl.tasks import TASKS, Task, build_task
from stablemtl.video.consistency import Consistency
from stablemtl.video.motion import Motion
from stablemtl.video.ranges import BINS, ClipRange
from stablemtl.video.smoothing import Smoother

H, W = 12, 20
RNG = np.random.default_rng(0)
FLOAT32 = np.dtype(np.float32)


def still(agree: bool | np.ndarray = True) -> Motion:
    """Nothing moves; pixels agree, or do not."""
    mask = np.broadcast_to(np.asarray(agree), (H, W)).copy()
    return Motion(np.zeros((H, W, 2), np.float32), np.zeros((H, W, 2), np.float32), mask, mask)


def smoother(task: str | Task, constant: float, dtype: np.dtype = FLOAT32) -> Smoother:
    return Smoother((TASKS[task] if isinstance(task, str) else task).spec, constant, dtype)


def scene(channels: int = 1, low: float = 0.2, high: float = 0.8) -> np.ndarray:
    return RNG.uniform(low, high, (H, W, channels)).astype(np.float32)


def test_a_scale_that_jumps_fades_as_stated() -> None:
    """Shading twice as bright for good: what is left of the jump is c to the power of the frames."""
    one, constant = scene(), 0.7
    smooth = smoother("shading", constant)
    smooth.step(one, None)
    for frame in range(1, 6):
        # The maps are equal but for the scale, so that blending multiplies the remaining log-scale by a known
        # share: q = last / (1.3 one); out = (1 - c) q^c 1.3 one + c last.
        last = smooth.last
        assert last is not None
        ratio = float((last / (1.3 * one)).mean())
        out = smooth.step(1.3 * one, still())
        assert smooth.scale[0] == pytest.approx(ratio**constant, rel=1e-4), frame
        expected = (1 - constant) * ratio**constant * 1.3 + constant * ratio * 1.3
        np.testing.assert_allclose(out, expected * one, rtol=1e-4)
    assert smooth.shift == [0.0]


def test_scale_and_shift_of_relative_depth() -> None:
    one = scene()
    smooth = smoother("depth", 0.6)  # the published encoding: metres up to scale and shift
    smooth.step(one, None)
    out = smooth.step(1.25 * one - 0.1, still())
    fitted = smooth.scale[0] * (1.25 * one - 0.1) + smooth.shift[0]
    np.testing.assert_allclose(out, 0.4 * fitted + 0.6 * one, atol=1e-5)
    assert smooth.scale[0] == pytest.approx(0.8**0.6, rel=1e-4)
    raw_mean, mean = float((1.25 * one - 0.1).mean()), float(one.mean())
    assert fitted.mean() == pytest.approx(0.4 * raw_mean + 0.6 * mean, rel=1e-4)


def test_flicker_of_scale_is_reduced_without_touching_the_shape() -> None:
    one = scene()
    smooth = smoother("albedo", 0.8)
    colour = np.repeat(one, 3, axis=2)
    gains = np.exp(RNG.normal(0, 0.1, 40))
    means = [
        float(smooth.step((gain * colour).astype(np.float32), still() if i else None).mean())
        for i, gain in enumerate(gains)
    ]
    assert np.std(np.log(means)[10:]) < 0.4 * np.std(np.log(gains)[10:])
    assert smooth.last is not None
    np.testing.assert_allclose(smooth.last / colour, (smooth.last / colour).mean(), rtol=1e-3)


def test_metres_are_not_rescaled() -> None:
    depth = build_task("depth", encoding="log", near_m=0.5, far_m=80.0)
    smooth = smoother(depth, 0.5)
    one = 10 * scene()
    smooth.step(one, None)
    out = smooth.step(1.5 * one, still())
    assert (smooth.scale, smooth.shift) == ([1.0], [0.0])
    np.testing.assert_allclose(out, 1.25 * one, rtol=1e-5)


def test_each_channel_of_a_relative_motion_has_its_own_scale() -> None:
    smooth = smoother("optical_flow", 0.5)
    one = scene(2, -0.8, 0.8)
    smooth.step(one, None)
    smooth.step(one * np.array([1.2, 0.8], np.float32), still())
    assert smooth.scale == pytest.approx([1.2**-0.5, 0.8**-0.5], rel=1e-4)


def test_outliers_do_not_decide_the_scale() -> None:
    one = scene()
    changed = one.copy()
    changed[:3, :6] = 20.0  # something new and bright on 18 of 240 pixels
    smooth = smoother("shading", 0.5)
    smooth.step(changed, None)
    smooth.step(1.2 * one, still())
    assert smooth.scale[0] == pytest.approx(1.2**-0.5, rel=0.02)


def test_only_pixels_that_agree_are_blended() -> None:
    depth = build_task("depth", encoding="log")
    smooth = smoother(depth, 0.5)
    left = np.zeros((H, W), bool)
    left[:, :10] = True
    smooth.step(np.full((H, W, 1), 2.0, np.float32), None)
    out = smooth.step(np.full((H, W, 1), 4.0, np.float32), still(left))
    np.testing.assert_allclose(out[:, :10], 3.0)
    np.testing.assert_allclose(out[:, 10:], 4.0)


def test_what_moved_is_found_where_it_went() -> None:
    depth = build_task("depth", encoding="log")
    smooth = smoother(depth, 0.5)
    first, second = np.ones((H, W, 1), np.float32), np.ones((H, W, 1), np.float32)
    first[:, 5], second[:, 7] = 9.0, 9.0  # a pole moves 2 px to the right
    motion = still()
    motion.backward[..., 0] = -2.0
    smooth.step(first, None)
    np.testing.assert_allclose(smooth.step(second, motion), second)


def test_normals_stay_unit_vectors() -> None:
    smooth = smoother("normal", 0.5)
    forward, right = (np.zeros((H, W, 3), np.float32) for _ in range(2))
    forward[..., 2] = right[..., 0] = 1.0
    smooth.step(forward, None)
    out = smooth.step(right, still())
    np.testing.assert_allclose(out, np.float32([0.5**0.5, 0, 0.5**0.5]) * np.ones_like(out), atol=1e-6)


def test_classes_are_voted() -> None:
    """With 0.6, a first other frame has votes 0.4 against 0.6, a second 0.4 + 0.6 x 0.4 = 0.64."""
    road, sky = np.zeros((H, W, 1), np.int64), np.full((H, W, 1), 6, np.int64)
    for given, wanted in (([road, sky, road], [0, 0, 0]), ([road, sky, sky], [0, 0, 6])):
        smooth = smoother("semantic", 0.6)
        seen = [smooth.step(ids, still() if i else None) for i, ids in enumerate(given)]
        assert [int(ids[0, 0, 0]) for ids in seen] == wanted
    assert all((ids == ids[0, 0]).all() for ids in seen)
    assert seen[0].dtype == np.int64
    unknown = np.full((H, W, 1), 250, np.int64)
    assert (smooth.step(unknown, still()) == 250).all()


@pytest.mark.parametrize("task", ["shading", "semantic", "normal"])
def test_a_cut_forgets(task: str) -> None:
    ids = task == "semantic"
    first, second = (
        (np.full((H, W, 1), n, np.int64) if ids else scene(TASKS[task].spec.channels)) for n in (0, 6)
    )
    smooth = smoother(task, 0.9)
    smooth.step(first, None)
    mask = np.zeros((H, W), bool)
    mask[0] = True  # 1 / 12 of the pixels is found again
    out = smooth.step(second, still(mask))
    if task == "normal":
        out, second = (v / np.linalg.norm(v, axis=2, keepdims=True) for v in (out, second))
    np.testing.assert_allclose(out, second, rtol=1e-6)


def test_no_smoothing_gives_the_very_map() -> None:
    smooth = smoother("shading", 0.0)
    one = scene()
    smooth.step(scene(), None)
    assert smooth.step(one, still()) is one
    assert (smooth.scale, smooth.shift) == ([1.0], [0.0])


def test_values_are_those_that_the_arrays_keep() -> None:
    smooth = smoother("shading", 0.5, np.dtype(np.float16))
    out = smooth.step(scene(), None)
    np.testing.assert_array_equal(out, out.astype(np.float16).astype(np.float32))


def test_nothing_to_fit_leaves_the_map() -> None:
    smooth = smoother("shading", 0.5)
    smooth.step(np.zeros((H, W, 1), np.float32), None)
    smooth.step(scene(), still())
    assert smooth.scale == [1.0]
    nothing = np.full((H, W, 1), np.nan, np.float32)
    smooth.step(nothing, still())
    one = scene()
    np.testing.assert_array_equal(smooth.step(one, still()), one)  # the past is not a number


def test_change_by_hand() -> None:
    change = Consistency()
    assert np.isnan(change.change(1.0))
    for value in (1.0, 3.0, 4.0):
        change.add(np.full((H, W, 1), value, np.float32), still() if value > 1 else None, (H, W))
    assert change.change(10.0) == pytest.approx((2.0 + 1.0) / 2 / 10)
    vectors = Consistency()
    vectors.add(np.zeros((H, W, 2), np.float32), None, (H, W))
    vectors.add(np.ones((H, W, 2), np.float32) * np.float32([3, 4]), still(), (H, W))
    assert vectors.change(1.0) == pytest.approx(5.0)


def test_change_follows_the_motion() -> None:
    first, second = np.zeros((H, W, 1), np.float32), np.zeros((H, W, 1), np.float32)
    first[:, 5], second[:, 7] = 1.0, 1.0
    motion = still()
    motion.forward[..., 0] = 2.0
    for flow, expected in ((motion, 0.0), (still(), 2 / W)):
        change = Consistency()
        change.add(first, None, (H, W))
        change.add(second, flow, (H, W))
        assert change.change(1.0) == pytest.approx(expected)


def test_change_of_classes_is_the_share_that_changes() -> None:
    change = Consistency()
    ids = np.zeros((H, W, 1), np.int64)
    change.add(ids, None, (H, W))
    ids = ids.copy()
    ids[:, :5] = 6
    change.add(ids, still(), (H, W))
    assert change.change(1.0) == pytest.approx(5 / W)


def test_range_of_a_clip() -> None:
    clip = ClipRange(build_task("depth", encoding="log", near_m=0.5, far_m=80.0).spec)
    for start in (10.0, 20.0):
        clip.add(np.linspace(start, start + 10, 1000, dtype=np.float32).reshape(20, 50, 1))
    step = (80.0 - 0.5) / BINS
    assert clip.range() == pytest.approx((10.4, 29.6), abs=2 * step)
    assert clip.shown == clip.range()
    assert clip.spread == pytest.approx(19.2, abs=4 * step)


def test_range_of_vectors_is_symmetric_and_grows_with_the_frame() -> None:
    flow = build_task("optical_flow", encoding="calibrated", scale_px=16.0)
    clip = ClipRange(flow.spec, growth=2.0)
    clip.add(np.full((4, 5, 2), 1.0, np.float32) * np.float32([18.0, 24.0]))  # 30 px long
    low, high = clip.range()
    assert high == pytest.approx(30.0, abs=0.05)
    assert low == -high
    assert clip.spread == high


def test_ranges_that_are_fixed() -> None:
    assert ClipRange(TASKS["semantic"].spec).shown is None
    assert ClipRange(TASKS["semantic"].spec).spread == 1.0
    assert ClipRange(TASKS["normal"].spec).shown == (-1.0, 1.0)
    assert ClipRange(TASKS["normal"].spec).spread == 1.0
    shading = ClipRange(TASKS["shading"].spec)
    shading.add(np.full((3, 4, 1), 0.25, np.float32))
    assert shading.shown == (0.0, 1.0)
    low, high = shading.range()
    assert low <= 0.25 < high
    empty = ClipRange(TASKS["depth"].spec)
    empty.add(np.full((3, 4, 1), np.nan, np.float32))
    assert empty.range() == (0.0, 1.0)
