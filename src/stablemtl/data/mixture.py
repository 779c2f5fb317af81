"""Which samples make up which micro-batch: a pure function of seed, optimizer step, micro-batch and rank.

One optimizer step trains one task, whatever the number of micro-batches and processes: the task is a function
of the step alone. Nothing here depends on what was asked for before: a run can be resumed, or any step
replayed, by its number.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stablemtl.data.draws import Draws
from stablemtl.data.graph import TaskGraph, task_graph
from stablemtl.data.sample import Dataset, Sample, SampleError, load_sample

OnError = Literal["raise", "skip"]

logger = logging.getLogger(__name__)


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


class Mixture:
    """Micro-batches from several datasets that each label some of the tasks.

    *Task.* Round robin over the tasks in the order of their first entry, or, with ``task_weights``, an
    independent weighted draw for every step. *Dataset.* An independent draw for every step, with the weights
    of the task's entries: all samples of a step come from one dataset. (StableMTL draws it for every
    micro-batch, so that what a step sees depends on how its batch is split.) *Samples.* Each entry is gone
    through in a new order in every epoch, without gaps or overlaps between micro-batches and ranks. A step
    has the same samples, in the same order, for every way to split ``effective_batch_size`` into micro-
    batches and ranks.

    With ``isolated=False``, an ablation, every micro-batch takes the next task's turn, so that the gradients
    of ``accumulation`` tasks meet in one step.

    Entries of one task do not influence another: leaving tasks out (``only``) keeps the weights, and the
    order of samples, of those that stay.

    Args:
        entries: what to draw from.
        batch_size: samples of one micro-batch.
        seed: of everything drawn here.
        accumulation: micro-batches of one optimizer step on one rank.
        world_size: number of ranks.
        task_weights: task name to relative frequency; tasks it does not name have 1. ``None``: round robin.
        reweight_every: steps between which ``reweight`` may change ``task_weights``; ``None``: never.
        isolated: one task per step.
        transform: applied to every sample with a generator of its own; see ``Compose``.
        on_error: what becomes of a sample that cannot be read. ``raise`` stops; ``skip`` takes the next one
            of the dataset's order in its place, logs it, and counts it in ``skipped``.
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
        reweight_every: int | None = None,
        isolated: bool = True,
        transform: Callable[[Sample, torch.Generator], Sample] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.entries = tuple(Entry(*entry) for entry in entries)
        self.batch_size, self.seed = batch_size, seed
        self.accumulation, self.world_size = accumulation, world_size
        self.task_weights = None if task_weights is None else dict(task_weights)
        self.reweight_every = reweight_every
        self.isolated = isolated
        self.transform = transform
        self.on_error = on_error
        self.skipped: dict[tuple[str, str, int], str] = {}
        """(dataset, task, index) of samples that could not be read, with the reason."""
        self._check()
        self.tasks = tuple(dict.fromkeys(entry.task for entry in self.entries))
        self._by_task = {
            task: tuple(entry for entry in self.entries if entry.task == task) for task in self.tasks
        }
        self._dataset_draws = {
            task: Draws(self._seed("dataset", task), [entry.weight for entry in entries])
            for task, entries in self._by_task.items()
        }
        self._task_draws: Draws | None = None
        if self.task_weights is not None or reweight_every is not None:
            weights = [(self.task_weights or {}).get(task, 1.0) for task in self.tasks]
            self._task_draws = Draws(self._seed("task"), weights, block=reweight_every or 4096)
        self._orders: dict[tuple[str, int], tuple[int, NDArray[np.int64]]] = {}

    def task_at(self, step: int, micro: int = 0) -> str:
        """The task of optimizer step ``step``, from 0, for every micro-batch on every rank.

        ``micro`` matters where tasks are not isolated, only.
        """
        return self._task_of(self._turn(step, micro))

    def reweight(self, step: int, weights: Mapping[str, float]) -> None:
        """From ``step`` on, draw tasks with other weights; those not named have 1.

        Raises:
            ValueError: the mixture was made without ``reweight_every``; ``step`` is not a multiple of it; a
                weight is not positive, or of another task.
        """
        if self._task_draws is None or self.reweight_every is None:
            raise ValueError("reweight needs a mixture made with reweight_every.")
        _check_weights("weights", weights, self.tasks)
        turn = self._turn(step, 0)
        self._task_draws.reweight(turn, [weights.get(task, 1.0) for task in self.tasks])

    @property
    def effective_batch_size(self) -> int:
        """Samples of one optimizer step, over all micro-batches and ranks."""
        return self.batch_size * self.accumulation * self.world_size

    def offset(self, micro: int = 0, rank: int = 0) -> int:
        """Place of a micro-batch's first sample among those of its step, from 0.

        Raises:
            ValueError: ``micro`` or ``rank`` is out of range.
        """
        _check_position("micro", micro, self.accumulation)
        _check_position("rank", rank, self.world_size)
        return (micro * self.world_size + rank) * self.batch_size

    def draw(self, step: int, micro: int = 0, rank: int = 0) -> Draw:
        """Dataset and indices of a micro-batch; nothing is read.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
        """
        offset = self.offset(micro, rank)
        if not self.isolated:
            offset -= self.offset(micro)  # every micro-batch is a turn of its own
        task, number, first = self._place(self._turn(step, micro))
        positions = range(first + offset, first + offset + self.batch_size)
        return Draw(self._by_task[task][number], tuple(self._index(task, number, p) for p in positions))

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> list[Sample]:
        """Samples of micro-batch ``micro`` of optimizer step ``step`` on ``rank``, all counted from 0.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
            SampleError: a sample cannot be read.
        """
        entry, indices = self.draw(step, micro, rank)
        samples = [self.load(entry, index) for index in indices]
        if self.transform is None:
            return samples
        place = step * self.effective_batch_size + self.offset(micro, rank)
        return [
            self.transform(sample, torch.Generator().manual_seed(self._seed("transform", str(place + n))))
            for n, sample in enumerate(samples)
        ]

    def load(self, entry: Entry, index: int) -> Sample:
        """One sample of an entry; with ``on_error="skip"``, the first one after it that can be read.

        Which one takes its place depends on the files alone.

        Raises:
            SampleError: the sample cannot be read, or with ``skip``, none of the dataset can.
        """
        if self.on_error == "raise":
            return load_sample(entry.dataset, entry.task, index)
        indices = entry.dataset.indices(entry.task)
        start = next(place for place, other in enumerate(indices) if other == index)
        for step in range(len(indices)):
            candidate = int(indices[(start + step) % len(indices)])
            key = (entry.dataset.name, entry.task, candidate)
            if key in self.skipped:
                continue
            try:
                return load_sample(entry.dataset, entry.task, candidate)
            except SampleError as error:
                self.skipped[key] = str(error)
                logger.warning("skipped (%d so far): %s", len(self.skipped), error)
        raise SampleError(
            f"{entry.dataset.name} {entry.task}: none of its {len(indices)} samples can be read."
        )

    def describe(self) -> TaskGraph:
        """The dataset-task graph; printed, a table of samples and shares, and the connected parts."""
        return task_graph(self.entries)

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
            reweight_every=self.reweight_every,
            isolated=self.isolated,
            transform=self.transform,
            on_error=self.on_error,
        )

    def _turn(self, step: int, micro: int) -> int:
        """Number of the task's turn that a micro-batch belongs to."""
        _check_position("step", step, None)
        return step if self.isolated else step * self.accumulation + micro

    def _task_of(self, turn: int) -> str:
        return self.tasks[turn % len(self.tasks) if self._task_draws is None else self._task_draws.at(turn)]

    def _place(self, turn: int) -> tuple[str, int, int]:
        """Task of a turn, number of its entry, and the turn's first position in the entry's stream."""
        task = self._task_of(turn)
        if self._task_draws is None:
            visits = turn // len(self.tasks)
        else:
            visits = self._task_draws.count_before(turn, self.tasks.index(task))
        draws = self._dataset_draws[task]
        number = draws.at(visits)
        samples = self.effective_batch_size if self.isolated else self.batch_size * self.world_size
        return task, number, draws.count_before(visits, number) * samples

    def _index(self, task: str, number: int, position: int) -> int:
        """Frame at ``position`` of the endless stream of an entry: one shuffled epoch after the other."""
        indices = self._by_task[task][number].dataset.indices(task)
        epoch, place = divmod(position, len(indices))
        kept = self._orders.get((task, number))
        if kept is None or kept[0] != epoch:
            name = self._by_task[task][number].dataset.name
            generator = np.random.default_rng(self._seed("order", task, name, str(epoch)))
            kept = (epoch, generator.permutation(len(indices)))
            self._orders[task, number] = kept  # of the latest epoch only; it can always be made again
        return int(indices[int(kept[1][place])])

    def _seed(self, *names: str) -> int:
        words = [self.seed, *(zlib.crc32(name.encode()) for name in names)]
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)

    def _check(self) -> None:
        for name in ("batch_size", "accumulation", "world_size", "reweight_every"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {self.on_error!r}.")
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
            _check_weights("task_weights", self.task_weights, [entry.task for entry in self.entries])


def _check_position(name: str, value: int, end: int | None) -> None:
    if value < 0 or (end is not None and value >= end):
        upper = "" if end is None else f" and below {end}"
        raise ValueError(f"{name} must be at least 0{upper}, got {value}.")


def _check_weights(argument: str, weights: Mapping[str, float], known: Collection[str]) -> None:
    _check_names(argument, weights, known)
    for task, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise ValueError(f"{argument}[{task!r}] must be positive, got {weight}.")


def _check_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{argument} names {', '.join(unknown)}, not in the mixture; "
            f"choose from {', '.join(dict.fromkeys(known))}."
        )
