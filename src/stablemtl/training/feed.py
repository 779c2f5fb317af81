"""Micro-batches of a mixture in the order of training, read ahead by worker processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from stablemtl.data import Batch, Mixture, collate

_Read = tuple[Batch, dict[tuple[str, str, int], str]]
"""A micro-batch, and what the worker has skipped so far."""


class Feed:
    """Reads what one rank trains on; with workers, while the rank computes.

    A micro-batch is determined by its step and number alone, whoever reads it: reading ahead changes nothing
    but the time it takes. Steps are meant to be asked for in order; after a jump, reading ahead starts anew.

    Args:
        mixture: decides what is in a micro-batch.
        rank: of this process.
        workers: processes that read; 0 reads when asked.
        ahead: micro-batches that each worker keeps ready.
    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, mixture: Mixture, *, rank: int = 0, workers: int = 0, ahead: int = 2) -> None:
        if workers < 0 or ahead < 1:
            raise ValueError(f"workers must be 0 or more and ahead 1 or more, got {workers} and {ahead}.")
        self.mixture, self.rank, self.workers, self.ahead = mixture, rank, workers, ahead
        self._next = -1
        self._batches: Iterator[_Read] | None = None

    def batch(self, step: int, micro: int = 0) -> Batch:
        """Micro-batch ``micro`` of optimizer step ``step``, both from 0.

        Raises:
            SampleError: a sample cannot be read.
        """
        if self.workers == 0:
            return collate(self.mixture.batch(step, micro, self.rank))
        number = step * self.mixture.accumulation + micro
        if self._batches is None or number != self._next:
            self._batches = iter(self._loader(number))
        self._next = number + 1
        batch, skipped = next(self._batches)
        self.mixture.skipped.update(skipped)
        return batch

    def restart(self) -> None:
        """Forget what was read ahead: the mixture draws otherwise from here on."""
        self._batches = None

    def _loader(self, start: int) -> DataLoader[_Read]:
        return DataLoader(
            _Numbered(self.mixture, self.rank, start),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=self.ahead,
            generator=torch.Generator(),  # its seed for workers must not come from the run's own generator
        )


class _Numbered(TorchDataset[_Read]):
    """Micro-batches by their number from ``start`` on, without end."""

    def __init__(self, mixture: Mixture, rank: int, start: int) -> None:
        self.mixture, self.rank, self.start = mixture, rank, start

    def __len__(self) -> int:
        return 2**40  # training ends by its number of steps

    def __getitem__(self, number: int) -> _Read:
        step, micro = divmod(self.start + number, self.mixture.accumulation)
        return collate(self.mixture.batch(step, micro, self.rank)), self.mixture.skipped
