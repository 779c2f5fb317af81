"""Samples stacked into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stablemtl.data.sample import Sample


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
