"""From scores to verdicts, and the parts that scores are made of."""

from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data.doctor.depth import judge_unit, road_height, wrapped
from stablemtl.data.doctor.findings import (
    Finding,
    Measurement,
    Problem,
    gather,
    in_order,
    join_splits,
    without_consequences,
)
from stablemtl.data.doctor.geometry import axis_readings, facets, rays
from stablemtl.data.doctor.raw.flyingthings3d import NEGATED, change_trial
from stablemtl.data.doctor.trials import AS_IS, Rule, judge

RULE = Rule(
    check="flow-convention",
    subject="flow",
    measure="share",
    margin=0.1,
    frame_margin=0.5,
    floor=0.2,
    frame_floor=0.0,
    misfit="warning",
)


def trials(*scores):
    """Scores (as is, negated) of frames a, b, c, ..."""
    return [
        Measurement(check="flow-convention", key=key, values={AS_IS: right, "negated": other})
        for key, (right, other) in zip("abcdefghijklmnopqrst", scores, strict=False)
    ]


def verdict(*scores):
    found = judge(RULE, trials(*scores), "own", "train")
    return (found[0].severity, found[0].count, found[0].examples, found[0].message) if found else None


def test_no_trials_no_verdict():
    assert verdict() is None


def test_right_labels_pass_though_single_frames_are_unclear():
    assert verdict((0.9, 0.1), (0.4, 0.5), (0.9, 0.2)) is None


def test_wrong_everywhere():
    severity, count, examples, message = verdict((0.1, 0.9), (0.3, 0.9), (0.5, 0.6))
    assert (severity, count, examples) == ("error", 2, ("a", "b"))  # c does not stand out by itself
    assert message == (
        "flow in 2 of 3 frames that can be judged looks negated: share 0.30, the other way 0.80"
    )


def test_a_little_wrong_everywhere():
    assert verdict((0.5, 0.7), (0.4, 0.6))[:3] == ("error", 2, ("a", "b"))


def test_one_wrong_frame():
    right = [(0.9, 0.1)] * 10
    assert verdict((0.1, 0.9), *right)[:3] == ("warning", 1, ("a",))  # 1 of 11
    assert verdict((0.1, 0.9), *right[:8])[:3] == ("error", 1, ("a",))  # more than a tenth
    message = verdict((0.1, 0.9), *right)[3]
    assert message.endswith("looks negated: share 0.10, the other way 0.90")


def test_nothing_fits():
    severity, count, _, message = verdict((0.1, 0.0), (0.1, 0.1))
    assert (severity, count) == ("warning", 2)
    assert message == "flow in 2 of 2 frames that can be judged does not fit: share 0.10"
    assert verdict((-0.1, -0.2), *[(0.9, 0.1)] * 20)[:3] == ("warning", 1, ("a",))


# Findings ---------------------------------------------------------------------------------------------------


def finding(check, split="train", severity="error", about="", examples=()):
    return Finding(
        severity=severity,
        check=check,
        dataset="own",
        split=split,
        message="m",
        about=about,
        examples=examples,
    )


def test_gather_counts_a_place_once():
    problems = [
        Problem(severity="error", check="size", message="m", where=where)
        for where in ("a", "b", "a", *"cdefg")
    ]
    (found,) = gather("own", "train", problems)
    assert (found.count, found.examples) == (7, ("a", "b", "c", "d", "e"))


def test_consequences_are_dropped_in_the_same_split_only():
    cause, effect = finding("disparity-sign"), finding("all-invalid", about="scene_flow")
    other = finding("all-invalid", split="val", about="scene_flow")
    unrelated = finding("all-invalid", about="albedo")
    assert without_consequences([effect, cause, other, unrelated]) == [cause, other, unrelated]


def test_splits_are_joined_and_ordered():
    note = finding("empty-split", severity="note")
    found = in_order(join_splits([note, finding("index"), finding("index", split="val"), finding("size")]))
    assert [(f.check, f.split) for f in found] == [
        ("index", "train, val"),
        ("size", "train"),
        ("empty-split", "train"),
    ]
    apart = join_splits([finding("index", examples=("a",)), finding("index", split="val", examples=("b",))])
    assert len(apart) == 2


# Depth ------------------------------------------------------------------------------------------------------


def test_wrapped_planes_and_silhouettes():
    rows = np.arange(1.0, 61)[:, None] + np.zeros(80)
    ground = 2000 / rows  # from 2,000 m at the top to 33 m: a plane's inverse depth is linear
    known = np.ones_like(ground, bool)
    assert wrapped(ground % 655.36, known, 655.36)
    assert not wrapped(np.minimum(ground, 655.0), known, 655.36)
    assert not wrapped(ground % 655.36, known & (rows > 4), 655.36)  # the rows that wrap are not known
    house = np.minimum(ground, 400.0)
    house[20:50, 30:60] = 3.0  # near before far
    assert not wrapped(house, known, 655.36)


def test_height_of_the_camera():
    focal, horizon, height = 50.0, 20.0, 1.5
    rows = np.arange(48.0)[:, None] + np.zeros(64)
    depth = height * focal / np.maximum(rows - horizon, 1)
    assert road_height(depth, rows > 25, horizon, focal) == pytest.approx(height)
    assert road_height(depth, rows > 99, horizon, focal) is None


def test_unit_is_judged_by_typical_frames():
    def judged(*values, name="median"):
        some = [Measurement(check="depth-unit", key=str(v), values={name: v}) for v in values]
        return [f.message for f in judge_unit(some, "own", "train")]

    assert judged(3.0, 4.0, 500.0) == []
    assert "median depth of a typical frame is 3e+03, not 0.05 to 150" in judged(3000.0)[0]
    assert "camera's height above the road, computed from depth, is 16" in judged(16.0, name="height")[0]


# Geometry ---------------------------------------------------------------------------------------------------


def test_axis_readings_are_the_other_47_and_repair():
    readings = axis_readings()
    assert len(readings) == 47
    assert not any(np.array_equal(matrix, np.eye(3)) for matrix in readings.values())
    assert all(abs(np.linalg.det(matrix)) == 1 for matrix in readings.values())
    stored = np.array([1.0, -2.0, -3.0])
    opengl = "to have y and z flipped (OpenGL's axes for OpenCV's, or the other way round)"
    assert (readings[opengl] @ stored).tolist() == [1, 2, 3]
    assert (readings["to be right as (z, -x, y)"] @ stored).tolist() == [-3, -1, -2]
    assert (readings["of the opposite sign"] @ stored).tolist() == [-1, 2, 3]


def test_facets_of_a_plane_point_away():
    normal = np.array([0.2, 0.3, 1.0]) / np.linalg.norm([0.2, 0.3, 1.0])
    depth = 4.0 / (rays((12, 16), 20.0) @ normal)
    valid = np.ones((12, 16), bool)
    valid[5, 5] = False
    found, known = facets(depth, valid, 20.0)
    assert known.sum() == 10 * 14 - 5  # the border, the hole and its four neighbours
    assert np.allclose(found[known], normal)


# Disparity change -------------------------------------------------------------------------------------------


def approaching_wall():
    """Disparity 10 px grows to 11 px; everything moves away from the centre by a tenth."""
    y, x = np.mgrid[:24, :32].astype(float)
    flow = 0.1 * np.stack([x - 15.5, y - 11.5], axis=-1)
    return np.full((24, 32), 10.0), np.full((24, 32), 1.0), flow


def test_change_against_expansion():
    disparity, change, flow = approaching_wall()
    assert change_trial(disparity, change, flow, None) == {AS_IS: 1.0, NEGATED: 0.0}
    assert change_trial(disparity, -change, flow, None) == {AS_IS: 0.0, NEGATED: 1.0}
    assert change_trial(disparity, 0 * change, flow, None) is None  # no change, no verdict


def test_change_against_the_next_disparity():
    disparity, change, flow = approaching_wall()
    following = np.full((24, 32), 11.0)
    assert change_trial(disparity, change, flow, following) == {AS_IS: 1.0, NEGATED: 0.0}
    assert change_trial(disparity, -change, flow, following) == {AS_IS: 0.0, NEGATED: 1.0}
    assert change_trial(disparity, 0 * change, flow, following) == {AS_IS: 0.0, NEGATED: 0.0}


def test_a_camera_that_moves_aside_changes_no_disparity() -> None:
    from stablemtl.data.doctor.raw.flyingthings3d import _moved_sideways

    disparity = np.linspace(1.0, 20.0, 40 * 60).reshape(40, 60)
    flow = np.stack([0.3 * disparity, np.zeros_like(disparity)], -1)
    assert _moved_sideways(disparity, flow)
    flow[0, 0] = np.nan
    assert _moved_sideways(disparity, flow)
    assert not _moved_sideways(disparity, np.stack([20.0 - disparity, 0.5 * disparity], -1))
    assert not _moved_sideways(disparity, np.full((40, 60, 2), 3.0))
