"""`cutouts`: photographs and cut-outs of them moved by random affine motions, as in FlyingChairs.

Source: Dosovitskiy et al., ICCV 2015, arXiv 1504.06852, section 4; chairs are replaced by random outlines
with textures. Needs no renderer.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.scenes import Array
from stablemtl.synth.textures import Textures

_FINE = 2  # everything is drawn at twice the size, then averaged: borders are smooth
_LARGEST_FLOW = 0.11  # of the image width

Picture = NDArray[np.uint8]
Flow = NDArray[np.float32]


def cutouts(
    rng: np.random.Generator, textures: Textures, size: tuple[int, int]
) -> tuple[Picture, Picture, Flow]:
    """Two frames and the optical flow of the first.

    Args:
        rng: decides everything random.
        textures: source of photographs and patterns.
        size: (height, width) [px].
    Returns:
        First and second frame, uint8 sRGB (H, W, 3), and flow, u right and v down [px], float32 (H, W, 2).
    """
    height, width = size[0] * _FINE, size[1] * _FINE
    strength = float(np.exp(rng.uniform(np.log(0.08), np.log(1.0)))) * _LARGEST_FLOW * width
    background = _affine(rng, 0.6 * strength, (width / 2, height / 2), shape=(height, width))
    layers = [(_texture(rng, textures, (height, width)), np.full((height, width), 255, np.uint8), background)]
    for _ in range(int(rng.integers(2, 9))):
        mask, centre = _outline(rng, height, width)
        own = _affine(rng, 0.7 * strength, centre, shape=(height, width))
        moves = rng.random() < 0.85
        matrix = own @ background if moves else background
        layers.append((_texture(rng, textures, (height, width)), mask, matrix))
    first: NDArray[Any] = np.zeros((height, width, 3), np.float32)
    second: NDArray[Any] = first.copy()
    flow = np.zeros((height, width, 2), np.float32)
    row, col = np.mgrid[0:height, 0:width].astype(np.float32)
    for texture, mask, matrix in layers:
        border = cv2.BORDER_REFLECT_101 if mask.all() else cv2.BORDER_CONSTANT
        moved, moved_mask = (
            cv2.warpAffine(image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
            for image in (texture, mask)
        )
        cover = (np.asarray(moved_mask) / 255.0)[..., None]
        here = (mask / 255.0)[..., None]
        first = here * texture + (1 - here) * first
        second = cover * moved + (1 - cover) * second
        x = matrix[0, 0] * col + matrix[0, 1] * row + matrix[0, 2]
        y = matrix[1, 0] * col + matrix[1, 1] * row + matrix[1, 2]
        step = np.stack([x - col, y - row], -1)
        flow = np.where(mask[..., None] > 127, step, flow)
    frames = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in (first, second)]
    gain = rng.uniform(0.9, 1.1) if rng.random() < 0.3 else 1.0  # exposure changes between some frames
    pair = [np.clip(frame, 0, 255).round().astype(np.uint8) for frame in (frames[0], frames[1] * gain)]
    # A coarse pixel's flow is that of one of its fine pixels: averages would be wrong at borders.
    return pair[0], pair[1], (flow[::_FINE, ::_FINE] / _FINE).astype(np.float32)


def _affine(
    rng: np.random.Generator, strength: float, centre: tuple[float, float], shape: tuple[int, int]
) -> Array:
    """Small motion about a centre: shift, turn and zoom, as a 3x3 matrix on (x, y, 1)."""
    reach = 0.5 * max(shape)
    angle = rng.normal(0, 0.35 * strength / reach)
    zoom = 1 + rng.normal(0, 0.25 * strength / reach)
    matrix = np.eye(3)
    matrix[:2, :2] = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.clip(rng.normal(0, 0.6 * strength, 2), -strength, strength)
    if rng.random() < 0.3:
        shift[1] *= 0.1  # many real motions are sideways
    matrix[:2, 2] = np.array(centre) - matrix[:2, :2] @ centre + shift
    return matrix


def _texture(rng: np.random.Generator, textures: Textures, size: tuple[int, int]) -> Picture:
    photo = textures.photo(rng, size, smallest=0.3) if rng.random() < 0.8 else None
    if photo is not None:
        return photo
    drawn = textures.draw(rng)
    turned = np.ascontiguousarray(np.rot90(drawn, int(rng.integers(4))))
    return np.asarray(cv2.resize(turned, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _outline(rng: np.random.Generator, height: int, width: int) -> tuple[Picture, tuple[float, float]]:
    """A random polygon or rounded shape: mask, 0 or 255 with smooth borders, and centre (x, y) [px]."""
    centre = (float(rng.uniform(0.05, 0.95) * width), float(rng.uniform(0.05, 0.95) * height))
    radius = height * np.exp(rng.uniform(np.log(0.06), np.log(0.35)))
    corners = int(rng.integers(3, 12)) if rng.random() < 0.5 else 64
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    wave = 1 + sum(rng.uniform(0, 0.3) * np.sin(k * angle + rng.uniform(0, 6)) for k in range(1, 5))
    ray = radius * (wave if corners == 64 else rng.uniform(0.5, 1.2, corners))
    squeeze, tilt = rng.uniform(0.4, 1.0), rng.uniform(0, np.pi)
    x, y = ray * np.cos(angle), squeeze * ray * np.sin(angle)
    points = np.stack(
        [centre[0] + x * np.cos(tilt) - y * np.sin(tilt), centre[1] + x * np.sin(tilt) + y * np.cos(tilt)], 1
    )
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return mask, centre
