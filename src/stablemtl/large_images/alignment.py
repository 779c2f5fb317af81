"""What may differ between the maps of two tiles, by the task, and how it is undone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec


class Freedom(Enum):
    """What a tile's map is known up to."""

    NOTHING = "nothing"
    """Tiles speak of the same quantity: class ids, directions, motion in px."""
    SCALE = "scale"
    """One factor, not negative."""
    RATIO = "ratio"
    """One factor, found from ratios; for what is never 0."""
    SCALE_AND_SHIFT = "scale and shift"
    """A factor, not negative, and an addend."""


@dataclass(frozen=True)
class Alignment:
    """How a task's tiles are brought to one scale."""

    freedom: Freedom
    groups: tuple[tuple[int, ...], ...]
    """Channels that share their factor and their addend."""

    def apply(self, maps: Tensor, factors: Tensor, addends: Tensor) -> Tensor:
        """``factors * maps + addends``; maps (C, h, w), both others one number per channel (C,)."""
        if self.freedom is Freedom.NOTHING:
            return maps
        return maps * factors[:, None, None].to(maps) + addends[:, None, None].to(maps)


def alignment_of(spec: TaskSpec) -> Alignment:
    """The alignment that follows from what is known about a task's values.

    - Class ids, unit vectors and motion in px: nothing. A pixel moves by as many px in a crop as in the
      whole.
    - Scale and zero unknown (relative depth): scale and shift.
    - Scale unknown (shading, albedo, relative motion): scale. Colours have one for all channels: their ratios
      are the hue. Motion relative to its own maximum has one for each.
    - Metres: a crop is a picture taken with a longer lens. It looks like one of nearer things, so that a
      network that knows one field of view is wrong by a factor. That is undone: by ratios where values are
      positive (depth), else by scale (scene flow: one for each axis, as a longer lens changes distances
      along the view, not those across it).
    """
    together = (tuple(range(spec.channels)),)
    apart = tuple((channel,) for channel in range(spec.channels))
    if spec.unit in ("class id", "unit vector") or (spec.scale_known and spec.grows_with_frame):
        return Alignment(Freedom.NOTHING, together)
    if not spec.shift_known:
        return Alignment(Freedom.SCALE_AND_SHIFT, together)
    if spec.value_range[0] > 0:
        return Alignment(Freedom.RATIO, together)
    return Alignment(Freedom.SCALE, apart if spec.frames == 2 else together)


@dataclass(frozen=True)
class Fit:
    """Factor and addend of each tile of one task."""

    factors: Tensor
    """(tiles, C)"""
    addends: Tensor
    """(tiles, C) [unit]"""

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.factors == 1).all() and (self.addends == 0).all())

    @classmethod
    def identity(cls, tiles: int, channels: int) -> Fit:
        """Nothing changes."""
        return cls(torch.ones(tiles, channels), torch.zeros(tiles, channels))
