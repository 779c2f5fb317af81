"""What the figures share: two palettes, boxes, arrows, a file for light pages and one for dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle


@dataclass(frozen=True)
class Palette:
    """Colours on a page of one brightness; the page itself shines through."""

    ink: str
    """Text and arrows."""
    soft: str
    """Lines and text of less weight."""
    frozen: str
    """Fill of what is not trained."""
    trained: str
    """Fill of what is trained."""
    data: str
    """Fill of pictures and latents."""
    empty: str
    """Fill of what is not there."""
    tasks: tuple[str, ...]
    """A colour for each of the seven tasks."""


LIGHT = Palette(
    ink="#1b1f24",
    soft="#5b6570",
    frozen="#dbe4ee",
    trained="#ffd9a8",
    data="#e4f2e4",
    empty="#f0f1f3",
    tasks=("#4e79a7", "#b07aa1", "#d1495b", "#e68613", "#a98600", "#3a8f5c", "#6b7fd7"),
)
DARK = Palette(
    ink="#e6e9ed",
    soft="#a3acb7",
    frozen="#34465c",
    trained="#7a4f14",
    data="#2d5136",
    empty="#2a2e36",
    tasks=("#7fa8d1", "#cfa3c3", "#f08a96", "#f5a94e", "#d9be4a", "#6fc391", "#9fadf0"),
)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A transparent figure whose coordinates are inches, from the lower left."""
    figure = Figure(figsize=(width, height))
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    fill: str,
    palette: Palette,
    **style,
) -> None:
    """A rounded box with its lower left corner at (x, y)."""
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.04, y + 0.04),
            width - 0.08,
            height - 0.08,
            boxstyle="round,pad=0.04,rounding_size=0.08",
            facecolor=fill,
            edgecolor=palette.soft,
            linewidth=0.8,
        )
    )
    label(axes, x + width / 2, y + height / 2, text, palette, **style)


def cell(axes: Axes, x: float, y: float, side: float, fill: str, edge: str = "none") -> None:
    """A small square."""
    axes.add_patch(Rectangle((x, y), side, side, facecolor=fill, edgecolor=edge, linewidth=0.6))


def label(axes: Axes, x: float, y: float, text: str, palette: Palette, **style) -> None:
    """Text around (x, y)."""
    style = {"color": palette.ink, "size": 9, "ha": "center", "va": "center", "linespacing": 1.25} | style
    axes.text(x, y, text, **style)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], palette: Palette, **style
) -> None:
    """An arrow between two points."""
    style = {"color": palette.ink, "linewidth": 1.2, "arrowstyle": "-|>", "mutation_scale": 10} | style
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))


def save(name: str, draw: Callable[[Palette], Figure], folder: Path) -> list[Path]:
    """``<name>-light.svg`` and ``<name>-dark.svg``; the same drawing gives the same bytes."""
    paths = []
    for kind, palette in (("light", LIGHT), ("dark", DARK)):
        path = folder / f"{name}-{kind}.svg"
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
            draw(palette).savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
        paths.append(path)
    return paths
