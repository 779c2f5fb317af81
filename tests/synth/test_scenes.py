from __future__ import annotations

import numpy as np
import pytest

from stablemtl.synth.scenes import (
    Scene,
    SceneObject,
    gradient_sky,
    intrinsics,
    look_at,
    random_rotation,
    rotation,
    transform,
)
from stablemtl.synth.shapes import box


def test_transform_scales_then_turns_then_moves() -> None:
    quarter = rotation((0, 0, 2), np.pi / 2)
    matrix = transform(place=(1, 2, 3), scale=(2, 1, 1), turn=quarter)
    np.testing.assert_allclose(matrix @ [1, 0, 0, 1], [1, 4, 3, 1], atol=1e-12)
    np.testing.assert_allclose(transform(scale=3.0), np.diag([3, 3, 3, 1]))


def test_rotations_are_rotations() -> None:
    for seed in range(5):
        matrix = random_rotation(np.random.default_rng(seed), 0.3)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
        assert np.arccos((np.trace(matrix) - 1) / 2) <= 0.3 + 1e-9


def test_look_at_has_opencv_axes() -> None:
    camera = look_at((1, 1, 2), (1, 5, 2))
    np.testing.assert_allclose(camera[:3, 0], [1, 0, 0], atol=1e-12)  # right
    np.testing.assert_allclose(camera[:3, 1], [0, 0, -1], atol=1e-12)  # down
    np.testing.assert_allclose(camera[:3, 2], [0, 1, 0], atol=1e-12)  # forward
    assert camera[:3, 3].tolist() == [1, 1, 2]
    rolled = look_at((1, 1, 2), (1, 5, 2), roll=np.pi / 2)
    np.testing.assert_allclose(rolled[:3, 0], camera[:3, 1], atol=1e-12)


def test_intrinsics_count_from_the_first_pixel() -> None:
    assert intrinsics(0.75, (24, 32)).tolist() == [[24, 0, 15.5], [0, 24, 11.5], [0, 0, 1]]


def test_pose_of_static_and_moving_objects() -> None:
    first, second = np.eye(4), 2 * np.eye(4)
    texture = np.zeros((1, 1, 3), np.uint8)
    moving = SceneObject(mesh=box(), poses=(first, second), texture=texture)
    static = SceneObject(mesh=box(), poses=(first,), texture=texture)
    assert moving.pose(1) is second
    assert static.pose(1) is first


def test_the_sky_is_the_last_label() -> None:
    item = SceneObject(mesh=box(), poses=(np.eye(4),), texture=np.zeros((1, 1, 3), np.uint8), label="Road")
    scene = Scene(objects=(item,), cameras=(), focal_ratio=1.0)
    assert np.array(scene.labels)[[0, -1]].tolist() == ["Road", "Sky"]


@pytest.mark.parametrize("clouds", [None, 0.0, 1.2])
def test_sky(clouds: float | None) -> None:
    sky = gradient_sky(np.random.default_rng(0), 2.0, clouds, height=16)
    assert sky.shape == (16, 32, 3)
    assert sky.dtype == np.float32
    assert sky.min() > 0
    np.testing.assert_array_equal(sky, gradient_sky(np.random.default_rng(0), 2.0, clouds, height=16))
