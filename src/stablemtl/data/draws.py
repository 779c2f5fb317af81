"""Weighted random draws that can be replayed from any position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Draws:
    """An endless sequence of weighted draws, in random access, with counts of what came before.

    Draws are made in blocks, each from its own seed; blocks and running counts are kept once made. Threads
    may make the same one twice, with equal results.

    Args:
        seed: of the draws.
        weights: one for each choice, in proportion.
        block: draws made at once; weights can change between blocks.
    """

    def __init__(self, seed: int, weights: Sequence[float], *, block: int = 4096) -> None:
        self._seed, self.block = seed, block
        self._weights = [(0, _shares(weights))]  # (first block, shares), in this order
        self._blocks: dict[int, NDArray[np.int64]] = {}
        self._counts: dict[int, NDArray[np.int64]] = {0: np.zeros(len(weights), np.int64)}

    def reweight(self, position: int, weights: Sequence[float]) -> None:
        """From ``position`` on, draw with other weights; what was said before for later draws is forgotten.

        Raises:
            ValueError: ``position`` is not the start of a block.
        """
        first, rest = divmod(position, self.block)
        if rest or position < 0:
            raise ValueError(f"position must be a multiple of {self.block}, got {position}.")
        self._weights = [item for item in self._weights if item[0] < first] + [(first, _shares(weights))]
        self._blocks = {number: drawn for number, drawn in self._blocks.items() if number < first}
        self._counts = {number: counts for number, counts in self._counts.items() if number <= first}

    def at(self, position: int) -> int:
        return int(self._block(position // self.block)[position % self.block])

    def count_before(self, position: int, choice: int) -> int:
        """How often ``choice`` was drawn at positions below ``position``."""
        block, place = divmod(position, self.block)
        within = int((self._block(block)[:place] == choice).sum())
        return int(self._count(block)[choice]) + within

    def _block(self, number: int) -> NDArray[np.int64]:
        if number not in self._blocks:
            shares = next(shares for first, shares in reversed(self._weights) if first <= number)
            generator = np.random.default_rng([self._seed, number])
            self._blocks[number] = generator.choice(len(shares), self.block, p=shares)
        return self._blocks[number]

    def _count(self, number: int) -> NDArray[np.int64]:
        """How often each choice was drawn in the blocks before block ``number``."""
        start = number
        while start not in self._counts:
            start -= 1
        for block in range(start, number):
            drawn = np.bincount(self._block(block), minlength=len(self._weights[0][1]))
            self._counts[block + 1] = self._counts[block] + drawn
        return self._counts[number]


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(weights, np.float64) / np.sum(weights)
