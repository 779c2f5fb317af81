"""Figures of conventions: camera axes with depth, normals, optical flow, scene flow."""

from __future__ import annotations

import math

import torch
from drawing import Palette, arrow, canvas, cell, label
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

from stablemtl.tasks import TASKS, build_task


def camera(palette: Palette) -> Figure:
    """x right, y down, z forward; planar depth against distance."""
    figure, axes = canvas(9.2, 3.0)
    centre = (1.9, 1.75)
    axes.add_patch(Polygon([(0.9, 1.35), (0.9, 2.15), (1.6, 2.15), (1.6, 1.35)], closed=True,
                           facecolor=palette.frozen, edgecolor=palette.soft))  # fmt: skip
    axes.add_patch(Polygon([(1.6, 1.6), (1.6, 1.9), (1.9, 2.0), (1.9, 1.5)], closed=True,
                           facecolor=palette.frozen, edgecolor=palette.soft))  # fmt: skip
    label(axes, 1.25, 1.75, "camera", palette, size=8)
    for end, name, color in (
        ((3.2, 1.75), "z forward", palette.tasks[6]),
        ((1.9, 0.55), "y down", palette.tasks[5]),
        ((2.55, 1.02), "x right", palette.tasks[2]),
    ):
        arrow(axes, centre, end, palette, color=color, linewidth=2)
        where = {"z forward": (2.75, 1.92), "y down": (1.85, 0.4), "x right": (2.9, 0.92)}[name]
        label(axes, *where, name, palette, color=color, size=9)

    eye, wall = (4.6, 1.5), 8.0
    axes.plot([wall, wall], [0.5, 2.7], color=palette.ink, lw=2.5)
    label(axes, wall + 0.1, 0.55, "a wall seen\nhead-on", palette, size=8.5, ha="left")
    axes.add_patch(Circle(eye, 0.07, facecolor=palette.ink))
    label(axes, eye[0] - 0.1, eye[1] - 0.28, "camera's\ncentre", palette, size=8, va="top")
    arrow(axes, eye, (wall, 1.5), palette, color=palette.tasks[6], linewidth=1.5)
    arrow(axes, eye, (wall, 2.5), palette, color=palette.soft, linewidth=1.2, linestyle="--")
    axes.plot([eye[0], wall], [2.5, 2.5], color=palette.tasks[6], lw=1, ls=":")
    label(axes, 6.35, 1.36, "depth z", palette, color=palette.tasks[6], size=9)
    label(axes, 5.4, 2.64, "the same depth z here", palette, color=palette.tasks[6], size=8.5)
    label(axes, 6.75, 1.96, "distance along the ray: not used", palette, color=palette.soft, size=8,
          rotation=16.4)  # fmt: skip
    return figure


def normals(palette: Palette) -> Figure:
    """A room of five planes with the vector and the colour of each."""
    figure, axes = canvas(9.2, 3.4)
    x0, x1, y0, y1 = 0.3, 5.3, 0.2, 3.2
    inner = (1.8, 3.8, 1.1, 2.3)
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    near = [(inner[0], inner[2]), (inner[1], inner[2]), (inner[1], inner[3]), (inner[0], inner[3])]
    planes = {
        "wall ahead": ((0.0, 0.0, 1.0), near),
        "floor": ((0.0, 1.0, 0.0), [corners[0], corners[1], near[1], near[0]]),
        "ceiling": ((0.0, -1.0, 0.0), [corners[3], corners[2], near[2], near[3]]),
        "wall on the left": ((-1.0, 0.0, 0.0), [corners[0], near[0], near[3], corners[3]]),
        "wall on the right": ((1.0, 0.0, 0.0), [corners[1], near[1], near[2], corners[2]]),
    }
    for name, (vector, points) in planes.items():
        color = _colour("normal", vector)
        axes.add_patch(Polygon(points, closed=True, facecolor=color, edgecolor="#20242a", linewidth=0.8))
        x = sum(point[0] for point in points) / 4
        y = sum(point[1] for point in points) / 4
        bright = sum(color) > 1.6
        text = f"{name}\n({', '.join(f'{value:g}' for value in vector)})"
        text = text.replace("wall on the ", "wall on\nthe ")
        label(axes, x, y, text, palette, size=8, color="#14171a" if bright else "#ffffff")
    label(axes, 5.6, 2.9, "stored: into the surface, away from the camera", palette, size=9, ha="left",
          weight="bold")  # fmt: skip
    label(axes, 5.6, 2.62, "x right, y down, z forward", palette, size=9, ha="left")
    lines = (
        ("OpenGL, towards the camera", "(-x, y, z)", "`normals_to_opengl`"),
        ("OpenCV, towards the camera", "(-x, -y, -z)", "`normals_in(...)`"),
    )
    for i, (name, change, how) in enumerate(lines):
        label(axes, 5.6, 2.0 - 0.75 * i, f"{name}: {change}", palette, size=9, ha="left")
        label(axes, 5.6, 1.76 - 0.75 * i, f"stablemtl.conversions.{how.strip('`')}", palette, size=8,
              ha="left", color=palette.soft, family="monospace")  # fmt: skip
    label(axes, 5.6, 0.4, "colours: (n + 1) / 2 as R, G, B", palette, size=8.5, ha="left", color=palette.soft)
    return figure


def flows(palette: Palette) -> Figure:
    """Optical flow in the picture, scene flow in space."""
    figure, axes = canvas(9.2, 3.3)
    centre, radius = (1.75, 1.65), 1.05
    for step in range(24):
        angle = 2 * math.pi * step / 24
        u, v = math.cos(angle), math.sin(angle)  # v down
        color = _colour("optical_flow", (u, v))
        end = (centre[0] + radius * u, centre[1] - radius * v)
        arrow(axes, centre, end, palette, color=color, linewidth=2.2, mutation_scale=9)
    for (x, y), text in (
        ((3.02, 1.65), "(1, 0)\nright"),
        ((1.75, 0.3), "(0, 1) down"),
        ((0.42, 1.65), "(-1, 0)\nleft"),
        ((1.75, 2.88), "(0, -1) up"),
    ):
        label(axes, x, y, text, palette, size=8)
    label(axes, 1.75, 3.16, "optical flow (u, v)", palette, size=9.5, weight="bold")

    label(axes, 6.4, 3.16, "scene flow (X, Y, Z): where it is later, minus where it is now", palette,
          size=9.5, weight="bold")  # fmt: skip
    first, second = (4.2, 0.75), (4.2, 2.2)
    for place, name in ((second, "first camera"), (first, "second camera,\nlater")):
        axes.add_patch(
            Polygon([(place[0] - 0.18, place[1] - 0.16), (place[0] + 0.18, place[1]),
                     (place[0] - 0.18, place[1] + 0.16)], closed=True,
                    facecolor=palette.frozen, edgecolor=palette.soft)
        )  # fmt: skip
        label(axes, place[0], place[1] - 0.38, name, palette, size=8)
    for place, end, name, color in (
        (second, (7.4, 2.55), "now: (0.2, 0, 5.0) m", palette.tasks[0]),
        (first, (6.5, 1.0), "later: (0.2, 0, 4.0) m", palette.tasks[3]),
    ):
        arrow(axes, (place[0] + 0.2, place[1]), end, palette, color=color)
        axes.add_patch(Circle(end, 0.07, facecolor=color))
        label(axes, end[0] + 0.14, end[1], name, palette, size=8.5, ha="left", color=color)
    label(axes, 6.55, 1.72, "each point in the axes of its own camera:\n"
          "scene flow (0, 0, -1.0) m, though the thing may stand still", palette, size=8.5)  # fmt: skip
    return figure


def classes(palette: Palette) -> Figure:
    """The eight classes with their ids and colours."""
    figure, axes = canvas(9.2, 0.75)
    names = TASKS["semantic"].spec.classes
    for i, name in enumerate(names):
        x = 0.15 + 1.12 * i
        cell(axes, x, 0.4, 0.25, _colour("semantic", (i,)), palette.soft)
        label(axes, x + 0.33, 0.52, f"{i}", palette, size=10, ha="left", weight="bold")
        label(axes, x, 0.18, name, palette, size=8, ha="left")
    return figure


def values(palette: Palette) -> Figure:
    """Colour bars: depth, shading; which end means what."""
    figure, axes = canvas(9.2, 0.8)
    bars = ((0.2, "depth", ("near", "far")), (5.0, "shading", ("dark", "lit")))
    for x, task, _ in bars:
        ramp = torch.linspace(0, 1, 256)[None, None, None]  # (1, 1, 1, 256)
        picture = TASKS[task].colorize(ramp)[0].permute(1, 2, 0).numpy()  # (1, 256, 3)
        axes.imshow(picture, extent=(x, x + 3.6, 0.36, 0.54), aspect="auto", interpolation="nearest")
    axes.set(xlim=(0, 9.2), ylim=(0, 0.8))
    for x, task, ends in bars:
        label(axes, x, 0.2, ends[0], palette, size=8.5, ha="left")
        label(axes, x + 3.6, 0.2, ends[1], palette, size=8.5, ha="right")
        label(axes, x + 1.8, 0.66, task, palette, size=9)
    return figure


def _colour(task: str, value: tuple[float, ...]) -> tuple[float, float, float]:
    """The colour that the task itself gives a value."""
    if task == "optical_flow":  # stretched over the picture: show it beside motion of the same length
        ring = [(math.cos(a), math.sin(a)) for a in (0.0, 2.0, 4.0)] + [(value[0], value[1])]
        target = torch.tensor(ring).T[None, :, None, :]  # (1, 2, 1, 4)
        return tuple((build_task(task).colorize(target)[0, :, 0, -1] / 255).tolist())
    kind = torch.int64 if task == "semantic" else torch.float32
    target = torch.tensor(value, dtype=kind)[None, :, None, None]  # (1, C, 1, 1)
    return tuple((TASKS[task].colorize(target)[0, :, 0, 0] / 255).tolist())


FIGURES = {"camera": camera, "normals": normals, "flows": flows, "classes": classes, "values": values}
"""File name -> what draws it."""
