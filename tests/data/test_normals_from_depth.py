from __future__ import annotations

import numpy as np
import pytest

from stablemtl.data.normals_from_depth import normals_from_depth

SIZE = (375, 1242)
FOCAL, CENTER = (725.0087, 725.0087), (620.5, 187.0)
ROW, COLUMN = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)


def planes() -> dict[str, np.ndarray]:
    """Depth of a wall in front, of a floor 1.5 m below the camera, of a wall 3 m to the left; else sky."""
    sky = 655.35
    below, left = ROW - CENTER[1], COLUMN - CENTER[0]
    return {
        "front": np.full(SIZE, 7.0),
        "floor": np.where(below > 0, 1.5 * FOCAL[0] / np.where(below > 0, below, 1.0), sky),
        "left": np.where(left < 0, -3.0 * FOCAL[0] / np.where(left < 0, left, 1.0), sky),
    }


@pytest.mark.parametrize(
    ("plane", "pixel", "expected"),
    [
        ("front", (10, 20), (0.0, 0.0, 1.0)),
        ("floor", (300, 600), (0.0, 0.999999, -0.0014)),
        ("left", (100, 300), (-0.999999, 0.0, 0.0014)),
    ],
)
def test_golden_planes_with_the_published_pixel_origin(plane, pixel, expected):
    normals = normals_from_depth(planes()[plane], focal_px=FOCAL, center_px=CENTER, pixel_origin=1)
    assert normals.shape == (*SIZE, 3)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals[pixel], expected, atol=5e-5)


@pytest.mark.parametrize(("plane", "expected"), [("floor", (0, 1, 0)), ("left", (-1, 0, 0))])
def test_planes_are_exact_when_pixels_count_from_zero(plane, expected):
    normals = normals_from_depth(planes()[plane], focal_px=FOCAL, center_px=CENTER)
    inside = normals[250:, :] if plane == "floor" else normals[:, :500]
    np.testing.assert_allclose(inside, np.broadcast_to(expected, inside.shape), atol=6e-5)  # to the borders


def test_tilted_plane():
    # n.p = 4 with n = (0.6, 0, 0.8): z = 4 / (0.6 x + 0.8), x and y from the pixel
    x = (COLUMN[:20, :30] - 14.5) / 100.0
    normals = normals_from_depth(4.0 / (0.6 * x + 0.8), focal_px=(100, 100), center_px=(14.5, 9.5))
    np.testing.assert_allclose(normals, np.broadcast_to((0.6, 0.0, 0.8), normals.shape), atol=2e-3)


def test_a_step_between_two_walls_stays_sharp():
    depth = np.full((6, 8), 2.0)
    depth[:, 4:] = 6.0
    normals = normals_from_depth(depth, focal_px=(50, 50), center_px=(3.5, 2.5))
    np.testing.assert_allclose(normals, np.broadcast_to((0, 0, 1), normals.shape), atol=1e-6)


def test_input_stays_and_shape_is_checked():
    depth = np.full((3, 4), 2.0, np.float32)
    normals_from_depth(depth, focal_px=(5, 5), center_px=(1.5, 1))
    assert (depth == 2).all()
    with pytest.raises(ValueError, match=r"depth must be \(H, W\) .* got \(1, 3, 4\)"):
        normals_from_depth(depth[None], focal_px=(5, 5), center_px=(1.5, 1))
