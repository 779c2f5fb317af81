"""What tiling did: places of the tiles, and for each task how they were brought to one scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stablemtl.large_images.alignment import Alignment, Fit
from stablemtl.large_images.layout import Patch, Tile, neighbours


@dataclass(frozen=True, kw_only=True)
class TaskTiling:
    """One task's tiles."""

    freedom: str
    """What was fitted for each tile: ``nothing``, ``scale``, ``ratio``, ``scale and shift``."""
    factors: np.ndarray
    """(tiles, C) what each tile's values were multiplied by."""
    addends: np.ndarray
    """(tiles, C) what was then added [unit]."""
    disagreement_before: float
    """Mean difference of two tiles where they overlap, as a share of the map's range; of class ids, the share
    of places where they differ. nan without an overlap."""
    disagreement: float
    """The same of what is joined. Blending spreads it over the overlap."""


@dataclass(frozen=True, kw_only=True)
class TilingReport:
    """Places of the tiles, and their fits."""

    tiles: tuple[tuple[int, int, int, int], ...]
    """(top, left, bottom, right) of each [px], row by row."""
    tasks: Mapping[str, TaskTiling]
    """By name; empty if the image is one tile."""

    @property
    def rows(self) -> tuple[int, ...]:
        """First and last borders of tiles inside the image, down [px]: the seams, if there were any."""
        return _inside((top, bottom) for top, _, bottom, _ in self.tiles)

    @property
    def columns(self) -> tuple[int, ...]:
        """The same across [px]."""
        return _inside((left, right) for _, left, _, right in self.tiles)


def task_tiling(patches: list[Patch], corrected: list[Patch], alignment: Alignment, fit: Fit) -> TaskTiling:
    """The figures of one task.

    Args:
        patches: each tile's map on the image's cells, as predicted.
        corrected: the same as joined.
        alignment, fit: what brings them to one scale.
    """
    return TaskTiling(
        freedom=alignment.freedom.value,
        factors=fit.factors.numpy(),
        addends=fit.addends.numpy(),
        disagreement_before=_disagreement(patches),
        disagreement=_disagreement(corrected),
    )


def places(tiles: list[Tile]) -> tuple[tuple[int, int, int, int], ...]:
    """(top, left, bottom, right) of each tile [px]."""
    return tuple((t.rows.start, t.columns.start, t.rows.stop, t.columns.stop) for t in tiles)


def _disagreement(patches: list[Patch]) -> float:
    differences = []
    for i, j in neighbours(patches):
        here, there = patches[i].common(patches[j])
        if here.is_floating_point():
            differences.append((here - there).abs().flatten())
        else:
            differences.append((here != there).float().flatten())
    if not differences:
        return math.nan
    mean = float(torch.cat(differences).nanmean())
    extent = _extent([patch.values for patch in patches])
    return mean / extent if extent > 0 else mean


def _extent(maps: list[Tensor]) -> float:
    """Largest minus smallest value; 1 for class ids."""
    if not maps[0].is_floating_point():
        return 1.0
    values = torch.cat([one[one.isfinite()] for one in maps])
    return float(values.max() - values.min()) if len(values) else 0.0


def _inside(borders: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    all_borders = sorted({border for pair in borders for border in pair})
    return tuple(all_borders[1:-1])
