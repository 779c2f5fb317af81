"""How much of the tiling shows in a map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def seam_error(values: np.ndarray, rows: Sequence[int], columns: Sequence[int]) -> float:
    r"""What a map jumps by across the tiles' borders, beyond what it changes by elsewhere.

    .. math::
        e = \frac{1}{\max v - \min v} \Big(
            \operatorname{mean}_{p \in S} |v_p - v_{p-1}|
            - \operatorname{mean}_{p \notin S} |v_p - v_{p-1}| \Big)

    S being the pixels after a border, for rows and columns apart; then the mean over all borders. About 0 for
    a map without seams, and it can be a little below. Of class ids the jump is 1 where the class changes, and
    the range is 1.

    Args:
        values: (H, W) or (H, W, C).
        rows, columns: places of the borders: the first row, or column, after each.
    Returns:
        Share of the range; 0 if there is no border or the map is constant.
    """
    ids = values.dtype.kind in "iu"
    extent = 1.0 if ids else float(np.nanmax(values) - np.nanmin(values))
    if extent == 0 or not (rows or columns):
        return 0.0
    total = 0.0
    for axis, borders in ((0, rows), (1, columns)):
        if borders:
            jumps = _jumps(values, axis)
            at = np.isin(np.arange(1, len(jumps) + 1), borders)
            total += len(borders) * float(np.nanmean(jumps[at]) - np.nanmean(jumps[~at]))
    return total / (len(rows) + len(columns)) / extent


def _jumps(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean change from each row (axis 0) or column (axis 1) to the next; one at a time, to save memory."""
    along = np.moveaxis(values, axis, 0)
    if values.dtype.kind in "iu":
        return np.array([(b != a).mean() for a, b in pairwise(along)])
    return np.array([np.nanmean(np.abs(np.subtract(b, a, dtype=np.float64))) for a, b in pairwise(along)])
