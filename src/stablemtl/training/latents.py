"""Training samples as latents: each augmented version of a sample is encoded once and kept.

Letters: B batch, C latent channels, h and w latent size, f pixels per latent cell.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.data import (
    ColorJitter,
    Compose,
    Entry,
    HorizontalFlip,
    InMemory,
    Mixture,
    Sample,
    Transform,
    mixture_entries,
    open_datasets,
)
from stablemtl.data.transforms import Resize
from stablemtl.models.codec import LatentCodec
from stablemtl.tasks.base import Task
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
    """Latent cells all of whose f x f pixels are valid, shape (B, 1, ceil(H/f), ceil(W/f)), from (B, 1, H, W); the padding counts as valid."""
    invalid = (~valid).float()
    bottom, right = -valid.shape[-2] % downscale, -valid.shape[-1] % downscale
    return F.max_pool2d(F.pad(invalid, (0, right, 0, bottom)), downscale) == 0


def masked_mse(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over valid cells, all channels; 0 with a gradient of 0 where nothing is valid.

    Args:
        pred, target: shape (B, C, h, w).
        valid: bool, shape (B, 1, h, w).
    """
    count = valid.sum() * pred.shape[1]
    return ((pred - target) ** 2 * valid).sum() / count.clamp(min=1)


class Latents:
    """Micro-batches of a mixture as latents, a pure function of step, micro-batch and rank.

    Args:
        mixture: decides what is in a micro-batch; its own transform is not used.
        codec: frozen.
        tasks: encoding of each task.
        transforms: what makes a version of a sample.
        variants: versions of each sample.
        seed: of the versions.
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
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mixture, self.codec, self.tasks = mixture, codec, tasks
        self.augment = Compose(transforms, tasks)
        self.variants, self.seed, self.device = variants, seed, torch.device(device)
        self._kept: dict[tuple[str, str, int, int], _Kept] = {}

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        """Micro-batch ``micro`` of optimizer step ``step`` on ``rank``."""
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
        frames = torch.stack([item.frames for item in kept], 1).to(self.device, torch.float32)
        return LatentBatch(
            task=entry.task,
            latent=frames[0],
            latent_next=frames[1] if len(frames) > 1 else None,
            target=torch.stack([item.target for item in kept]).to(self.device, torch.float32),
            valid=torch.stack([item.valid for item in kept]).to(self.device),
        )

    def variances(self, samples: int = 64) -> dict[str, float]:
        """Variance of each task's label latents within their channels, over the first ``samples`` or so."""
        found = {}
        for task in self.mixture.tasks:
            part = Latents(
                self.mixture.only([task]), self.codec, self.tasks, seed=self.seed, device=self.device
            )
            batches = [part.batch(step) for step in range(-(-samples // self.mixture.batch_size))]
            cells = torch.cat([batch.target.movedim(1, -1)[batch.valid[:, 0]] for batch in batches])
            found[task] = float(cells.var(0).mean())
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
    """Augmentation of the small recipes, by (dataset, task): mirrored, and recoloured where the label does not depend on colours."""
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

    Raises:
        FileNotFoundError: no dataset in ``data.root``; see ``open_datasets``.
    """

    def prepare(sample: Sample) -> Sample:
        return Compose([Resize(size=data.size)], tasks)(sample)

    datasets = {
        name: InMemory(dataset, prepare=prepare) for name, dataset in open_datasets(data.root, split).items()
    }
    pairs = {} if data.pairs is None else {"pairs": data.pairs}
    present = {task for dataset in datasets.values() for task in dataset.tasks}
    entries = mixture_entries(datasets, **pairs, tasks=[task for task in tasks if task in present])  # type: ignore[arg-type]
    weights = (
        None if data.task_weights is None else {k: v for k, v in data.task_weights.items() if k in present}
    )
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
