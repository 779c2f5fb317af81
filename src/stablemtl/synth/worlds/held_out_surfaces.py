"""Surface colours of the held-out worlds, kept apart from the patterns that training sees.

All are textures: uint8 sRGB, shape (H, W, 3).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.textures import colour, noise

Image = NDArray[np.uint8]
Plane = NDArray[np.floating]


def held_out_pattern(rng: np.random.Generator, size: int = 128) -> Image:
    """Procedural texture (size, size): stones, rings, plaid, chevrons, terrazzo, waves or a gradient."""
    kind = rng.choice(["stones", "rings", "plaid", "chevrons", "terrazzo", "waves", "gradient"])
    if kind == "stones":
        return stones(rng, (colour(rng, 0.3, 0.9), colour(rng, 0.1, 0.5)), size)
    if kind == "terrazzo":
        return terrazzo(rng, size)
    row, col = np.mgrid[0:size, 0:size] / size
    count = int(rng.integers(2, 8))
    mix: Plane
    if kind == "rings":
        bend = 0.35 * noise(rng, size, octaves=3)
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * count * (np.hypot(row - 0.4, 0.3 * col - 0.1) + bend))
    elif kind == "plaid":
        mix = 0.5 * (_bands(rng, row, count) + _bands(rng, col, count))
    elif kind == "chevrons":
        mix = ((row * count + np.abs((col * count) % 1 - 0.5)) % 1 < 0.5).astype(float)
    elif kind == "waves":
        mix = ((row * 2 * count + 0.3 * np.sin(2 * np.pi * count * col)) % 1 < 0.5).astype(float)
    else:
        mix = row if rng.random() < 0.5 else np.abs(2 * col - 1)
    return _mixed(rng, mix, colour(rng), colour(rng))


def stones(
    rng: np.random.Generator, colours: tuple[Plane, Plane], size: int = 128, count: int | None = None
) -> Image:
    """Irregular stones of one colour, each in its own brightness, with joints of another.

    Args:
        rng: decides everything random.
        colours: sRGB of stones and joints in [0, 1].
        size: height and width [px].
        count: number of stones; random by default.
    """
    seeds = rng.random((int(rng.integers(14, 40)) if count is None else count, 2)) * size
    # Distances are wrapped around, so that the texture can be repeated.
    apart = np.abs(np.arange(size) - seeds[..., None])  # (stones, row and column, size)
    squares = (np.minimum(apart, size - apart) ** 2).astype(np.float32)
    nearest, second = np.full((2, size, size), np.inf, np.float32)
    owner = np.zeros((size, size), int)
    for number, (row, col) in enumerate(squares):
        distance = row[:, None] + col
        second = np.minimum(second, np.maximum(nearest, distance))
        owner[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
    joint = np.clip((np.sqrt(second) - np.sqrt(nearest)) / 3, 0, 1)
    bright = rng.uniform(0.65, 1.2, len(seeds))[owner] * (0.85 + 0.3 * noise(rng, size))
    stone, mortar = colours
    return _to_image(mortar + (bright[..., None] * stone - mortar) * joint[..., None])


def terrazzo(rng: np.random.Generator, size: int = 128) -> Image:
    """Chips of three colours in a plain ground."""
    image = np.empty((size, size, 3), np.float32)
    image[:] = colour(rng, 0.4, 0.95)
    chips = [colour(rng) for _ in range(3)]
    for _ in range(int(rng.integers(40, 120))):
        centre = rng.integers(0, size, 2)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 5))
        radius = rng.uniform(0.01, 0.05) * size
        corners = centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], chips[int(rng.integers(3))].tolist())
    return _to_image(image)


def plaster(rng: np.random.Generator, low: float = 0.45, high: float = 0.95) -> Image:
    """Plain wall with stains that run down, 128 x 128 px."""
    base = colour(rng, low, high)
    base = base + 0.4 * (base.mean() - base)
    streaks = np.asarray(cv2.resize(rng.random((3, 40)).astype(np.float32), (128, 128)))
    return _to_image(base * (0.9 + 0.12 * streaks + 0.1 * (noise(rng) - 0.5))[..., None])


def planks(rng: np.random.Generator, count: int = 6) -> Image:
    """Boards side by side, with grain along them, 128 x 128 px."""
    base = np.array([0.55, 0.38, 0.24]) * rng.uniform(0.5, 1.4) + rng.normal(0, 0.03, 3)
    board = np.floor(np.arange(128) * count / 128).astype(int)
    bright = rng.uniform(0.75, 1.15, count)[board][None] * np.ones((128, 1))
    grain = np.asarray(cv2.resize(rng.random((6, 128)).astype(np.float32), (128, 128)))
    gap = ((np.arange(128) * count / 128) % 1 < 0.06)[None]
    return _to_image((base * (bright * (0.85 + 0.3 * grain))[..., None]) * np.where(gap, 0.4, 1.0)[..., None])


def meadow(rng: np.random.Generator) -> Image:
    """Grass with flowers or dry spots, 128 x 128 px."""
    green = np.array([rng.uniform(0.3, 0.55), rng.uniform(0.4, 0.55), rng.uniform(0.15, 0.25)])
    image = green * (0.6 + 0.8 * noise(rng, octaves=6, roughness=0.95))[..., None]
    spots = rng.random((128, 128)) < rng.uniform(0, 0.04)
    image[spots] = colour(rng, 0.6, 0.95)
    return _to_image(image)


def needles(rng: np.random.Generator) -> Image:
    """Dark foliage of conifers, in rows, 128 x 128 px."""
    green = np.array([0.12, 0.3, 0.2]) * rng.uniform(0.7, 1.5)
    rows = 0.8 + 0.3 * np.sin(np.linspace(0, 16 * np.pi, 128))[:, None]
    return _to_image(green * (rows * (0.6 + 0.8 * noise(rng, octaves=6, roughness=0.9)))[..., None])


def tall_windows(rng: np.random.Generator) -> Image:
    """Plastered front with narrow framed windows and a plinth, 128 x 128 px; row 0 is the bottom."""
    wall = plaster(rng).astype(np.float32)
    frame, glass = colour(rng, 0.6, 0.95) * 255, colour(rng, 0.08, 0.35) * 255
    rows, cols = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    tall, wide = 74 // rows, 40 // cols
    for row in range(rows):
        for col in range(cols):
            top, left = 20 + int(row * 104 / rows), int((col + 0.5) * 128 / cols) - wide // 2
            wall[top : top + tall, left : left + wide] = frame
            wall[top + 2 : top + tall - 2, left + 2 : left + wide - 2] = glass * rng.uniform(0.7, 1.4)
            wall[top + tall // 2, left : left + wide] = frame
    wall[:14] = wall[:14] * 0.5
    return np.clip(wall, 6, 248).astype(np.uint8)


def roof_tiles(rng: np.random.Generator) -> Image:
    """Overlapping tiles in rows, 128 x 128 px."""
    base = [(0.6, 0.28, 0.2), (0.3, 0.3, 0.34), (0.42, 0.34, 0.28)][int(rng.integers(3))]
    row, col = np.mgrid[0:128, 0:128] / 128
    shifted = col * 12 + 0.5 * (np.floor(row * 10) % 2)
    shade = 0.65 + 0.45 * ((row * 10) % 1) * (0.6 + 0.4 * np.sin(np.pi * (shifted % 1)))
    return _to_image(np.array(base) * rng.uniform(0.8, 1.3) * shade[..., None])


def setts(rng: np.random.Generator) -> Image:
    """Road of small paving stones with crossings. It spans the road: 1024 px along it, 64 px across."""
    stone = np.full(3, rng.uniform(0.3, 0.5)) + rng.normal(0, 0.02, 3)
    tile = stones(rng, (stone, 0.55 * stone), 64, count=60).astype(np.float32)
    smooth = rng.random() < 0.5
    image = np.tile(tile, (1, 16, 1))
    if smooth:
        image = np.asarray(cv2.GaussianBlur(image, (9, 9), 3))
    white = rng.uniform(190, 235)
    for start in rng.integers(0, 1000, int(rng.integers(3, 8))):
        for lane in range(4, 60, 8):
            image[lane : lane + 4, start : start + 14] = white
    image[[0, 1, 62, 63]] *= 0.8
    return np.clip(image, 6, 248).astype(np.uint8)


def slabs(rng: np.random.Generator) -> Image:
    """Square paving slabs, 128 x 128 px."""
    grey = rng.uniform(0.45, 0.7)
    row, col = np.mgrid[0:128, 0:128] // 32
    bright = rng.uniform(0.85, 1.1, (4, 4))[row, col]
    joint = (np.mgrid[0:128, 0:128] % 32 < 2).any(0)
    tint = np.array([1.0, 0.98, 0.93])
    return _to_image(grey * tint * (bright * np.where(joint, 0.7, 1.0) * (0.9 + 0.2 * noise(rng)))[..., None])


def _bands(rng: np.random.Generator, along: Plane, count: int) -> Plane:
    """Stripes of random grey, one value for each of ``count`` parts."""
    values = np.append(rng.random(count), 0.0)
    return np.asarray(values[np.minimum((along * count).astype(int), count - 1)])


def _mixed(rng: np.random.Generator, mix: Plane, first: Plane, second: Plane) -> Image:
    grain = rng.uniform(0, 0.15) * (noise(rng, len(mix), roughness=0.8)[..., None] - 0.5)
    return _to_image(first + (second - first) * mix[..., None] + grain)


def _to_image(values: Plane) -> Image:
    """[0, 1] to 8 bits, never black nor white."""
    return np.asarray(np.clip(values, 0.03, 0.97) * 255, np.uint8)
