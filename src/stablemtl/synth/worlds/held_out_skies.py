"""Light of the held-out worlds: skies with a soft lobe instead of gradients and clouds, and studio lights.

Environment maps are linear RGB, shape (H, 2H, 3), zenith first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sky = NDArray[np.float32]

_HEIGHT = 32


def directions(height: int = _HEIGHT) -> NDArray[np.float64]:
    """World direction of every pixel of an environment map, shape (H, 2H, 3)."""
    row, col = np.mgrid[0:height, 0 : 2 * height] + 0.5
    zenith, azimuth = row / height * np.pi, col / height * np.pi
    flat = np.sin(zenith)
    return np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), np.cos(zenith)], -1)


def towards(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Unit vector at an azimuth from +x to +y and an elevation above the horizon [rad]."""
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def lobe(direction: NDArray[np.float64], width: float, height: int = _HEIGHT) -> NDArray[np.float64]:
    """Soft spot of light of unit irradiance on a surface that faces it, shape (H, 2H, 1).

    Args:
        direction: where it comes from, a unit vector.
        width: angle at which it falls to 0.6 of its middle [rad].
        height: H [px].
    """
    angle = np.arccos(np.clip(directions(height) @ direction, -1, 1))
    spot = np.exp(-0.5 * (angle / width) ** 2)
    solid = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None] * (np.pi / height) ** 2
    irradiance = float((spot * np.maximum(np.cos(angle), 0) * solid).sum())
    return np.asarray(spot / max(irradiance, 1e-9))[..., None]


def hazy_sky(rng: np.random.Generator, sun: NDArray[np.float64], brightness: float, warmth: float) -> Sky:
    """Haze that is brightest around the sun, over a dark ground.

    Args:
        rng: decides everything random.
        sun: where it stands, a unit vector; it may be below the horizon.
        brightness: factor on all values.
        warmth: 0 for white haze, 1 for the red of dusk.
    """
    up = directions()[..., 2:]
    haze = np.array([0.75, 0.78, 0.85]) * rng.uniform(0.9, 1.1, 3)
    above = np.array([0.25, 0.4, 0.6]) * rng.uniform(0.8, 1.2, 3)
    glow = np.array([1.0, 0.9 - 0.4 * warmth, 0.8 - 0.65 * warmth])
    sky = haze + (above - haze) * np.clip(up, 0, 1) ** 0.5
    sky = sky * (1 - 0.45 * warmth) + 0.5 * glow * lobe(sun, rng.uniform(0.4, 0.8))
    stripes = np.sin(up * rng.uniform(12, 30) + rng.uniform(0, 6)) > rng.uniform(0.3, 0.9)
    sky = sky + 0.15 * stripes * np.clip(1 - np.abs(up - 0.3) / 0.3, 0, 1)
    return np.asarray(brightness * np.where(up > -0.05, sky, 0.15 * haze), np.float32)


def studio(direction: NDArray[np.float64], width: float, ambient: float, tint: NDArray[np.float64]) -> Sky:
    """One soft light in a dim surrounding.

    Args:
        direction: where the light comes from, a unit vector.
        width: of the light [rad], see ``lobe``.
        ambient: radiance of the surrounding; the light's irradiance is pi.
        tint: linear RGB of the light, shape (3,).
    """
    return np.asarray(ambient + np.pi * tint * lobe(direction, width), np.float32)
