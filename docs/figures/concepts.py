"""Figures of the method: the two stages, the training mixture, the schedule."""

from __future__ import annotations

from drawing import Palette, arrow, box, canvas, cell, label
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from stablemtl.data.pairs import STABLEMTL_PAIRS
from stablemtl.tasks import TASKS

NAMES = {name: name.replace("_", " ") for name in TASKS}
TITLES = {"hypersim": "Hypersim", "vkitti2": "Virtual KITTI 2", "flyingthings3d": "FlyingThings3D"}


def stage1(palette: Palette) -> Figure:
    """One-step regression of a label's latent, told the task by a token."""
    figure, axes = canvas(9.2, 3.7)
    top, bottom = 2.2, 0.45
    for i, name in enumerate(("second frame", "first frame")):
        x, y = 0.15 + 0.14 * i, top + 0.42 - 0.42 * i
        box(axes, x, y, 1.05, 0.75, "", palette.data, palette)
        label(axes, x + 0.52, y + (0.58 if i == 0 else 0.37), name, palette, size=8)
    box(axes, 1.75, top, 0.95, 1.0, "encoder", palette.frozen, palette)
    arrow(axes, (1.36, top + 0.5), (1.75, top + 0.5), palette)
    for i, name in enumerate(("0", r"$z_2$", r"$z_1$")):
        fill = palette.empty if i == 0 else palette.data
        box(axes, 3.05, top + 0.34 * i - 0.01, 0.55, 0.34, name, fill, palette, size=9)
    arrow(axes, (2.7, top + 0.5), (3.05, top + 0.5), palette)
    box(axes, 4.0, top - 0.1, 1.5, 1.2, "UNet\none pass", palette.trained, palette, size=10)
    arrow(axes, (3.6, top + 0.5), (4.0, top + 0.5), palette)
    label(axes, 3.32, top - 0.2, "12 channels", palette, size=7.5, color=palette.soft)
    box(axes, 5.9, top + 0.15, 0.95, 0.7, "predicted\nlatent", palette.data, palette, size=8)
    arrow(axes, (5.5, top + 0.5), (5.9, top + 0.5), palette)
    box(axes, 7.15, top, 0.85, 1.0, "decoder", palette.frozen, palette)
    arrow(axes, (6.85, top + 0.5), (7.15, top + 0.5), palette)
    box(axes, 8.3, top + 0.15, 0.75, 0.7, "map", palette.data, palette)
    arrow(axes, (8.0, top + 0.5), (8.3, top + 0.5), palette)
    label(axes, 8.18, top + 0.68, r"$f^{-1}$", palette, size=7.5, color=palette.soft)
    label(axes, 4.75, 3.55, 'token of "depth", or of another task', palette, size=8)
    arrow(axes, (4.75, 3.45), (4.75, top + 1.1), palette)

    box(axes, 0.15, bottom, 1.2, 0.75, "label\n(depth in m)", palette.data, palette, size=8)
    box(axes, 1.75, bottom, 0.95, 0.75, "task's\nencoding $f$", palette.empty, palette, size=8)
    box(axes, 3.05, bottom, 1.1, 0.75, "label image\nin [-1, 1]", palette.data, palette, size=8)
    box(axes, 4.5, bottom, 0.95, 0.75, "encoder", palette.frozen, palette)
    box(axes, 5.9, bottom, 0.95, 0.75, "label's\nlatent", palette.data, palette, size=8)
    for start, end in ((1.35, 1.75), (2.7, 3.05), (4.15, 4.5), (5.45, 5.9)):
        arrow(axes, (start, bottom + 0.375), (end, bottom + 0.375), palette)
    arrow(axes, (6.37, bottom + 0.75), (6.37, top + 0.15), palette, arrowstyle="<|-|>")
    label(axes, 6.5, 1.75, "mean squared error,\nwhere there is a label", palette, size=8, ha="left")
    for x, fill, name in ((7.25, palette.frozen, "frozen"), (8.15, palette.trained, "trained")):
        cell(axes, x, 0.62, 0.16, fill, palette.soft)
        label(axes, x + 0.24, 0.7, name, palette, size=8, ha="left")
    return figure


def stage2(palette: Palette) -> Figure:
    """Frozen auxiliary streams, the main stream, and the attention between them at one pixel."""
    figure, axes = canvas(9.2, 4.3)
    task = "depth"
    others = [name for name in TASKS if name != task]
    rows = dict(zip(others, (3.55 - 0.55 * i for i in range(6)), strict=True))
    for name, y in rows.items():
        color = palette.tasks[list(TASKS).index(name)]
        label(axes, 1.1, y + 0.2, NAMES[name], palette, size=8.5, ha="right", color=color)
        for i in range(4):
            box(axes, 1.25 + 0.62 * i, y, 0.52, 0.4, "", palette.frozen, palette)
            if i:
                axes.plot([1.25 + 0.62 * i - 0.1, 1.25 + 0.62 * i], [y + 0.2] * 2, color=palette.soft, lw=1)
    label(axes, 2.43, 4.12, "single stream, once for each other task (frozen)", palette, size=8.5)
    for i in range(4):
        x = 1.25 + 0.62 * i
        box(axes, x, 0.1, 0.52, 0.5, "", palette.trained, palette)
        if i:
            axes.plot([x - 0.1, x], [0.35] * 2, color=palette.ink, lw=1.2)
        axes.plot([x + 0.26] * 2, [0.75, 3.95], color=palette.soft, lw=1, zorder=0)
        arrow(axes, (x + 0.26, 0.8), (x + 0.26, 0.6), palette, linewidth=1, mutation_scale=8)
    label(axes, 1.1, 0.35, task, palette, size=8.5, ha="right", weight="bold")
    label(axes, 3.85, 0.35, "main\nstream", palette, size=8, ha="left")

    x = 4.75
    axes.plot([4.55] * 2, [0.15, 4.15], color=palette.soft, lw=0.8, ls=":")
    label(axes, 6.85, 4.12, "task attention in one block, at one pixel", palette, size=8.5)
    weights = (0.08, 0.42, 0.05, 0.11, 0.27, 0.07)
    for (name, y), weight in zip(rows.items(), weights, strict=True):
        color = palette.tasks[list(TASKS).index(name)]
        label(axes, x + 1.15, y + 0.2, f"k, v of {NAMES[name]}", palette, size=8, ha="right", color=color)
        axes.add_patch(Rectangle((x + 1.25, y + 0.08), 0.95 * weight / 0.42, 0.24, facecolor=color))
        arrow(axes, (x + 2.3, y + 0.2), (x + 2.75, 2.2), palette, color=color, linewidth=0.5 + 3 * weight)
    arrow(axes, (x + 1.75, 0.47), (x + 1.75, 0.86), palette, linewidth=1, mutation_scale=8)
    label(axes, x + 1.9, 0.64, "softmax (lengths: an example)", palette, size=7.5, ha="left",
          color=palette.soft)  # fmt: skip
    box(axes, x + 2.75, 1.8, 0.75, 0.8, "sum of v,\nprojected", palette.trained, palette, size=7.5)
    box(
        axes,
        x + 0.15,
        0.05,
        2.1,
        0.42,
        "q of depth, from its self-attention",
        palette.trained,
        palette,
        size=7.5,
    )
    box(axes, x + 2.75, 0.05, 1.5, 0.42, "self-attention's output", palette.trained, palette, size=7.5)
    label(axes, x + 3.85, 1.35, "+", palette, size=15)
    arrow(axes, (x + 3.5, 2.05), (x + 3.78, 1.5), palette)
    arrow(axes, (x + 4.1, 0.47), (x + 3.9, 1.2), palette)
    arrow(axes, (x + 3.98, 1.4), (x + 4.25, 1.75), palette)
    label(axes, x + 4.0, 1.98, "on through\nthe block", palette, size=7.5)
    return figure


def mixture(palette: Palette) -> Figure:
    """Which dataset labels which task, how often it is drawn, and the tasks of successive steps."""
    figure, axes = canvas(9.2, 3.7)
    left, width, top = 1.75, 1.02, 3.2
    weights = {(dataset, task): weight for dataset, task, weight in STABLEMTL_PAIRS}
    for column, task in enumerate(TASKS):
        x = left + width * (column + 0.5)
        label(axes, x, top + 0.25, NAMES[task], palette, size=9, color=palette.tasks[column], weight="bold")
        for row, dataset in enumerate(TITLES):
            y = top - 0.5 * row - 0.2
            weight = weights.get((dataset, task), 0.0)
            if weight:
                radius = 0.19 * weight**0.5
                axes.add_patch(Circle((x - 0.12, y), radius, facecolor=palette.tasks[column]))
                label(axes, x + 0.27, y, f"{weight:g}", palette, size=8.5)
            else:
                label(axes, x, y, "-", palette, color=palette.soft)
    for row, title in enumerate(TITLES.values()):
        label(axes, left - 0.15, top - 0.5 * row - 0.2, title, palette, size=9, ha="right")
    axes.plot([0.2, 9.0], [1.62] * 2, color=palette.soft, lw=0.6)

    label(axes, left - 0.15, 1.05, "steps", palette, size=9, ha="right")
    label(axes, left - 0.15, 0.75, "each: one task,\none dataset", palette, size=7.5, ha="right", va="top",
          color=palette.soft)  # fmt: skip
    short = {"hypersim": "Hypersim", "vkitti2": "Virtual\nKITTI 2", "flyingthings3d": "Flying\nThings3D"}
    shown = ("vkitti2", "hypersim", "hypersim", "flyingthings3d", "vkitti2", "hypersim", "hypersim")
    for column, (task, dataset) in enumerate(zip(TASKS, shown, strict=True)):
        x = left + width * column
        assert (dataset, task) in weights, "a step draws from a dataset that labels its task"
        for k in range(4):
            cell(axes, x + 0.07 + 0.22 * k, 0.95, 0.19, palette.tasks[column])
        label(axes, x + 0.5, 0.72, short[dataset], palette, size=7.5, va="top")  # fmt: skip
        arrow(axes, (x + 0.5, 1.42), (x + 0.5, 1.17), palette, linewidth=0.8, mutation_scale=7)
        label(axes, x + 0.5, 1.5, f"{column + 1}", palette, size=7.5, color=palette.soft)
    label(axes, 4.6, 0.1, "squares: micro-batches, all of the step's task; the optimizer moves after them",
          palette, size=7.5, color=palette.soft)  # fmt: skip
    return figure


def passes(tasks: int, *, frames: int = 2, shared: bool) -> dict[str, int]:
    """Runs of each network for so many of the seven maps of one input.

    Published: every main stream has its own six auxiliary ones, and every stream encodes its own frames: two
    for the flows of a pair, one for other tasks. Shared: each auxiliary stream runs once, for all main ones
    together (a single task needs not its own), each frame is encoded once, and prompts are stored.
    """
    every = len(TASKS)
    if shared:
        auxiliary = every - 1 if tasks == 1 else every
        return {"UNet": auxiliary + tasks, "encoder": frames, "decoder": tasks, "text encoder": 0}
    streams = tasks * every  # of each task: one main and six auxiliary
    flows = sum(TASKS[name].spec.frames == 2 for name in TASKS) if frames == 2 else 0
    encodes = tasks * (every + flows)
    return {"UNet": streams, "encoder": encodes, "decoder": tasks, "text encoder": streams}


def schedule(palette: Palette) -> Figure:
    """Passes of each network for seven maps of a pair: as published, and shared."""
    figure, axes = canvas(9.2, 3.5)
    left, side, gap = 1.6, 0.085, 0.024
    colors = {"UNet": 3, "encoder": 0, "decoder": 5, "text encoder": 1}
    for row, (name, shared) in enumerate((("as published", False), ("here", True))):
        y = 2.75 - 1.62 * row
        label(axes, left - 0.3, y - 0.12, name, palette, size=10.5, ha="right", weight="bold")
        for column, (network, count) in enumerate(passes(7, shared=shared).items()):
            x = left + 1.9 * column
            label(axes, x, y + 0.38, f"{count}", palette, size=15, ha="left", weight="bold")
            offset = 0.42 if count > 9 else 0.25
            label(axes, x + offset, y + 0.33, network, palette, size=8.5, ha="left", color=palette.soft)
            for i in range(count):
                cell(
                    axes,
                    x + (i % 14) * (side + gap),
                    y - (i // 14) * (side + gap),
                    side,
                    palette.tasks[colors[network]],
                )
    axes.plot([0.2, 9.0], [1.85] * 2, color=palette.soft, lw=0.6)
    label(axes, 4.6, 0.2, "passes for seven maps of two frames; the pixels are the same to 1e-6", palette,
          size=8.5, color=palette.soft)  # fmt: skip
    return figure


FIGURES = {"stage1": stage1, "stage2": stage2, "mixture": mixture, "schedule": schedule}
"""File name -> what draws it."""
