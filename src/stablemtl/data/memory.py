"""Decoded samples kept in memory, so that only the first epoch reads files."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stablemtl.data.sample import Dataset, DatasetWrapper, Sample, check_task

logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """A sample in compact form; frames are shared between the tasks (and pairs) that show them."""

    image: Tensor  # (3, H, W) uint8
    image_next: Tensor | None
    target: Tensor  # (C, H, W) float16, float32 or uint8
    valid: Tensor  # (1, H, W) bool
    key: str


class InMemory(DatasetWrapper):
    """A dataset that keeps what it has loaded, at about a third of the size of the samples.

    Frames are kept as uint8, which is exact for datasets that read 8-bit images; equal frames are kept once.
    Labels are kept as float16 (relative error below 2^-11; ``label_dtype`` float32 keeps them exact; a label
    that float16 cannot hold stays float32), class ids as uint8. Loading from several threads is safe: at
    worst two threads read the same sample at once. A copy sent to another process takes its contents along.

    Args:
        dataset: to read from.
        prepare: applied to each sample before it is kept, e.g. a resize to the training size. It must not be
            random, as it runs once.
        label_dtype: ``torch.float16`` or ``torch.float32``.
    Raises:
        ValueError: ``label_dtype`` is neither.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        prepare: Callable[[Sample], Sample] | None = None,
        label_dtype: torch.dtype = torch.float16,
    ) -> None:
        if label_dtype not in (torch.float16, torch.float32):
            raise ValueError(f"label_dtype must be torch.float16 or torch.float32, got {label_dtype}.")
        super().__init__(dataset)
        self.prepare = prepare
        self.label_dtype = label_dtype
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._frames: dict[bytes, Tensor] = {}

    def load(self, index: int, task: str) -> Sample:
        """The sample of the wrapped dataset; see its ``load``."""
        entry = self._entries.get((index, task))
        if entry is None:
            check_task(self.name, task, self.tasks)
            sample = self.dataset.load(index, task)
            entry = self._pack(sample if self.prepare is None else self.prepare(sample))
            self._entries[index, task] = entry
        image_next = None if entry.image_next is None else entry.image_next / 255.0
        integral = entry.target.dtype == torch.uint8
        return Sample(
            image=entry.image / 255.0,
            image_next=image_next,
            # A copy even where the type stays: what a caller writes into a sample must not come back later.
            target=entry.target.to(torch.int64 if integral else torch.float32, copy=True),
            valid=entry.valid.clone(),
            task=task,
            dataset=self.name,
            key=entry.key,
        )

    def fill(self, tasks: Iterable[str] | None = None, *, workers: int = 1) -> None:
        """Load everything now, with ``workers`` threads; ``None`` stands for all tasks."""
        wanted = [(index, task) for task in tasks or self.tasks for index in self.indices(task)]
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for _ in pool.map(lambda item: self.load(*item), wanted):
                pass
        logger.info("%s: %d samples in memory, %.0f MB", self.name, len(self._entries), self.nbytes / 1e6)

    @property
    def nbytes(self) -> int:
        """Memory taken by the tensors kept [byte]."""
        labels = [tensor for entry in list(self._entries.values()) for tensor in (entry.target, entry.valid)]
        return sum(tensor.nbytes for tensor in [*labels, *list(self._frames.values())])

    def _pack(self, sample: Sample) -> _Entry:
        target = sample.target
        if target.is_floating_point():
            compact = target.to(self.label_dtype)
            lossless_range = bool((compact.isfinite() == target.isfinite()).all())
            target = compact if lossless_range else target.to(torch.float32)
        elif int(target.min()) >= 0 and int(target.max()) <= 255:
            target = target.to(torch.uint8)
        else:
            raise ValueError(f"class ids of {sample.key} must lie in 0..255, got {_range(target)}.")
        return _Entry(
            image=self._frame(sample.image),
            image_next=None if sample.image_next is None else self._frame(sample.image_next),
            target=target.clone(),
            valid=sample.valid.clone(),
            key=sample.key,
        )

    def _frame(self, image: Tensor) -> Tensor:
        """The frame as uint8; the one kept already if there is an equal one."""
        pixels = (image.clamp(0.0, 1.0) * 255.0).round_().to(torch.uint8)
        content = np.ascontiguousarray(pixels.numpy())
        digest = hashlib.blake2b(content.tobytes() + str(content.shape).encode(), digest_size=16).digest()
        return self._frames.setdefault(digest, pixels)


def _range(values: Tensor) -> str:
    return f"{int(values.min())}..{int(values.max())}"
