r"""What a tile cannot know, from the coarse map: structures as large as a good part of the tile.

A crop tells a network little of its surroundings. It takes the crop for a whole picture, with a floor below
and walls at both sides. Such errors are broad; the coarse map, made of the whole view, does not have them. So
the broad part of the difference between both is added to the tile's map v, whose detail stays:

.. math:: v \leftarrow v + G_\sigma (c - v)

c is the coarse map and G a Gaussian blur, over what is inside the tile. Where tiles are known up to a ratio,
v and c are logarithms. Classes have no broad part: there the coarse map says which classes are near, and the
tiles choose among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.large_images.alignment import Freedom
from stablemtl.large_images.layout import Patch, Tile
from stablemtl.tasks.geometry import resize_nearest

CONTEXT = 0.125
"""Sigma as a share of the tile's edge."""

NEAR = 0.25
"""How far a tile may move the border of a class, as a share of sigma."""


@dataclass(frozen=True)
class Field:
    """A smooth correction of one tile's map."""

    patch: Patch
    """The correction on the image's cells."""
    cell: int
    """Edge of a cell [px]."""
    ratio: bool
    """Whether it is the logarithm of a factor; else it is added."""

    def apply(self, maps: Tensor, tile: Tile) -> Tensor:
        """The map (C, h, w) of ``tile``, corrected."""
        inside = F.interpolate(self.patch.values[None], scale_factor=self.cell, mode="bilinear")[0]
        top = self.patch.top * self.cell - tile.rows.start
        left = self.patch.left * self.cell - tile.columns.start
        bottom, right = maps.shape[1] - top - inside.shape[1], maps.shape[2] - left - inside.shape[2]
        correction = F.pad(inside[None], (left, right, top, bottom), mode="replicate")[0]
        return maps * correction.exp() if self.ratio else maps + correction


def context_field(patch: Patch, coarse: Patch, freedom: Freedom, *, sigma_px: float, cell: int) -> Field:
    """The correction of a tile.

    Args:
        patch: the tile's map on the image's cells, brought to the common scale.
        coarse: the whole image's map.
        freedom: what the tile was known up to.
        sigma_px: of the blur.
        cell: edge of a cell [px].
    """
    values, whole = patch.common(coarse)
    ratio = freedom is Freedom.RATIO
    difference = whole.log() - values.log() if ratio else whole - values
    known = difference.isfinite().all(dim=0, keepdim=True)
    blurred = _blur(torch.where(known, difference, 0.0), sigma_px / cell)
    share = _blur(known.to(difference), sigma_px / cell)
    return Field(patch._replace(values=torch.where(share > 0, blurred / share, 0.0)), cell, ratio)


def on_patch(patch: Patch, field: Field) -> Patch:
    """The tile's map on the cells, corrected."""
    values = patch.values * field.patch.values.exp() if field.ratio else patch.values + field.patch.values
    return patch._replace(values=values)


@dataclass(frozen=True)
class Near:
    """Which classes the whole view sees near a pixel."""

    coarse: Tensor
    """(1, h, w) class ids of the whole image."""
    reach_px: float
    """How near [px of the image]; at least one pixel of ``coarse``."""

    def allows(self, class_id: int, size: tuple[int, int]) -> Tensor:
        """(1, H, W) bool: where the class is near, in an image of (height, width)."""
        seen = (self.coarse == class_id).float()
        steps = [
            max(1, round(self.reach_px * n / full)) for n, full in zip(seen.shape[1:], size, strict=True)
        ]
        around = F.max_pool2d(seen[None], [2 * n + 1 for n in steps], stride=1, padding=steps)[0]
        return resize_nearest(around > 0, size)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, a, b), as if all were 0 outside; not scaled to a sum of one."""
    for axis in (1, 2):
        places = torch.arange(maps.shape[axis], dtype=maps.dtype)
        kernel = torch.exp(-0.5 * ((places[:, None] - places) / sigma).square())  # (n, n), symmetric
        maps = torch.tensordot(maps, kernel, dims=([axis], [0])).movedim(-1, axis)
    return maps
