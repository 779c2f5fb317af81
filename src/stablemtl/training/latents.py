"""Micro-batches as latents: encoded as they are drawn, or once, and then kept.

Letters: B batch, C latent channels, h and w latent size, H and W image size.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stablemtl.data import Batch, Compose, Entry, HorizontalFlip, Mixture, Transform
from stablemtl.models.codec import LatentCodec
from stablemtl.tasks.base import Task
from stablemtl.training.feed import Feed
from stablemtl.training.latent_store import Kept, Key, LatentStore, MemoryStore
from stablemtl.training.losses import valid_cells


class LatentBatch(NamedTuple):
    """Samples of one task."""

    task: str
    latent: Tensor  # (B, C, h, w) of the frames
    latent_next: Tensor | None  # the same for the second frames
    target: Tensor  # (B, C, h, w) of the label images
    valid: Tensor  # (B, 1, h, w) bool: every pixel of the cell is valid
    keys: tuple[str, ...] = ()  # dataset/index of each
    label: Tensor | None = None  # (B, 3, H, W) the label images themselves, in [-1, 1], where kept
    label_valid: Tensor | None = None  # (B, 1, H, W) bool

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, those that are there."""
        named = self._asdict().items()
        return {name: value for name, value in named if isinstance(value, Tensor)}


class LatentSource(Protocol):
    """What the stages train on. A step has the same samples however its batch is split."""

    mixture: Mixture

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        """Micro-batch ``micro`` of optimizer step ``step`` on ``rank``, all counted from 0.

        Raises:
            ValueError: ``step`` is negative, or ``micro`` or ``rank`` is out of range.
            SampleError: a sample cannot be read.
        """
        ...

    def only(self, tasks: Collection[str]) -> LatentSource:
        """The same with some of the tasks of the mixture.

        Raises:
            ValueError: a task is not in the mixture.
        """
        ...

    def restart(self) -> None:
        """The mixture draws otherwise from here on: forget what was read ahead."""
        ...


AS_IT_IS_AND_MIRRORED: tuple[Sequence[Transform], ...] = ((), (HorizontalFlip(probability=1.0),))
"""Two versions of a sample that look the same to every task, as stores that share frames need them."""


class Latents:
    """A :class:`LatentSource` that encodes each version of a sample once.

    Every sample is encoded by itself, so that its latents do not depend on which others come with it.

    Args:
        mixture: decides what is in a micro-batch; its own transform is not used.
        codec: frozen.
        tasks: encoding of each task.
        versions: the transforms of each version of a sample; random ones draw from a generator of their own.
        store: where latents are kept; in memory by default.
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
        versions: Sequence[Sequence[Transform] | Callable[[str, str], Sequence[Transform]]] = ((),),
        store: LatentStore | None = None,
        window: tuple[int, int] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mixture, self.codec, self.tasks = mixture, codec, tasks
        self.versions = [Compose(transforms, tasks) for transforms in versions]
        self.store: LatentStore = MemoryStore() if store is None else store
        self.window, self.seed, self.device = window, seed, torch.device(device)

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        """See :class:`LatentSource`."""
        entry, indices = self.mixture.draw(step, micro, rank)
        first = step * self.mixture.effective_batch_size + self.mixture.offset(micro, rank)
        kept = []
        for place, index in enumerate(indices, first):  # among all samples ever drawn
            draw = _generator(self.seed, "version", place)
            version = int(torch.randint(len(self.versions), (), generator=draw))
            key = Key(entry.dataset.name, entry.task, index, version)
            item = self.store.get(key)
            if item is None:
                item = self._encode(entry, key)
                self.store.put(key, item)
            if self.window is not None:
                item = _cut(item, self.window, _generator(self.seed, "window", place))
            kept.append(item)
        frames = torch.stack([item.frames for item in kept], 1).to(self.device, torch.float32)
        return LatentBatch(
            task=entry.task,
            latent=frames[0],
            latent_next=frames[1] if len(frames) > 1 else None,
            target=torch.stack([item.target for item in kept]).to(self.device, torch.float32),
            valid=torch.stack([item.valid for item in kept]).to(self.device),
            keys=tuple(f"{entry.dataset.name}/{index}" for index in indices),
        )

    def only(self, tasks: Collection[str]) -> Latents:
        """See :class:`LatentSource`; what either has encoded serves both."""
        part = copy.copy(self)
        part.mixture = self.mixture.only(tasks)
        return part

    def restart(self) -> None:
        """See :class:`LatentSource`; nothing is read ahead here."""

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
    def _encode(self, entry: Entry, key: Key) -> Kept:
        """A version of a sample; its frames too, unless another task has brought them."""
        sample = self.mixture.load(entry, key.frame)
        sample = self.versions[key.version](sample, _generator(self.seed, *key))
        valid = sample.valid[None]
        images = [self.tasks[entry.task].encode(sample.target[None], valid)[0]]
        frames = [image for image in (sample.image, sample.image_next) if image is not None]
        known = self.store.frames(key, len(frames))
        if known is None:
            images += [frame * 2 - 1 for frame in frames]
        latents = self.codec.encode(torch.stack(images).to(self.device)).to("cpu", torch.float16)
        cells = valid_cells(valid, self.codec.downscale)[0]
        return Kept(latents[1:] if known is None else known, latents[0], cells)


class LiveLatents:
    """A :class:`LatentSource` that reads, augments and encodes every micro-batch when it is drawn.

    Args:
        mixture: with the transform that augments and resizes.
        codec: frozen.
        tasks: encoding of each task.
        rank: of this process.
        workers: processes that read ahead.
        pixels: keep the label images, for losses behind the decoder.
        device: where to encode, and where batches are put.
    """

    def __init__(
        self,
        mixture: Mixture,
        codec: LatentCodec,
        tasks: Mapping[str, Task],
        *,
        rank: int = 0,
        workers: int = 0,
        pixels: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mixture, self.codec, self.tasks = mixture, codec, tasks
        self.rank, self.workers, self.pixels = rank, workers, pixels
        self.device = torch.device(device)
        self._feed = Feed(mixture, rank=rank, workers=workers)

    def batch(self, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        """See :class:`LatentSource`; ``rank`` must be this process's own.

        Raises:
            ValueError: another rank.
        """
        if rank != self.rank:
            raise ValueError(f"rank must be {self.rank}, that of this process, got {rank}.")
        return self._encode(self._feed.batch(step, micro))

    def only(self, tasks: Collection[str]) -> LiveLatents:
        """See :class:`LatentSource`."""
        return LiveLatents(
            self.mixture.only(tasks),
            self.codec,
            self.tasks,
            rank=self.rank,
            workers=self.workers,
            pixels=self.pixels,
            device=self.device,
        )

    def restart(self) -> None:
        """See :class:`LatentSource`."""
        self._feed.restart()

    @torch.no_grad()
    def _encode(self, batch: Batch) -> LatentBatch:
        batch = batch.to(self.device)
        labels = self.tasks[batch.task].encode(batch.target, batch.valid)
        images = [batch.image * 2 - 1, labels]
        if batch.image_next is not None:
            images.insert(1, batch.image_next * 2 - 1)
        latents = self.codec.encode(torch.cat(images)).float().unflatten(0, (-1, len(batch)))
        return LatentBatch(
            task=batch.task,
            latent=latents[0],
            latent_next=latents[1] if batch.image_next is not None else None,
            target=latents[-1],
            valid=valid_cells(batch.valid, self.codec.downscale),
            keys=tuple(f"{name}/{key}" for name, key in zip(batch.datasets, batch.keys, strict=True)),
            label=labels if self.pixels else None,
            label_valid=batch.valid if self.pixels else None,
        )


def _cut(item: Kept, window: tuple[int, int], generator: torch.Generator) -> Kept:
    """A random window of a sample, or all of an axis that is not longer than the window."""
    sides = item.target.shape[-2:]
    starts = [
        int(torch.randint(max(1, side - length + 1), (), generator=generator))
        for side, length in zip(sides, window, strict=True)
    ]
    rows, columns = (slice(start, start + length) for start, length in zip(starts, window, strict=True))
    return Kept(*(values[..., rows, columns] for values in item))


def _generator(seed: int, *words: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(repr((seed, *words)).encode()))
