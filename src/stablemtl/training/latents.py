"""Training samples as latents: each augmented version of a sample is encoded once and kept.

Letters: B batch, C latent channels, h and w latent size, f pixels per latent cell.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.data import (
    STABLEMTL_PAIRS,
    ColorJitter,
    Compose,
    Dataset,
    Entry,
    HorizontalFlip,
    InMemory,
    Mixture,
    Transform,
    mixture_entries,
    open_datasets,
)
from stablemtl.data.transforms import Resize
from stablemtl.models.codec import LatentCodec
from stablemtl.tasks import TASKS
from stablemtl.tasks.base import Task, choose
from stablemtl.training.config import DataConfig, LoopConfig


class LatentBatch(NamedTuple):
    """Samples of one task."""

    task: str
    latent: Tensor  # (B, C, h, w) of the frames
    latent_next: Tensor | None  # the same for the second frames
    target: Tensor  # (B, C, h, w) of the label images
    valid: Tensor  # (B, 1, h, w) bool: every pixel of the cell is valid


class _Kept(NamedTuple):
    frames: Tensor  # (1 or 2, C, h, w) float16
    target: Tensor  # (C, h, w) float16
    valid: Tensor  # (1, h, w) bool


def valid_cells(valid: Tensor, downscale: int) -> Tensor:
    """Latent cells all of whose f x f pixels are valid; pixels of the codec's padding count as valid.

    Args:
        valid: shape (B, 1, H, W), bool.
        downscale: f, pixels per latent cell along each axis.
    Returns:
        Shape (B, 1, ceil(H/f), ceil(W/f)), bool.
    """
    invalid = (~valid).float()
    bottom, right = -valid.shape[-2] % downscale, -valid.shape[-1] % downscale
    return F.max_pool2d(F.pad(invalid, (0, right, 0, bottom)), downscale) == 0


def masked_mse(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over valid cells and all channels.

    Args:
        pred: predicted latents, shape (B, C, h, w).
        target: latents of the label images, same shape.
        valid: cells that count, shape (B, 1, h, w), bool.
    Returns:
        Scalar; 0, with a gradient of 0, where no cell is valid.
    """
    count = valid.sum() * pred.shape[1]
    return ((pred - target) ** 2 * valid).sum() / count.clamp(min=1)


def _cut(item: _Kept, window: tuple[int, int], generator: torch.Generator) -> _Kept:
    """A random window of a sample, or all of an axis that is not longer than the window."""
    sides = item.target.shape[-2:]
    starts = [
        int(torch.randint(max(1, side - length + 1), (), generator=generator))
        for side, length in zip(sides, window, strict=True)
    ]
    rows, columns = (slice(start, start + length) for start, length in zip(starts, window, strict=True))
    return _Kept(*(values[..., rows, columns] for values in item))


class Latents:
    """Micro-batches of a mixture as latents, each determined by step, micro-batch and rank alone.

    Args:
        mixture: decides what is in a micro-batch; its own transform is not used.
        codec: frozen.
        tasks: encoding of each task.
        transforms: what makes a version of a sample.
        variants: versions of each sample.
        window: (height, width) of the random windows to cut [latent cells]; None for whole samples.
        seed: of the versions and windows.
        device: where batches are put; latents are kept on the CPU.
    """

    def __init__(
        self,
        mixture: Mixture,
        codec: LatentCodec,
        tasks: Mapping[str, Task],
        *,
        transforms: Sequence[Transform] | Callable[[str, str], Sequence[Transform]] = (),
        variants: int = 1,
        window: tuple[int, int] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mixture, self.codec, self.tasks = mixture, codec, tasks
        self.augment = Compose(transforms, tasks)
        self.variants, self.window, self.seed, self.device = variants, window, seed, torch.device(device)
        self._kept: dict[tuple[str, str, int, int], _Kept] = {}

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        """Micro-batch ``micro`` of optimizer step ``step`` on ``rank``, all counted from 0.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
        """
        entry, indices = self.mixture.draw(step, micro, rank)
        place = (step * self.mixture.accumulation + micro) * self.mixture.world_size + rank
        versions = torch.randint(
            self.variants, (len(indices),), generator=_generator(self.seed, "version", place)
        ).tolist()
        keys = [
            (entry.dataset.name, entry.task, index, version)
            for index, version in zip(indices, versions, strict=True)
        ]
        missing = [key for key in dict.fromkeys(keys) if key not in self._kept]
        if missing:
            self._encode(entry, missing)
        kept = [self._kept[key] for key in keys]
        if self.window is not None:
            generator = _generator(self.seed, "window", place)
            kept = [_cut(item, self.window, generator) for item in kept]
        frames = torch.stack([item.frames for item in kept], 1).to(self.device, torch.float32)
        return LatentBatch(
            task=entry.task,
            latent=frames[0],
            latent_next=frames[1] if len(frames) > 1 else None,
            target=torch.stack([item.target for item in kept]).to(self.device, torch.float32),
            valid=torch.stack([item.valid for item in kept]).to(self.device),
        )

    def only(self, tasks: Collection[str]) -> Latents:
        """The same with some of the tasks of the mixture; what either has encoded serves both.

        Raises:
            ValueError: a task is not in the mixture.
        """
        part = copy.copy(self)
        part.mixture = self.mixture.only(tasks)
        return part

    def variances(self, samples: int = 64) -> dict[str, float]:
        """Variance of each task's label latents about their channels' means, the mean over channels.

        Args:
            samples: how many to look at, up to whole micro-batches, as they are, without augmentation.
        Raises:
            ValueError: the label latents of a task do not vary, or no cell of them is valid.
        """
        # Encodings of its own: these samples are not versions that ``batch`` may give.
        plain = Latents(self.mixture, self.codec, self.tasks, seed=self.seed, device=self.device)
        found = {}
        for task in self.mixture.tasks:
            part = plain.only([task])
            batches = [part.batch(step) for step in range(-(-samples // self.mixture.batch_size))]
            cells = torch.cat([batch.target.movedim(1, -1)[batch.valid[:, 0]] for batch in batches])
            found[task] = float(cells.var(0).mean()) if len(cells) > 1 else 0.0
            if not found[task] > 0:
                raise ValueError(
                    f"the label latents of {task} must vary for its loss to be balanced, got a variance of "
                    f"{found[task]} over {len(cells)} valid cells; check its labels, or leave the task out"
                )
        return found

    @torch.no_grad()
    def _encode(self, entry: Entry, keys: Sequence[tuple[str, str, int, int]]) -> None:
        samples = [
            self.augment(entry.dataset.load(key[2], entry.task), _generator(self.seed, *key)) for key in keys
        ]
        task = self.tasks[entry.task]
        valid = torch.stack([sample.valid for sample in samples])
        labels = task.encode(torch.stack([sample.target for sample in samples]), valid)
        frames = [torch.stack([sample.image for sample in samples]) * 2 - 1]
        following = [sample.image_next for sample in samples if sample.image_next is not None]
        if following:
            frames.append(torch.stack(following) * 2 - 1)
        images = torch.cat([*frames, labels]).to(self.device)
        latents = self.codec.encode(images).to("cpu", torch.float16).unflatten(0, (-1, len(samples)))
        cells = valid_cells(valid, self.codec.downscale)
        for i, key in enumerate(keys):
            self._kept[key] = _Kept(latents[:-1, i].clone(), latents[-1, i].clone(), cells[i].clone())


_MIRROR = HorizontalFlip()
_COLOURS = ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05)


def small_augmentation(tasks: Mapping[str, Task]) -> Callable[[str, str], tuple[Transform, ...]]:
    """Augmentation of the small recipes, as a function of (dataset, task).

    Samples are mirrored, and recoloured where the label does not depend on colours.
    """
    return lambda _, task: (_MIRROR,) if tasks[task].spec.photometric else (_MIRROR, _COLOURS)


def training_mixture(
    data: DataConfig,
    loop: LoopConfig,
    tasks: Mapping[str, Task],
    *,
    split: str = "train",
    world_size: int = 1,
) -> Mixture:
    """The mixture over the datasets present, samples resized and kept in memory.

    Args:
        data: folder, size, and what to draw how often; weights of tasks that are not trained are left out.
        loop: batch size, accumulation and seed.
        tasks: those to train; the ones that no dataset present is used for are left out.
        split: ``train``, ``val`` or ``test``.
        world_size: number of processes.
    Raises:
        FileNotFoundError: no dataset in ``data.root``, see ``open_datasets``, or none for any of the tasks.
        ValueError: ``data.tasks`` or ``data.task_weights`` names an unknown task.
    """
    resize = Compose([Resize(size=data.size)], tasks)
    datasets: dict[str, Dataset] = {
        name: InMemory(dataset, prepare=resize) for name, dataset in open_datasets(data.root, split).items()
    }
    for name in data.tasks or ():
        choose("task", name, tasks)
    wanted = tuple(tasks if data.tasks is None else data.tasks)
    pairs = STABLEMTL_PAIRS if data.pairs is None else data.pairs
    labelled = {task for name, task, _ in pairs if name in datasets}
    if not labelled & set(wanted):
        raise FileNotFoundError(
            f"no dataset with a {split} split in {data.root} has labels for {', '.join(wanted)}; "
            f"{', '.join(datasets)} can be used for {', '.join(sorted(labelled)) or 'nothing'}"
        )
    entries = mixture_entries(datasets, pairs, tasks=[task for task in wanted if task in labelled])
    weights = None
    if data.task_weights is not None:
        for name in data.task_weights:
            choose("task", name, TASKS)
        drawn = {entry.task for entry in entries}
        weights = {task: weight for task, weight in data.task_weights.items() if task in drawn}
    return Mixture(
        entries,
        batch_size=loop.batch_size,
        seed=loop.seed,
        accumulation=loop.accumulation,
        world_size=world_size,
        task_weights=weights,
    )


def _generator(seed: int, *words: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(repr((seed, *words)).encode()))
