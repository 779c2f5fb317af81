"""Which tasks a multi-stream model attends to: scores for each pair of tasks, and where in the image.

Source: StableMTL (arXiv 2506.08013), figures 7 and 9: the task attention's softmax weights, averaged.

Letters: B images, K tasks of the model, A = K - 1 auxiliary tasks of a main task, C latent channels, (h, w)
latent size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from stablemtl.models.model import StableMTLModel
from stablemtl.models.task_attention import self_attention_blocks
from stablemtl.writers import PathLike, staged_file


class Frames(Protocol):
    """Latents of one or two frames, such as a :class:`stablemtl.training.latents.LatentBatch`."""

    @property
    def latent(self) -> Tensor:
        """Of the frames, shape (B, C, h, w)."""
        ...

    @property
    def latent_next(self) -> Tensor | None:
        """Of the second frames, same shape."""
        ...


class FrameLatents(NamedTuple):
    """Latents of one or two frames, and nothing else."""

    latent: Tensor
    """Of the frames, shape (B, C, h, w)."""
    latent_next: Tensor | None = None
    """Of the second frames, same shape."""


@dataclass(frozen=True, kw_only=True)
class AttentionScores:
    """Mean attention of each main task to each auxiliary task; over the auxiliary tasks it sums to 1."""

    tasks: tuple[str, ...]
    """Main tasks, and in the same order auxiliary tasks."""
    blocks: tuple[str, ...]
    """Attending blocks by their path in the UNet, in execution order."""
    by_block: Tensor
    """Mean over images, tokens and heads, shape (blocks, K, K): [block, main, auxiliary], float64. A task
    does not attend to itself: nan on the diagonal."""
    images: int
    """How many the mean is taken over."""

    @property
    def mean(self) -> Tensor:
        """Mean over blocks, each counting the same, shape (K, K)."""
        return self.by_block.mean(0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: main task -> auxiliary task -> score, the mean and of each block."""
        by_block = zip(self.blocks, self.by_block, strict=True)
        return {
            "images": self.images,
            "mean": self._named(self.mean),
            "blocks": {block: self._named(scores) for block, scores in by_block},
        }

    def _named(self, scores: Tensor) -> dict[str, dict[str, float]]:
        return {
            main: {
                other: round(score, 6) for other, score in zip(self.tasks, row, strict=True) if other != main
            }
            for main, row in zip(self.tasks, scores.tolist(), strict=True)
        }


def attention_scores(
    model: StableMTLModel, batches: Iterable[Frames], *, batch_tasks: int | None = None
) -> AttentionScores:
    """Mean attention scores of a model over some images. The model is left as it was.

    No task is masked, also where the model is in training mode.

    Args:
        model: with a main stream.
        batches: latents of the images; second frames matter to the tasks that look at two.
        batch_tasks: how many tasks at most go through a UNet in one batch; None sends all.
    Raises:
        ValueError: no main stream, or no batch.
    """
    total, images = None, 0
    with _evaluating(model):
        for frames in batches:
            maps = model.attention_maps(frames.latent, frames.latent_next, batch_tasks=batch_tasks)
            blocks = sorted({block for _, _, block in maps})
            sums = torch.zeros(len(blocks), len(model.tasks), len(model.tasks), dtype=torch.float64)
            for (main, other, block), weights in maps.items():
                place = blocks.index(block), model.tasks.index(main), model.tasks.index(other)
                sums[place] = weights.mean((1, 2)).sum().double()
            total = sums if total is None else total + sums
            images += len(frames.latent)
    if total is None:
        raise ValueError("batches must hold at least one batch of latents, got none.")
    assert model.main is not None, "attention_maps has seen to it"
    names = [block.name for block in self_attention_blocks(model.main)]
    own = torch.eye(len(model.tasks), dtype=torch.bool)
    return AttentionScores(
        tasks=model.tasks,
        blocks=tuple(names[block].partition(".transformer_blocks")[0] for block in blocks),
        by_block=(total / images).masked_fill(own, math.nan),
        images=images,
    )


def spatial_attention(
    model: StableMTLModel, frames: Frames, task: str, block: int, *, image: int = 0
) -> Tensor:
    """Where one main task attends to each auxiliary task, at one block.

    Args:
        model: with a main stream; it is left as it was.
        frames: latents.
        task: the main task.
        block: number of the UNet's self-attention block, from 0 in execution order.
        image: which image of ``frames``.
    Returns:
        Weights (A, h_block, w_block), float32, averaged over heads: the model's tasks in their order without
        ``task``. They sum to 1 over the tasks.
    Raises:
        ValueError: no main stream, an unknown task, or a block that does not attend.
        IndexError: no such image.
    """
    if not 0 <= image < len(frames.latent):
        raise IndexError(f"image must be 0 to {len(frames.latent) - 1}, got {image}.")
    latent_next = None if frames.latent_next is None else frames.latent_next[image : image + 1]
    with _evaluating(model):
        maps = model.attention_maps(frames.latent[image : image + 1], latent_next, tasks=[task])
    attending = sorted({found for _, _, found in maps})
    if block not in attending:
        raise ValueError(f"block {block} does not attend; choose from {', '.join(map(str, attending))}.")
    return torch.stack([maps[task, other, block][0] for other in model.tasks if other != task])


def write_attention_maps(
    model: StableMTLModel, batches: Iterable[Frames], path: PathLike, *, batch_tasks: int | None = None
) -> AttentionScores:
    """Writes the mean scores as a picture, those of each block as ``<name>_blocks``, and both as JSON.

    Args:
        model: with a main stream; it is left as it was.
        batches: latents of the images.
        path: picture to write (``.png``, or another suffix that matplotlib knows); its folder is made.
        batch_tasks: how many tasks at most go through a UNet in one batch.
    Returns:
        The scores.
    Raises:
        ValueError: no main stream, or no batch.
    """
    from stablemtl.training.attention_pictures import draw_blocks, draw_scores

    path = Path(path)
    scores = attention_scores(model, batches, batch_tasks=batch_tasks)
    draw_scores(scores, path)
    draw_blocks(scores, path.with_name(f"{path.stem}_blocks{path.suffix}"))
    with staged_file(path.with_suffix(".json")) as beside:
        beside.write_text(json.dumps(scores.to_dict(), indent=2) + "\n", encoding="utf-8")
    return scores


@contextmanager
def _evaluating(model: StableMTLModel) -> Iterator[None]:
    """The model in eval mode and without gradients; afterwards every module is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(model.training)  # forgets what it keeps between calls without gradients
        for module, mode in modes:
            module.training = mode
