"""The samples of a benchmark, read one after the other; what cannot be used is left out and remembered."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stablemtl.data.sample import Dataset
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.frames import Frame, make_frame
from stablemtl.tasks.base import TaskSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A sample that was left out."""

    index: int
    """Number of the sample in its dataset."""
    error: str
    """What the dataset's reader said."""


class Samples:
    """Reads frames whenever it is iterated over; leaves out what cannot be used, and remembers that."""

    def __init__(
        self, dataset: Dataset, benchmark: Benchmark, spec: TaskSpec, indices: Sequence[int]
    ) -> None:
        """Nothing is read yet.

        Args:
            dataset: with labels of the benchmark's task.
            benchmark: gives the size.
            spec: of the benchmark's task.
            indices: samples to read, in this order.
        """
        self.dataset, self.benchmark, self.spec, self.indices = dataset, benchmark, spec, indices
        self.unreadable: dict[int, Unreadable] = {}
        self.unlabelled: set[int] = set()

    def __iter__(self) -> Iterator[Frame]:
        for index in self.indices:
            if index in self.unreadable or index in self.unlabelled:
                continue
            try:
                sample = self.dataset.load(index, self.benchmark.task)
            except (OSError, ValueError, EOFError, RuntimeError) as error:
                text = " ".join(str(error).split()) or type(error).__name__
                logger.warning("left out: %s, sample %d: %s", self.benchmark.name, index, text)
                self.unreadable[index] = Unreadable(index=index, error=text)
                continue
            frame = make_frame(sample, index, self.benchmark, self.spec)
            if frame.sample.valid.any():
                yield frame
            else:
                self.unlabelled.add(index)


def batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Runs of at most ``size`` frames that can be computed together: one size, one resolution."""
    batch: list[Frame] = []
    for frame in frames:
        if batch and (len(batch) == size or _kind(frame) != _kind(batch[0])):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _kind(frame: Frame) -> tuple[object, ...]:
    return frame.sample.image.shape, frame.sample.image_next is None, frame.resolution


def spread(indices: Sequence[int], limit: int) -> list[int]:
    """At most ``limit`` of ``indices``, the first one and others at even distances; 0 takes all.

    >>> spread(range(10), 4)
    [0, 2, 5, 7]
    """
    count = len(indices)
    if limit == 0 or count <= limit:
        return list(indices)
    return [indices[i * count // limit] for i in range(limit)]
