"""Comparison of an exported model with the torch model it was made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from stablemtl.pipeline import StableMTLPipeline

TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
"""Largest difference allowed, by the number type of the weights. A tenth of it is what float32 comes to."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Largest differences for one input, divided by torch's largest value where that exceeds 1."""

    images: int
    """Images computed together."""
    frames: int
    """2 for pairs, 1 for single images."""
    height: int
    """Height of the images [px]."""
    width: int
    """Width of the images [px]."""
    tasks: tuple[str, ...]
    """Tasks asked for."""
    encoder: float
    """Of the latents of the frames."""
    network: float
    """Of the tasks' latents, from the same latents of frames."""
    decoder: float
    """Of the tasks' images, from the same latents of tasks."""
    whole: float
    """Of the tasks' images, from the same images of frames."""

    @property
    def largest(self) -> float:
        """The largest of them; infinite if one is no number."""
        parts = (self.encoder, self.network, self.decoder, self.whole)
        return max(math.inf if math.isnan(part) else part for part in parts)


@torch.no_grad()
def compare(
    torch_pipe: StableMTLPipeline, exported: StableMTLPipeline, single_stream: bool
) -> list[Comparison]:
    """Compares on smooth random images of two sizes, one of which the codec's cells do not divide: a pair
    with all tasks, then two single images with every other task.

    Args:
        torch_pipe: in float32 on the CPU.
        exported: what was made of it.
        single_stream: compare with the auxiliary UNet's own predictions.
    """
    cell = torch_pipe.codec.downscale
    tasks = list(torch_pipe.tasks)
    cases = [(1, 2, (10 * cell, 14 * cell - 1), tasks), (2, 1, (17 * cell - 1, 12 * cell), tasks[::2])]
    network = torch_pipe.model.single_stream if single_stream else torch_pipe.model
    generator = torch.Generator().manual_seed(0)
    results = []
    for images, frames, size, names in cases:
        pixels = _smooth(frames * images, size, generator)
        theirs: Any = torch_pipe.codec.encode(pixels)  # torch's
        ours = exported.codec.encode(pixels)
        outputs = []
        for source, call in ((theirs, network), (theirs, exported.model), (ours, exported.model)):
            first, second = source[:images], source[images:] if frames == 2 else None
            latents = call(first, second, names)
            outputs.append(torch.cat([latents[name] for name in names]))
        reference = torch_pipe.codec.decode(outputs[0], size)
        decoded = exported.codec.decode(outputs[0], size)
        whole = exported.codec.decode(outputs[2], size)
        results.append(
            Comparison(
                images=images,
                frames=frames,
                height=size[0],
                width=size[1],
                tasks=tuple(names),
                encoder=_difference(theirs, ours),
                network=_difference(outputs[0], outputs[1]),
                decoder=_difference(reference, decoded),
                whole=_difference(reference, whole),
            )
        )
    return results


def require_close(comparisons: Sequence[Comparison], dtype: str) -> None:
    """Raises a RuntimeError if a difference is larger than weights of ``dtype`` explain."""
    worst = max(comparisons, key=lambda one: one.largest)
    if worst.largest > TOLERANCE[dtype]:
        raise RuntimeError(
            f"the exported model differs from torch by {worst.largest:.2g}, more than {TOLERANCE[dtype]:g}; "
            f"nothing was written. {asdict(worst)}"
        )


def _smooth(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 3, H, W) in [-1, 1]."""
    coarse = torch.rand(count, 3, 5, 7, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)


def _difference(expected: Tensor, got: Tensor) -> float:
    if expected.shape != got.shape:
        return math.inf
    scale = max(1.0, float(expected.abs().max()))
    return float((expected - got).abs().max()) / scale
