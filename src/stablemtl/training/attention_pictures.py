"""Heat maps of task attention scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stablemtl.training.attention_maps import AttentionScores
from stablemtl.writers import PathLike, staged_file

_INCHES = 0.72  # of a cell with a number


def draw_scores(scores: AttentionScores, path: PathLike) -> None:
    """Heat map of the mean scores with numbers: a row for each main task, a column for each auxiliary."""
    from matplotlib.figure import Figure

    side = _INCHES * len(scores.tasks)
    figure = Figure(figsize=(side + 2.6, side + 1.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    picture = _heat_map(axes, scores.mean, _spread(scores.mean))
    for i, row in enumerate(scores.mean.tolist()):
        for j, score in enumerate(row):
            if math.isfinite(score):
                colour = "black" if 0.15 < picture.norm(score) < 0.85 else "white"
                axes.text(j, i, f"{score:.3f}", ha="center", va="center", color=colour)
    names = [task.replace("_", " ") for task in scores.tasks]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("auxiliary task that is attended to")
    axes.set_ylabel("main task")
    axes.set_title(
        f"Task attention: mean over blocks ({len(scores.blocks)}), images ({scores.images}), tokens, heads\n"
        f"a row sums to 1; white: {_even(len(names)):.3f}, as if all tasks counted the same",
        fontsize="medium",
    )
    figure.colorbar(picture, ax=axes, shrink=0.8)
    with staged_file(path) as beside:
        figure.savefig(beside)


def draw_blocks(scores: AttentionScores, path: PathLike) -> None:
    """A heat map for each block, all on one scale."""
    from matplotlib.figure import Figure

    count = len(scores.blocks)
    columns = min(4, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(2.5 * columns + 1.6, 2.5 * rows + 1.2), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    spread = _spread(scores.by_block)
    names = [task.replace("_", " ") for task in scores.tasks]
    for i, axes in enumerate(grid.flat):
        if i >= count:
            axes.set_axis_off()
            continue
        picture = _heat_map(axes, scores.by_block[i], spread)
        axes.set_title(scores.blocks[i], fontsize="small")
        axes.set_yticks(range(len(names)), names if i % columns == 0 else [""] * len(names), fontsize="small")
        lowest = i + columns >= count
        labels: Sequence[str] = names if lowest else [""] * len(names)
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize="small")
    figure.suptitle(
        "Task attention of each block: main tasks down, auxiliary tasks across", fontsize="medium"
    )
    figure.colorbar(picture, ax=list(grid.flat), shrink=0.8)
    with staged_file(path) as beside:
        figure.savefig(beside)


def _heat_map(axes: Any, scores: Tensor, spread: float) -> Any:
    """The scores in colour, white where they are as in uniform attention; the diagonal stays empty."""
    from matplotlib.colors import TwoSlopeNorm

    even = _even(len(scores))
    norm = TwoSlopeNorm(vcenter=even, vmin=max(0.0, even - spread), vmax=even + spread)
    picture = axes.imshow(scores.numpy(), cmap="RdBu", norm=norm)
    axes.set_facecolor("0.8")
    axes.set_xticks([i - 0.5 for i in range(1, len(scores))], minor=True)
    axes.set_yticks([i - 0.5 for i in range(1, len(scores))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    return picture


def _even(tasks: int) -> float:
    """The score of every auxiliary task if all counted the same."""
    return 1 / max(1, tasks - 1)


def _spread(scores: Tensor) -> float:
    """Largest distance from uniform attention, at least 0.02: noise should not look like a pattern."""
    return max(0.02, float((scores - _even(scores.shape[-1])).abs().nan_to_num().max()))
