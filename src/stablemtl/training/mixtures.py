"""What a run draws its samples from: the datasets that are there, their weights, sizes and augmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stablemtl.data import (
    PUBLISHED_SIZES,
    ColorJitter,
    Compose,
    Dataset,
    HorizontalFlip,
    InMemory,
    Mixture,
    Resize,
    Sample,
    Transform,
    mixture_entries,
    open_datasets,
    published_augmentation,
)
from stablemtl.names import choose
from stablemtl.tasks import TASKS
from stablemtl.tasks.base import Task
from stablemtl.training.config import Augmentation, DataConfig, LoopConfig

Chain = Callable[[str, str], Sequence[Transform]]
"""(dataset name, task name) to the transforms of its samples."""

OTHER_SIZE = (288, 384)
"""(height, width) of samples of datasets that the paper does not use [px], where no size is given."""

_MIRROR = HorizontalFlip()
_COLOURS = ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05)


class _Resized:
    """A dataset whose samples are resized as they are loaded."""

    def __init__(self, dataset: Dataset, resize: Callable[[Sample], Sample]) -> None:
        self.dataset, self.resize = dataset, resize
        self.name, self.tasks, self.indices = dataset.name, dataset.tasks, dataset.indices

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, index: int, task: str) -> Sample:
        return self.resize(self.dataset.load(index, task))


def resizing(size: tuple[int, int] | None) -> Chain:
    """To one size, or to the published size of each dataset, pixels taken as published: nearest-exact."""
    if size is not None:
        return lambda dataset, task: (Resize(size=size),)
    return lambda dataset, task: (
        Resize(size=PUBLISHED_SIZES.get(dataset, OTHER_SIZE), image_mode="nearest"),
    )


def augmenting(augmentation: Augmentation, tasks: Mapping[str, Task]) -> Chain:
    """The random changes of samples, before they are resized.

    ``flip`` mirrors with probability 1/2; ``colour`` also changes colours where the label does not depend on
    them; ``published`` is StableMTL's, see ``published_augmentation``.
    """
    if augmentation == "published":
        return published_augmentation
    if augmentation == "colour":
        return lambda _, task: (_MIRROR,) if tasks[task].spec.photometric else (_MIRROR, _COLOURS)
    return lambda _, task: (_MIRROR,) if augmentation == "flip" else ()


def training_mixture(
    data: DataConfig,
    loop: LoopConfig,
    tasks: Mapping[str, Task],
    *,
    split: str = "train",
    world_size: int = 1,
    reweight_every: int | None = None,
    live: bool = False,
) -> Mixture:
    """The mixture over the datasets present.

    Args:
        data: folder, size, and what to draw how often; weights of tasks that are not trained are left out.
        loop: batch size, accumulation and seed.
        tasks: those to train; the ones that no dataset present is used for are left out.
        split: ``train``, ``val`` or ``test``.
        world_size: number of processes.
        reweight_every: steps between which the weights of tasks may change.
        live: samples are augmented and resized whenever they are drawn. Otherwise they are resized, not
            augmented, and with ``data.cache`` "memory" kept in memory.
    Raises:
        FileNotFoundError: no dataset in ``data.root``, see ``open_datasets``, or none for any of the tasks.
        ValueError: ``data.tasks`` or ``data.task_weights`` names an unknown task.
    """
    resize = resizing(data.size)
    datasets: dict[str, Dataset] = dict(open_datasets(data.root, split))
    if not live:
        prepare = Compose(resize, tasks)
        keep = data.cache == "memory"
        datasets = {
            name: InMemory(dataset, prepare=prepare) if keep else _Resized(dataset, prepare)
            for name, dataset in datasets.items()
        }
    for name in data.tasks or ():
        choose("task", name, tasks)
    wanted = tuple(tasks if data.tasks is None else data.tasks)
    every = mixture_entries(datasets, data.pairs)
    labelled = {entry.task for entry in every}
    if not labelled & set(wanted):
        raise FileNotFoundError(
            f"no dataset with a {split} split in {data.root} has labels for {', '.join(wanted)}; "
            f"{', '.join(datasets)} can be used for {', '.join(sorted(labelled)) or 'nothing'}"
        )
    entries = [entry for entry in every if entry.task in wanted and len(entry.dataset.indices(entry.task))]
    weights = None
    if data.task_weights is not None:
        for name in data.task_weights:
            choose("task", name, TASKS)
        drawn = {entry.task for entry in entries}
        weights = {task: weight for task, weight in data.task_weights.items() if task in drawn}
    augment = augmenting(data.augmentation, tasks)

    def chain(dataset: str, task: str) -> Sequence[Transform]:
        return (*augment(dataset, task), *resize(dataset, task))

    return Mixture(
        entries,
        batch_size=loop.batch_size,
        seed=loop.seed,
        accumulation=loop.accumulation,
        world_size=world_size,
        task_weights=weights,
        reweight_every=reweight_every,
        isolated=data.isolated,
        transform=Compose(chain, tasks) if live else None,
        on_error=data.on_error,
    )


def mixture_recipe(mixture: Mixture) -> list[list[str | int | float]]:
    """What a mixture draws from, for a run's checkpoints: dataset, task, number of samples, weight."""
    return [
        [dataset.name, task, len(dataset.indices(task)), weight] for dataset, task, weight in mixture.entries
    ]


def listing(mixture: Mixture) -> dict[str, str]:
    """A checksum of each dataset's list of frames, or their number: what is cached belongs to that list."""
    found = {}
    for entry in mixture.entries:
        dataset: Any = entry.dataset
        while hasattr(dataset, "dataset"):  # what is wrapped around the reader
            dataset = dataset.dataset
        frames = repr(getattr(dataset, "frames", len(dataset))).encode()
        found[entry.dataset.name] = hashlib.sha256(frames).hexdigest()[:16]
    return found
