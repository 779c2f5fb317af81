"""Removal of rendering noise without touching textures or borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

_KERNEL = np.array([1, 2, 1], np.float32) / 4


def smooth_irradiance(colour: Map, albedo: Map, normal: Map, depth: Map, levels: int = 4) -> Map:
    """Denoised colour: light is smoothed along the surface it falls on, then multiplied by the albedo again.

    Edge-avoiding a-trous wavelets on irradiance = colour / albedo, guided by normals and depth. Before them,
    each pixel is clamped to the second smallest and second largest value of its 3x3 neighbourhood: single
    outliers go.

    Source: Dammertz et al., HPG 2010, doi:10.2312/EGGH/HPG10/067-075, with a weight on normals, log depth and
    log brightness.

    Args:
        colour: linear radiance, shape (H, W, 3).
        albedo: reflectance averaged over the same pixels, shape (H, W, 3); where any channel of it is under
            0.004, colour is returned as it is.
        normal: surface normals, shape (H, W, 3); 0 on the sky.
        depth: planar depth [m], shape (H, W); 0 on the sky.
        levels: filter passes; the taps of pass n = 0, 1, ... are 2^n pixels apart.
    Returns:
        Linear radiance, shape (H, W, 3), float32. Inputs are not modified.
    """
    reflecting = (albedo.min(-1, keepdims=True) >= 0.004) & (depth[..., None] > 0)
    light = np.where(reflecting, colour / np.maximum(albedo, 0.004), 0).astype(np.float32)
    light = _without_outliers(light)
    log_depth = np.log(np.maximum(depth, 1e-3))[..., None].astype(np.float32)
    guides = np.concatenate([normal, log_depth, reflecting], -1).astype(np.float32)
    spread = 0.3
    for level in range(levels):
        total, weights = np.zeros_like(light), np.zeros((*depth.shape, 1), np.float32)
        brightness = np.log1p(light.mean(-1, keepdims=True))
        slack = 0.04 * 2**level
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                step = (dy * 2**level, dx * 2**level)
                near, guide = _shifted(light, step), _shifted(guides, step)
                cosine = np.sum(normal * guide[..., :3], -1, keepdims=True)
                weight = _KERNEL[dy + 1] * _KERNEL[dx + 1] * guide[..., 4:] * np.clip(cosine, 0, 1) ** 32
                apart = ((guide[..., 3:4] - log_depth) / slack) ** 2
                apart = apart + ((np.log1p(near.mean(-1, keepdims=True)) - brightness) / spread) ** 2
                weight = weight * np.exp(-apart / 2)
                total += weight * near
                weights += weight
        light = np.where(weights > 1e-6, total / np.maximum(weights, 1e-6), light)
        spread *= 0.8
    return np.where(reflecting, light * albedo, colour).astype(np.float32)


def _shifted(array: NDArray[np.generic], step: tuple[int, int]) -> Map:
    """The array moved by whole pixels, borders repeated."""
    rows = np.clip(np.arange(array.shape[0]) + step[0], 0, array.shape[0] - 1)
    cols = np.clip(np.arange(array.shape[1]) + step[1], 0, array.shape[1] - 1)
    return np.asarray(array[rows[:, None], cols], np.float32)


def _without_outliers(light: Map) -> Map:
    around = np.stack([_shifted(light, (dy, dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    ordered = np.partition(around, (1, -2), axis=0)
    return np.asarray(np.clip(light, ordered[1], ordered[-2]))
