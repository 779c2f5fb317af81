"""Mirroring and resizing of maps whose last axes are (C, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mirror(maps: Tensor, *, negate_x: bool = False) -> Tensor:
    """Left-right mirror image; ``negate_x`` also turns channel 0, the x component of vectors.

    >>> mirror(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), negate_x=True).tolist()
    [[[[-2.0, -1.0]], [[4.0, 3.0]]]]
    """
    flipped = maps.flip(-1)
    if negate_x:
        flipped[..., 0, :, :].neg_()  # flip() has already copied
    return flipped


def upside_down(maps: Tensor, *, negate_y: bool = False) -> Tensor:
    """Top-bottom mirror image; ``negate_y`` also turns channel 1, the y component of vectors.

    >>> upside_down(torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]]), negate_y=True).tolist()
    [[[[2.0], [1.0]], [[-4.0], [-3.0]]]]
    """
    flipped = maps.flip(-2)
    if negate_y:
        flipped[..., 1, :, :].neg_()
    return flipped


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest-exact resize of a tensor of any type, masks and class ids included.

    The source index is floor((i + 1/2) * source / destination), in integers, hence without rounding trouble.

    >>> resize_nearest(torch.arange(8).view(1, 1, 8), (1, 4)).tolist()
    [[[1, 3, 5, 7]]]

    Args:
        maps: shape (..., H, W).
        size: (height, width) of the result.
    Raises:
        ValueError: a side of ``size`` is below 1.
    """
    height, width = _check(size)
    rows = _nearest_index(maps.shape[-2], height, maps.device)
    columns = _nearest_index(maps.shape[-1], width, maps.device)
    return maps[..., rows, :][..., columns]


def resize_smooth(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize, antialiased when a side shrinks. NaN and infinities count as 0, so as not to spread.

    Args:
        maps: floating point, shape (..., C, H, W).
        size: (height, width) of the result.
    Raises:
        ValueError: a side of ``size`` is below 1.
    """
    height, width = _check(size)
    if maps.shape[-2:] == (height, width):
        return maps.clone()
    batch = maps.nan_to_num(0.0, 0.0, 0.0).reshape(-1, *maps.shape[-3:])
    shrinks = height < maps.shape[-2] or width < maps.shape[-1]
    resized = F.interpolate(batch, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)
    return resized.reshape(*maps.shape[:-2], height, width)


def unit_vectors(maps: Tensor) -> Tensor:
    """Vectors divided by their length, shape (..., C, H, W); a vector of length 0 stays 0."""
    length = maps.norm(dim=-3, keepdim=True)
    return maps / torch.where(length > 0, length, 1.0)


def _nearest_index(source: int, destination: int, device: torch.device) -> Tensor:
    steps = torch.arange(destination, device=device)
    return (2 * steps + 1) * source // (2 * destination)


def _check(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1, got {tuple(size)}")
    return size
