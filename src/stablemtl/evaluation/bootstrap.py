"""Confidence intervals: how much figures would change if other images of the kind had been drawn.

Images are drawn again with replacement (Efron, 1979), as often as there are; figures are computed of each
draw from the sums that the images add (:meth:`stablemtl.tasks.base.Metric.state`), and the middle share of
them is the interval. Two predictions of the same images get the same draws, so that their difference can be
judged too. Letters: N images, K sums of an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES, SEED, LEVEL = 1000, 0, 0.95
"""Draws, seed of their random numbers, share of the draws that lie in an interval."""

_AT_ONCE = 1 << 20  # counts kept at a time: memory is bounded whatever N

Figures = Callable[[NDArray[np.float64]], Mapping[str, float]]
"""Sums (K,) to figures."""


def resampled_sums(
    states: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.float64]]:
    """The sums over images, (K,), of each draw.

    Args:
        states: sums of each image, shape (N, K), N at least 1. Draws depend on N, ``resamples`` and ``seed``
            alone.
        resamples: number of draws.
        seed: of the random numbers.
    """
    count = len(states)
    generator = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    chunk = max(1, _AT_ONCE // count)
    for start in range(0, resamples, chunk):
        times = generator.multinomial(count, share, size=min(chunk, resamples - start))  # (r, N)
        yield from times @ states


def intervals(
    states: NDArray[np.float64],
    figures: Figures,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> dict[str, tuple[float, float]]:
    """Percentile interval of each figure; (nan, nan) for one that some draw does not have.

    Args:
        states: sums of each image, shape (N, K).
        figures: computes the figures of summed states.
        resamples, seed: as in :func:`resampled_sums`.
        level: share of the draws inside, in (0, 1).
    Returns:
        By name; empty for fewer than two images, which tell nothing of the spread.
    """
    if len(states) < 2:
        return {}
    draws = [figures(sums) for sums in resampled_sums(states, resamples=resamples, seed=seed)]
    return {name: quantiles([draw[name] for draw in draws], level) for name in draws[0]}


def quantiles(values: list[float], level: float = LEVEL) -> tuple[float, float]:
    """The borders of the middle ``level`` of the values; (nan, nan) if one of them is nan."""
    if any(math.isnan(value) for value in values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
