"""The range of a clip: one for all of its frames, so that a colour means the same in each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from stablemtl.tasks.base import TaskSpec

BINS = 4096
OUTER_SHARE = 0.02
"""Share of pixels that may lie below the range, and above it."""


@dataclass
class ClipRange:
    """Running histogram of a task's values, or of the lengths of its vectors."""

    spec: TaskSpec
    growth: float = 1.0
    """Size of the maps over the size processed, for values that count pixels."""
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @property
    def limits(self) -> tuple[float, float]:
        """What the histogram spans [unit]; values beyond count as its ends."""
        low, high = self.spec.value_range
        if self.spec.channels > 1:
            low, high = 0.0, math.sqrt(self.spec.channels) * max(abs(low), abs(high))
        if self.spec.grows_with_frame and self.spec.scale_known:
            high *= self.growth
        if not self.spec.scale_known:
            high += high - low  # aligned scales may exceed what decoding gives
        return low, high

    def add(self, values: np.ndarray) -> None:
        """Add a map (H, W, C); class ids have no range."""
        if values.dtype.kind in "iu":
            return
        sizes = values[:, :, 0] if values.shape[2] == 1 else np.linalg.norm(values, axis=2)
        sizes = sizes[np.isfinite(sizes)]
        low, high = self.limits
        places = ((sizes - low) * (BINS / (high - low))).astype(np.int64).clip(0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def range(self) -> tuple[float, float]:
        """The 2 % and the 98 % quantile of values; for vectors, minus and plus the 98 % quantile of lengths.

        The whole range of the task where nothing was added; never empty.
        """
        low, high = self.limits
        total = int(self.counts.sum())
        if not total:
            return self.spec.value_range
        running = np.cumsum(self.counts)
        step = (high - low) / BINS
        lowest = low + step * int(np.searchsorted(running, OUTER_SHARE * total, side="right"))
        highest = low + step * (int(np.searchsorted(running, (1 - OUTER_SHARE) * total)) + 1)
        if self.spec.channels > 1:
            return -highest, highest
        return lowest, highest

    @property
    def shown(self) -> tuple[float, float] | None:
        """What the colours of the clip span [unit]: its range where they are stretched; None for classes."""
        if self.spec.classes:
            return None
        return self.range() if self.spec.stretched_colors else self.spec.value_range

    @property
    def spread(self) -> float:
        """What a change is compared with [unit]: width of the range, longest vector, or 1 for classes."""
        if self.spec.classes:
            return 1.0
        if self.spec.unit == "unit vector":
            return 1.0
        low, high = self.range()
        return high if self.spec.channels > 1 else high - low
