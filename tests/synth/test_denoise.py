from __future__ import annotations

import numpy as np
import pytest

from stablemtl.synth.denoise import smooth_irradiance

SIZE = (16, 24)


@pytest.fixture
def wall() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked albedo, normal and depth of a wall in front of the camera."""
    row, col = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    albedo = np.where(((row // 2 + col // 3) % 2)[..., None], [0.8, 0.5, 0.2], [0.1, 0.3, 0.6])
    normal = np.broadcast_to([0.0, 0.0, -1.0], (*SIZE, 3))
    return albedo.astype(np.float32), normal.astype(np.float32), np.full(SIZE, 4, np.float32)


def test_even_light_is_kept(wall: tuple[np.ndarray, ...]) -> None:
    albedo, normal, depth = wall
    colour = albedo * 1.5
    before = colour.copy()
    out = smooth_irradiance(colour, albedo, normal, depth)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, colour, rtol=1e-5)
    np.testing.assert_array_equal(colour, before)


def test_noise_goes_and_texture_stays(wall: tuple[np.ndarray, ...]) -> None:
    albedo, normal, depth = wall
    light = 1 + 0.2 * np.random.default_rng(0).normal(size=(*SIZE, 1))
    out = smooth_irradiance((albedo * light).astype(np.float32), albedo, normal, depth)
    left = (out / albedo)[..., 0]
    assert left.std() < 0.3 * light.std()
    assert left.mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("factor", [100, 0])
def test_an_outlier_is_clamped(wall: tuple[np.ndarray, ...], factor: float) -> None:
    albedo, normal, depth = wall
    colour = albedo.copy()
    colour[5, 7] *= factor
    np.testing.assert_allclose(smooth_irradiance(colour, albedo, normal, depth), albedo, rtol=1e-4)


def test_light_does_not_cross_depth_or_normals(wall: tuple[np.ndarray, ...]) -> None:
    albedo, normal, depth = wall
    light = np.ones((*SIZE, 1), np.float32)
    light[:, 12:] = 2
    far = depth.copy()
    far[:, 12:] = 9
    turned = normal.copy()
    turned[:, 12:] = [1, 0, 0]
    for guide in ((normal, far), (turned, depth)):
        np.testing.assert_allclose(
            smooth_irradiance(albedo * light, albedo, *guide), albedo * light, rtol=1e-3
        )


def test_sky_and_lamps_are_returned_as_they_are(wall: tuple[np.ndarray, ...]) -> None:
    albedo, normal, depth = (array.copy() for array in wall)
    colour = np.random.default_rng(0).random((*SIZE, 3)).astype(np.float32)
    depth[:4], albedo[10:] = 0, 0
    out = smooth_irradiance(colour, albedo, normal, depth)
    np.testing.assert_array_equal(out[:4], colour[:4])
    np.testing.assert_array_equal(out[10:], colour[10:])
