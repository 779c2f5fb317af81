"""The images that codecs are trained on: windows of frames and of label images."""

from __future__ import annotations

import torch
from torch import Tensor

from stablemtl.data import Batch, Mixture, collate
from stablemtl.tasks.base import Task
from stablemtl.training.config import CodecRun, TinyCodecRun


class CodecImages:
    """Draws a micro-batch of images, always the same for the same step.

    Args:
        mixture: where frames and labels come from.
        tasks: encoding of each task.
        run: share of frames, size of the windows, seed.
        downscale: sides of windows are multiples of it [px].
    """

    def __init__(
        self, mixture: Mixture, tasks: dict[str, Task], run: CodecRun | TinyCodecRun, downscale: int
    ) -> None:
        self.mixture, self.tasks, self.run, self.downscale = mixture, tasks, run, downscale

    def __call__(self, step: int, micro: int, rank: int) -> tuple[Batch, Tensor, Tensor]:
        """The samples, and windows of their images and weights as in :func:`images_of`, on the CPU."""
        batch = collate(self.mixture.batch(step, micro, rank))
        seed = self.run.loop.seed * 1_000_003 + step * 97 + micro * 31 + rank
        generator = torch.Generator().manual_seed(seed)
        images, weight = images_of(batch, self.tasks, self.run.frame_share, generator)
        window = _window(images.shape[-2:], self.run.crop, self.downscale, generator)
        return batch, images[window], weight[window]


def images_of(
    batch: Batch, tasks: dict[str, Task], share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One image for each sample, its frame or its label image, and how much each pixel counts.

    Args:
        batch: samples of one task.
        tasks: encoding of each task.
        share: probability of the frame, in [0, 1].
        generator: decides which.
    Returns:
        Images (B, 3, H, W) in [-1, 1] and weights (B, 1, H, W): 1, but a tenth for label pixels that are not
        valid, which are only seen by their neighbours.
    """
    labels = tasks[batch.task].encode(batch.target, batch.valid)
    frame = (torch.rand(len(batch), generator=generator) < share)[:, None, None, None]
    images = torch.where(frame, batch.image * 2 - 1, labels)
    return images, torch.where(frame | batch.valid, 1.0, 0.1)


def _window(size: torch.Size, crop: int, downscale: int, generator: torch.Generator) -> tuple:
    """Index of a random window, square where it fits, of an image of ``size`` (height, width).

    Its sides are whole latent cells, multiples of ``downscale``: the autoencoder gives back no others.
    """
    lengths = [min(crop, side) // downscale * downscale for side in size]
    starts = [
        int(torch.randint(side - length + 1, (), generator=generator))
        for side, length in zip(size, lengths, strict=True)
    ]
    return (..., *(slice(start, start + length) for start, length in zip(starts, lengths, strict=True)))
