r"""Less flicker: each frame's maps are brought closer to those of the frame before, moved along the motion.

With v the map as predicted, s the map given out, w(s) the last map given out moved to this frame along the
motion of :mod:`stablemtl.video.motion`, A the pixels where forward and backward motion agree, and c the
constant (the share of the past that is kept):

1. *Alignment*, for maps known only up to scale (and shift). Factor and offset are those that give v the
   spread (and the mean) of w(s) over A:

   .. math:: q = \sigma(w(s)) / \sigma(v), \quad
       v' = q^c (v - \bar v) + \bar v + c (\overline{w(s)} - \bar v)

   (without a shift: :math:`q = \mathrm{rms}(w(s)) / \mathrm{rms}(v)` and :math:`v' = q^c v`). This makes the
   logarithm of the scale, and the offset, an exponential average over frames: their jumps fade as c to the
   power of the frames since. A ratio of spreads, unlike a least-squares factor, does not shrink when both
   sides are noisy. Pixels that differ by more than three robust deviations after a first fit, of medians, are
   left out.

2. *Blending*, for all maps but class ids: :math:`s(p) = (1 - c\,a(p))\, v'(p) + c\,a(p)\, w(s)(p)`, with a
   = 1 on A and 0 elsewhere. Unit vectors are normalised again.

3. *Voting*, for class ids: each pixel carries votes for the classes, moved and averaged in the same way; the
   class with most votes is given out. With c up to 0.5 that is always the class predicted.

At a cut, where less than a fifth of the pixels is found again, the map is given out as predicted and nothing
of the past is kept. So it is for motion without a second frame. Values are rounded to the type of the arrays
at each step, so that a run continued from its files gives the same numbers.

How much each constant takes of the flicker, and of the detail: ``benchmarks/video.py consistency``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stablemtl.tasks.base import TaskSpec
from stablemtl.video.motion import Motion, enlarged, follow, thinned

CUT_AGREEMENT = 0.2
"""Share of pixels found again below which two frames are taken for different scenes."""

_LEAST_PIXELS = 16
_SCALE_LIMITS = (0.5, 2.0)  # a scale that changes more from frame to frame is a failed fit
_ROUNDING = 1e-3  # of the spread: differences below are those of 16-bit numbers
_OUTLIER = 3.0 * 1.4826  # robust deviations, from the median of absolute differences


@dataclass
class Smoother:
    """Smooths one task's maps, frame after frame.

    Args:
        spec: of the task.
        constant: share of the past that is kept, in [0, 1); 0 gives every map out as it came.
        dtype: number type of the arrays.
    """

    spec: TaskSpec
    constant: float
    dtype: np.dtype
    last: np.ndarray | None = None
    """The map given out last, (H, W, C) float32."""
    votes: np.ndarray | None = None
    """(H, W, classes) float32 in [0, 1], for class ids."""
    scale: list[float] = field(default_factory=list)
    """Of each channel of the frame given out last: what the prediction was multiplied with."""
    shift: list[float] = field(default_factory=list)
    """What was added then [unit]."""

    def step(self, values: np.ndarray, motion: Motion | None) -> np.ndarray:
        """The next map.

        Args:
            values: (H, W, C) float32, or integer class ids.
            motion: from the frame before to this one; None for the first frame, or to forget the past.
        Returns:
            Shape and type of ``values``.
        """
        if motion is not None and motion.agreement < CUT_AGREEMENT:
            motion = None
        channels = values.shape[2]
        self.scale, self.shift = [1.0] * channels, [0.0] * channels
        if self.constant == 0:
            return values
        if values.dtype.kind in "iu":
            return self._vote(values, motion)
        if motion is None or self.last is None:
            smooth = values
        else:
            moved = follow(self.last, motion.backward)
            weight = self.constant * enlarged(motion.agree_backward, values.shape[:2])
            weight = weight * np.isfinite(moved).all(axis=2, keepdims=True)
            aligned = self._align(values, motion)
            smooth = np.where(weight > 0, (1 - weight) * aligned + weight * moved, aligned)
            if self.spec.unit == "unit vector":
                length = np.linalg.norm(smooth, axis=2, keepdims=True)
                smooth = smooth / np.where(length > 0, length, 1.0)
        self.last = smooth.astype(self.dtype).astype(np.float32)
        return self.last

    def _align(self, values: np.ndarray, motion: Motion) -> np.ndarray:
        """``values`` with scale and shift brought closer to those of the last map."""
        if (self.spec.scale_known and self.spec.shift_known) or self.last is None:
            return values
        size = motion.backward.shape[:2]
        seen = thinned(values, size)
        goal = follow(thinned(self.last, size), motion.backward)
        usable = motion.agree_backward & np.isfinite(seen).all(axis=2) & np.isfinite(goal).all(axis=2)
        channels = values.shape[2]
        # Each channel of a motion has a scale of its own; colours have one in common.
        groups = [[c] for c in range(channels)] if self.spec.frames == 2 else [list(range(channels))]
        aligned = values.copy()
        for group in groups:
            fit = _fit(
                seen[usable][:, group].ravel(),
                goal[usable][:, group].ravel(),
                scale=not self.spec.scale_known,
                shift=not self.spec.shift_known,
            )
            if fit is None:
                continue
            factor, seen_mean, goal_mean = fit
            scale = factor**self.constant
            shift = seen_mean * (1 - scale) + self.constant * (goal_mean - seen_mean)
            for channel in group:
                aligned[:, :, channel] = values[:, :, channel] * np.float32(scale) + np.float32(shift)
                self.scale[channel], self.shift[channel] = scale, shift
        return aligned

    def _vote(self, ids: np.ndarray, motion: Motion | None) -> np.ndarray:
        count = len(self.spec.classes) or int(self.spec.value_range[1]) + 1
        now = (ids == np.arange(count)).astype(np.float32)  # (H, W, classes); 0 for no class
        if motion is not None and self.votes is not None:
            weight = self.constant * enlarged(motion.agree_backward, ids.shape[:2])
            now = (1 - weight) * now + weight * follow(self.votes, motion.backward)
        self.votes = now.astype(np.float16).astype(np.float32)
        winner = self.votes.argmax(axis=2)[:, :, None].astype(ids.dtype)
        isclass = (ids >= 0) & (ids < count)
        return np.where(isclass, winner, ids)


def _fit(
    seen: np.ndarray, goal: np.ndarray, *, scale: bool, shift: bool
) -> tuple[float, float, float] | None:
    """(factor, mean of ``seen``, mean of ``goal``), means 0 without a shift; None without a fit."""
    seen, goal = seen.astype(np.float64), goal.astype(np.float64)
    factor = seen_mean = goal_mean = 0.0
    for centre, size in (
        (np.median, np.median),
        (np.mean, _root_of_squares),
    ):  # the first holds against outliers
        if len(seen) < _LEAST_PIXELS:
            return None
        seen_mean, goal_mean = (float(centre(seen)), float(centre(goal))) if shift else (0.0, 0.0)
        spread, goal_spread = float(size(abs(seen - seen_mean))), float(size(abs(goal - goal_mean)))
        if scale and (spread <= 0 or goal_spread <= 0):
            return None
        factor = goal_spread / spread if scale else 1.0
        if not _SCALE_LIMITS[0] < factor < _SCALE_LIMITS[1]:
            return None
        gap = np.abs(factor * (seen - seen_mean) + goal_mean - goal)
        near = gap <= max(_OUTLIER * float(np.median(gap)), _ROUNDING * goal_spread)
        seen, goal = seen[near], goal[near]
    return factor, seen_mean, goal_mean


def _root_of_squares(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
