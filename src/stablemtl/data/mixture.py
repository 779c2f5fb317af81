"""Which samples make up which micro-batch: a pure function of seed, optimizer step, micro-batch and rank.

One optimizer step trains one task, whatever the number of micro-batches and processes: the task is a function
of the step alone. Nothing here depends on what was asked for before: a run can be resumed, or any step
replayed, by its number.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.data.sample import Dataset, Sample


class Entry(NamedTuple):
    """A dataset as the source of one task's samples."""

    dataset: Dataset
    task: str
    weight: float
    """Only matters in proportion to the other datasets of the same task."""


class Draw(NamedTuple):
    """Where the samples of a micro-batch come from, before anything is read."""

    entry: Entry
    indices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples of one task and one size, stacked.

    Args:
        image: (B, 3, H, W) float32 in [0, 1].
        image_next: the same for the following frames, or ``None``.
        target: (B, C, H, W), physical units; class ids int64.
        valid: (B, 1, H, W) bool.
        task: the task of all samples.
        datasets, keys: where each sample came from.
    """

    image: Tensor
    image_next: Tensor | None
    target: Tensor
    valid: Tensor
    task: str
    datasets: tuple[str, ...]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            image_next=None if self.image_next is None else self.image_next.to(device, non_blocking=True),
            target=self.target.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one task.

    Raises:
        ValueError: no samples, or they differ in task, in size, or in having a second frame.
    """
    if not samples:
        raise ValueError("samples must hold at least one sample, got none.")
    for what, values in (
        ("task", {sample.task for sample in samples}),
        ("size", {f"{sample.image.shape[-2]}x{sample.image.shape[-1]}" for sample in samples}),
        ("number of frames", {1 if sample.image_next is None else 2 for sample in samples}),
    ):
        if len(values) > 1:
            raise ValueError(
                f"samples of a batch must agree in {what}, got {', '.join(sorted(map(str, values)))}."
                + (" Put a Resize into the transform of the mixture." if what == "size" else "")
            )
    following = [sample.image_next for sample in samples if sample.image_next is not None]
    return Batch(
        image=torch.stack([sample.image for sample in samples]),
        image_next=torch.stack(following) if following else None,
        target=torch.stack([sample.target for sample in samples]),
        valid=torch.stack([sample.valid for sample in samples]),
        task=samples[0].task,
        datasets=tuple(sample.dataset for sample in samples),
        keys=tuple(sample.key for sample in samples),
    )


class Mixture:
    """Micro-batches from several datasets that each label some of the tasks.

    *Task.* Round robin over the tasks in the order of their first entry, or, with ``task_weights``, an
    independent weighted draw for every step. *Dataset.* An independent draw for every micro-batch, with the
    weights of the task's entries. All samples of a micro-batch come from one dataset. *Samples.* Each entry
    is gone through in a new order in every epoch, without gaps or overlaps between micro-batches and ranks.
    For a given product of ``accumulation`` and ``world_size`` a step therefore has the same samples however
    they are spread over processes.

    Entries of one task do not influence another: leaving tasks out (``only``) keeps the weights, and the
    order of samples, of those that stay.

    Args:
        entries: what to draw from.
        batch_size: samples of one micro-batch.
        seed: of everything drawn here.
        accumulation: micro-batches of one optimizer step on one rank.
        world_size: number of ranks.
        task_weights: task name to relative frequency; tasks it does not name have 1. ``None``: round robin.
        transform: applied to every sample with a generator of its own; see ``Compose``.
    Raises:
        ValueError: no entries; a weight is not positive; a dataset lacks the task or any sample of it; a
            count is below 1; ``task_weights`` names another task.
    """

    def __init__(
        self,
        entries: Sequence[Entry | tuple[Dataset, str, float]],
        *,
        batch_size: int,
        seed: int = 0,
        accumulation: int = 1,
        world_size: int = 1,
        task_weights: Mapping[str, float] | None = None,
        transform: Callable[[Sample, torch.Generator], Sample] | None = None,
    ) -> None:
        self.entries = tuple(Entry(*entry) for entry in entries)
        self.batch_size, self.seed = batch_size, seed
        self.accumulation, self.world_size = accumulation, world_size
        self.task_weights = None if task_weights is None else dict(task_weights)
        self.transform = transform
        self._check()
        self.tasks = tuple(dict.fromkeys(entry.task for entry in self.entries))
        self._by_task = {
            task: tuple(entry for entry in self.entries if entry.task == task) for task in self.tasks
        }
        self._dataset_draws = {
            task: _Draws(self._seed("dataset", task), [entry.weight for entry in entries])
            for task, entries in self._by_task.items()
        }
        self._task_draws: _Draws | None = None
        if self.task_weights is not None:
            weights = [self.task_weights.get(task, 1.0) for task in self.tasks]
            self._task_draws = _Draws(self._seed("task"), weights)
        self._orders: dict[tuple[str, int], tuple[int, NDArray[np.int64]]] = {}

    def task_at(self, step: int) -> str:
        """The task of optimizer step ``step``, from 0, for every micro-batch on every rank."""
        _check_position("step", step, None)
        if self._task_draws is None:
            return self.tasks[step % len(self.tasks)]
        return self.tasks[self._task_draws.at(step)]

    def draw(self, step: int, micro: int = 0, rank: int = 0) -> Draw:
        """Dataset and indices of a micro-batch; nothing is read.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
        """
        _check_position("micro", micro, self.accumulation)
        _check_position("rank", rank, self.world_size)
        task = self.task_at(step)
        if self._task_draws is None:
            visits = step // len(self.tasks)
        else:
            visits = self._task_draws.count_before(step, self.tasks.index(task))
        # Number of this micro-batch among all that the task has ever had, over all ranks.
        slot = (visits * self.accumulation + micro) * self.world_size + rank
        number = self._dataset_draws[task].at(slot)
        first = self._dataset_draws[task].count_before(slot, number) * self.batch_size
        positions = range(first, first + self.batch_size)
        return Draw(self._by_task[task][number], tuple(self._index(task, number, p) for p in positions))

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> list[Sample]:
        """Samples of micro-batch ``micro`` of optimizer step ``step`` on ``rank``, all counted from 0.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
        """
        entry, indices = self.draw(step, micro, rank)
        samples = [entry.dataset.load(index, entry.task) for index in indices]
        if self.transform is None:
            return samples
        place = (step * self.accumulation + micro) * self.world_size + rank
        return [
            self.transform(sample, torch.Generator().manual_seed(self._seed("transform", str(place), str(n))))
            for n, sample in enumerate(samples)
        ]

    def only(self, tasks: Collection[str]) -> Mixture:
        """The same mixture with some of its tasks, in its own order.

        Raises:
            ValueError: a task is not in the mixture.
        """
        _check_names("tasks", tasks, self.tasks)
        weights = self.task_weights
        return Mixture(
            [entry for entry in self.entries if entry.task in tasks],
            batch_size=self.batch_size,
            seed=self.seed,
            accumulation=self.accumulation,
            world_size=self.world_size,
            task_weights=None if weights is None else {t: w for t, w in weights.items() if t in tasks},
            transform=self.transform,
        )

    def _index(self, task: str, number: int, position: int) -> int:
        """Frame at ``position`` of the endless stream of an entry: one shuffled epoch after the other."""
        indices = self._by_task[task][number].dataset.indices(task)
        epoch, place = divmod(position, len(indices))
        kept = self._orders.get((task, number))
        if kept is None or kept[0] != epoch:
            name = self._by_task[task][number].dataset.name
            generator = np.random.default_rng(self._seed("order", task, name, str(epoch)))
            kept = (epoch, generator.permutation(len(indices)))
            self._orders[task, number] = (
                kept  # a memory of the latest order only; it can always be made again
            )
        return int(indices[int(kept[1][place])])

    def _seed(self, *names: str) -> int:
        words = [self.seed, *(zlib.crc32(name.encode()) for name in names)]
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)

    def _check(self) -> None:
        for name in ("batch_size", "accumulation", "world_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}.")
        if not self.entries:
            raise ValueError("entries must hold at least one (dataset, task, weight), got none.")
        for dataset, task, weight in self.entries:
            if task not in dataset.tasks:
                raise ValueError(
                    f"{dataset.name} has no labels for task {task!r}; it has {', '.join(dataset.tasks)}."
                )
            if not len(dataset.indices(task)):
                raise ValueError(f"{dataset.name} has no sample of task {task!r}; leave the entry out.")
            if not 0 < weight < float("inf"):
                raise ValueError(f"weight of ({dataset.name}, {task}) must be positive, got {weight}.")
        if self.task_weights is not None:
            _check_names("task_weights", self.task_weights, [entry.task for entry in self.entries])
            for task, weight in self.task_weights.items():
                if not 0 < weight < float("inf"):
                    raise ValueError(f"task_weights[{task!r}] must be positive, got {weight}.")


class _Draws:
    """An endless sequence of weighted draws, in random access, with counts of what came before.

    Draws are made in blocks, each from its own seed; blocks and running counts are kept once made. Threads
    may make the same one twice, with equal results.
    """

    _BLOCK = 4096

    def __init__(self, seed: int, weights: Sequence[float]) -> None:
        self._seed = seed
        self._weights = np.asarray(weights, np.float64) / np.sum(weights)
        self._blocks: dict[int, NDArray[np.int64]] = {}
        self._counts: dict[int, NDArray[np.int64]] = {0: np.zeros(len(weights), np.int64)}

    def at(self, position: int) -> int:
        return int(self._block(position // self._BLOCK)[position % self._BLOCK])

    def count_before(self, position: int, choice: int) -> int:
        """How often ``choice`` was drawn at positions below ``position``."""
        block, place = divmod(position, self._BLOCK)
        within = int((self._block(block)[:place] == choice).sum())
        return int(self._count(block)[choice]) + within

    def _block(self, number: int) -> NDArray[np.int64]:
        if number not in self._blocks:
            generator = np.random.default_rng([self._seed, number])
            self._blocks[number] = generator.choice(len(self._weights), self._BLOCK, p=self._weights)
        return self._blocks[number]

    def _count(self, number: int) -> NDArray[np.int64]:
        """How often each choice was drawn in the blocks before block ``number``."""
        start = number
        while start not in self._counts:
            start -= 1
        for block in range(start, number):
            drawn = np.bincount(self._block(block), minlength=len(self._weights))
            self._counts[block + 1] = self._counts[block] + drawn
        return self._counts[number]


def _check_position(name: str, value: int, end: int | None) -> None:
    if value < 0 or (end is not None and value >= end):
        upper = "" if end is None else f" and below {end}"
        raise ValueError(f"{name} must be at least 0{upper}, got {value}.")


def _check_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{argument} names {', '.join(unknown)}, not in the mixture; "
            f"choose from {', '.join(dict.fromkeys(known))}."
        )
