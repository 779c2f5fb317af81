r"""How steady maps are in time, measured with a motion that does not come from the model.

.. math:: \mathrm{change} = \frac{1}{|A|} \sum_{p \in A} \lvert v_t(p) - v_{t+1}(p + f(p)) \rvert \Big/ r

summed over all pairs of neighbouring frames: f is the forward motion of :mod:`stablemtl.video.motion`, A the
pixels where it agrees with the backward motion, the bars the length of the difference over channels, and r
the range of the clip (:mod:`stablemtl.video.ranges`). For class ids it is the share of pixels whose class
changes.

What a camera's own motion changes counts too (a depth that becomes smaller), so that the figure is not 0 for
perfect maps; it compares two treatments of one clip.

Source: the warping error of Lai et al., ECCV 2018, arXiv 1808.00449, section 4, and OPW of Wang et al., ICCV
2023, arXiv 2307.08695, with a range of the clip in place of their weights, so that it serves all maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stablemtl.video.motion import Motion, follow, thinned


@dataclass
class Consistency:
    """Running change of one task's maps."""

    total: float = 0.0
    """Sum of changes [unit]."""
    pixels: int = 0
    last: np.ndarray | None = None
    """The map added last, thinned, (h, w, C) float32."""

    def add(self, values: np.ndarray, motion: Motion | None, size: tuple[int, int]) -> None:
        """Add a map.

        Args:
            values: (H, W, C), float or class ids.
            motion: from the frame before to this one; None where the two are not to be compared.
            size: (h, w) at which motion is measured.
        """
        ids = values.dtype.kind in "iu"
        small = thinned(values, size).astype(np.float32)
        if motion is not None and self.last is not None:
            there = follow(small, motion.forward, nearest=ids)
            gap = (
                (there != self.last).any(axis=2).astype(np.float32)
                if ids
                else np.linalg.norm(there - self.last, axis=2)
            )
            usable = motion.agree_forward & np.isfinite(gap)
            self.total += float(gap[usable].sum(dtype=np.float64))
            self.pixels += int(usable.sum())
        self.last = small

    def change(self, spread: float) -> float:
        """Mean change relative to ``spread``; nan if nothing was compared."""
        return self.total / self.pixels / spread if self.pixels and spread > 0 else float("nan")
