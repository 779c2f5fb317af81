"""Colours of the things along a street, as textures: uint8 sRGB, shape (H, W, 3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.textures import Textures, colour, noise, pattern

Image = NDArray[np.uint8]


def tinted(rng: np.random.Generator, rgb: tuple[float, float, float], contrast: float) -> Image:
    """Noise around a colour in [0, 1], 128 x 128 px."""
    base = np.clip(np.array(rgb) * rng.uniform(0.7, 1.3) + rng.normal(0, 0.03, 3), 0.03, 0.95)
    grain = 1 + 2 * contrast * (noise(rng, octaves=6, roughness=0.9)[..., None] - 0.5)
    return (np.clip(base * grain, 0.02, 0.97) * 255).astype(np.uint8)


def leaves(rng: np.random.Generator) -> Image:
    """Foliage, 128 x 128 px."""
    return tinted(rng, (0.2 + 0.15 * rng.random(), 0.4, 0.12), 0.3)


def asphalt(rng: np.random.Generator) -> Image:
    """Grey surface with lane marks. The texture spans the whole road: 1024 px along it, 64 px across."""
    grey = rng.uniform(0.2, 0.45)
    tile = grey * (0.9 + 0.2 * cv2.resize(rng.random((64, 1024)).astype(np.float32), (1024, 64)))
    image = np.repeat(tile[..., None], 3, 2)
    mark = rng.uniform(0.7, 0.9)
    if rng.random() < 0.85:
        dashed = (np.arange(1024) // 12) % 2 == 0 if rng.random() < 0.7 else np.ones(1024, bool)
        image[31:33, dashed] = mark
    if rng.random() < 0.7:
        image[[2, 61]] = mark
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def facade(rng: np.random.Generator, textures: Textures) -> Image:
    """Wall with rows of windows, or any texture, 128 x 128 px."""
    if rng.random() < 0.25:
        return textures.draw(rng)
    wall = np.repeat(np.repeat((colour(rng, 0.3, 0.85)[None, None] * 255), 128, 0), 128, 1)
    wall *= 0.85 + 0.3 * noise(rng)[..., None]
    rows, cols = rng.integers(2, 5), rng.integers(2, 7)
    glass = colour(rng, 0.1, 0.5) * 255
    for row in range(rows):
        for col in range(cols):
            top, left = int((row + 0.25) * 128 / rows), int((col + 0.25) * 128 / cols)
            wall[top : top + 64 // rows, left : left + 64 // cols] = glass * rng.uniform(0.7, 1.3)
    return np.clip(wall, 5, 250).astype(np.uint8)


def signals(rng: np.random.Generator) -> Image:
    """Dark housing with three lamps, one lit, 48 x 32 px."""
    image = np.full((48, 32, 3), 30, np.uint8)
    lit = int(rng.integers(3))
    for i, rgb in enumerate([(230, 40, 30), (240, 180, 40), (40, 220, 90)]):
        shade = rgb if i == lit else tuple(v // 5 for v in rgb)
        cv2.circle(image, (16, 8 + 16 * i), 6, shade, -1)
    return image[::-1].copy()


def plate(rng: np.random.Generator) -> Image:
    """Bright plate of a sign with a border, sometimes with a pattern, 48 x 48 px."""
    rim = [(210, 30, 30), (30, 70, 190), (240, 200, 30), (235, 235, 235)][int(rng.integers(4))]
    image = np.empty((48, 48, 3), np.uint8)
    image[:] = rim
    image[6:42, 6:42] = (245, 245, 245) if rim != (235, 235, 235) else (200, 30, 30)
    if rng.random() < 0.5:
        image[14:34, 14:34] = cv2.resize(pattern(rng), (20, 20))
    return image
