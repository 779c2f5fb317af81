"""Where tiles lie in an image, with which weights they are joined, and the cells they are compared on.

Letters: H, W size of the image; h, w size of a tile; C channels; a, b cells down and across.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from stablemtl.models.tiles import Tiling

STEP_PX = 8
"""Tiles begin at multiples of it, so that latent cells of neighbours coincide where nothing is resized."""

LEAST_TILE_PX = 64

_CELLS_IN_OVERLAP = 8


class Tile(NamedTuple):
    """A part of the image."""

    rows: slice
    columns: slice
    row_weights: Tensor
    """(h,)"""
    column_weights: Tensor
    """(w,)"""

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) [px]."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def weights(self) -> Tensor:
        """(h, w); over all tiles they sum to one at each pixel."""
        return self.row_weights[:, None] * self.column_weights


class Patch(NamedTuple):
    """A tile's map on the cells of the image that lie wholly inside it."""

    top: int
    left: int
    values: Tensor
    """(C, a, b)"""

    def common(self, other: Patch) -> tuple[Tensor, Tensor]:
        """Values of both, (C, a, b), on the cells they share."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.values.shape[1], other.top + other.values.shape[1])
        right = min(self.left + self.values.shape[2], other.left + other.values.shape[2])
        return self.at(top, left, bottom, right), other.at(top, left, bottom, right)

    def at(self, top: int, left: int, bottom: int, right: int) -> Tensor:
        """Values on a rectangle of the image's cells, all of them in this patch."""
        return self.values[:, top - self.top : bottom - self.top, left - self.left : right - self.left]


def check_tile(tile: int, overlap: int | None) -> int:
    """The overlap to use [px], a quarter of the tile if None.

    Raises:
        ValueError: a tile or an overlap that cannot be.
    """
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < LEAST_TILE_PX or tile % STEP_PX:
        raise ValueError(
            f"tile must be a number of px, a multiple of {STEP_PX}, at least {LEAST_TILE_PX}, got {tile!r}."
            + (f" The next one is {_next(tile)}." if isinstance(tile, int) else "")
        )
    if overlap is None:
        return tile // 4 // STEP_PX * STEP_PX
    whole = isinstance(overlap, int) and not isinstance(overlap, bool)
    if not whole or not STEP_PX <= overlap <= tile // 2 or overlap % STEP_PX:
        raise ValueError(
            f"overlap must be a number of px, a multiple of {STEP_PX}, from {STEP_PX} to half the tile "
            f"({tile // 2}), got {overlap!r}. Leave it out for a quarter of the tile."
        )
    return overlap


def place_tiles(size: tuple[int, int], tile: int, overlap: int) -> list[Tile]:
    """Tiles of at most ``tile`` px that cover an image of (height, width), row by row, of nearly equal size.

    The weights fall linearly over the overlap. What a network says about the last pixels before a border it
    knows least; an eighth of the overlap at each inner edge is therefore not used.
    """
    cells = overlap // STEP_PX
    tiling = Tiling(edge=tile // STEP_PX, overlap=cells, trim=cells // 8)
    down, across = (_along(tiling, length) for length in size)
    return [Tile(rows, columns, u, v) for rows, u in down for columns, v in across]


def cell_size(size: tuple[int, int], overlap: int) -> int:
    """Edge of the cells on which tiles are compared [px]: about eight across an overlap."""
    return max(1, min(overlap // _CELLS_IN_OVERLAP, *size) // STEP_PX) * STEP_PX


def on_cells(maps: Tensor, cell: int, *, top_px: int = 0, left_px: int = 0) -> Patch:
    """Means over the cells of ``cell`` px that a map covers wholly; of class ids, the one in the middle.

    Args:
        maps: shape (C, h, w).
        cell: edge of a cell [px]; the first one begins at the image's upper left corner.
        top_px, left_px: place of the map's first pixel in the image.
    """
    top, left = -(-top_px // cell), -(-left_px // cell)
    inside = maps[:, top * cell - top_px :, left * cell - left_px :]
    down, across = inside.shape[1] // cell, inside.shape[2] // cell
    inside = inside[:, : down * cell, : across * cell]
    if maps.is_floating_point():
        values = F.avg_pool2d(inside, cell) if down and across else inside[:, :0, :0]
    else:
        values = inside[:, cell // 2 :: cell, cell // 2 :: cell]
    return Patch(top, left, values.clone())


def neighbours(patches: Sequence[Patch]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of patches that share a cell."""
    corners = np.array([(p.top, p.left) for p in patches])
    boxes = np.hstack([corners, corners + [p.values.shape[1:] for p in patches]])
    for i in range(len(boxes) - 1):
        later = boxes[i + 1 :]
        high, low = np.maximum(boxes[i, :2], later[:, :2]), np.minimum(boxes[i, 2:], later[:, 2:])
        for j in np.flatnonzero((high < low).all(axis=1)):
            yield i, i + 1 + int(j)


def _along(tiling: Tiling, length: int) -> list[tuple[slice, Tensor]]:
    """Part and weights of each tile along an axis of ``length`` px, whose last step may be cut short."""
    steps = -(-length // STEP_PX)
    parts = []
    for span, weights in zip(tiling.spans(steps), tiling.weights(steps, STEP_PX), strict=True):
        part = slice(span.start * STEP_PX, min(span.stop * STEP_PX, length))
        parts.append((part, weights[: part.stop - part.start]))
    return parts


def _next(tile: int) -> int:
    return max(LEAST_TILE_PX, -(-tile // STEP_PX) * STEP_PX)
