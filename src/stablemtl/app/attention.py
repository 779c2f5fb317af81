"""Which tasks the main network listens to for the picture given, and where.

Source: StableMTL (arXiv 2506.08013), figure 7.

Letters: A auxiliary tasks; h, w size of an attending block; y, x size shown.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.app.uploads import Picture
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.training.attention_maps import FrameLatents, attention_scores
from stablemtl.training.attention_pictures import draw_scores
from stablemtl.writers import staged_file

_LEAST_SPREAD = 1e-3  # of the colours around equal attention, so that rounding does not look like a pattern


def attention_pictures(
    pipe: StableMTLPipeline, picture: Picture, following: Picture | None, task: str, folder: Path
) -> tuple[Path, Path]:
    """Two pictures: how much each task attends to each other one, and where ``task`` attends to which.

    Args:
        pipe: a model with a main stream.
        picture, following: the frames; motion tasks look at both.
        task: the main task of the second picture.
        folder: where to write.
    Returns:
        Paths of the scores' heat map and of the places.
    Raises:
        ValueError: the model has no main stream, or does not know the task.
    """
    frames = [pipe.encode(shot.pixels) for shot in (picture, following) if shot is not None]
    latents = [frame.latent for frame in frames if frame.latent is not None]
    first, second = latents[0][None], latents[1][None] if len(latents) > 1 else None
    scores = attention_scores(pipe.model, [FrameLatents(first, second)])
    draw_scores(scores, folder / "attention.png")
    places = attention_places(pipe, first, second, task)
    names = [other for other in pipe.model.tasks if other != task]
    _draw_places(picture, task, names, places, folder / "attention_places.png")
    return folder / "attention.png", folder / "attention_places.png"


@torch.no_grad()
def attention_places(
    pipe: StableMTLPipeline, latent: Tensor, latent_next: Tensor | None, task: str
) -> Tensor:
    """Where a main task attends to each auxiliary task: the mean over blocks and heads.

    Returns:
        (A, y, x) in the model's task order without ``task``, at the largest block's size; sums to 1 over A.
    """
    maps = pipe.model.attention_maps(latent, latent_next, tasks=[task])
    names = [other for other in pipe.model.tasks if other != task]
    blocks = sorted({block for _, _, block in maps})
    stacks = [torch.cat([maps[task, name, block] for name in names]) for block in blocks]  # (A, h, w)
    size = max(((stack.shape[-2], stack.shape[-1]) for stack in stacks), key=math.prod)
    scaled = [
        F.interpolate(stack[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        for stack in stacks
    ]
    return torch.stack(scaled).mean(0).cpu()


def _draw_places(picture: Picture, task: str, names: list[str], places: Tensor, path: Path) -> None:
    """The photograph in grey under each auxiliary task's weights."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    height, width = picture.size
    inches = 2.9
    figure = Figure(
        figsize=(inches * columns + 0.9, (inches * height / width + 0.2) * rows + 0.6),
        dpi=110,
        layout="constrained",
    )
    even = 1 / len(names)
    spread = max(_LEAST_SPREAD, float((places - even).abs().max()))
    norm = TwoSlopeNorm(vcenter=even, vmin=max(0.0, even - spread), vmax=even + spread)
    grey = picture.image.convert("L").resize((min(width, 480), round(min(width, 480) * height / width)))
    grid = figure.subplots(rows, columns, squeeze=False)
    extent = (0.0, float(width), float(height), 0.0)
    for i, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if i < len(names):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
            drawn = axes.imshow(
                places[i].numpy(), cmap="RdBu", norm=norm, alpha=0.7, extent=extent, interpolation="bilinear"
            )
            axes.set_title(names[i].replace("_", " "), fontsize="medium")
    figure.suptitle(
        f"Where {task.replace('_', ' ')} listens to which task: mean over blocks and heads\n"
        f"white: {even:.3f}, as if all tasks counted the same",
        fontsize="medium",
    )
    figure.colorbar(drawn, ax=list(grid.flat), shrink=0.8)
    with staged_file(path) as beside:
        figure.savefig(beside)
