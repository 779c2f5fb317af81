"""Curves of a run as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from stablemtl.training.log_reader import TrainingLog
from stablemtl.writers import staged_file

Series = Sequence[tuple[int, float]]
_SMOOTHED = 60  # points from which on a curve is drawn with its moving mean
_MARKED = 30  # points up to which each is marked
_LOGARITHMIC = 5  # largest value over smallest from which on a logarithmic axis reads better
_BY_TASK = {
    "loss": ("Loss of each task", "mean loss"),
    "gradient_norm": ("Norm of the gradient of each task", "mean norm before clipping"),
    "validation": ("Validation of each task", "validation figure"),
}
_OF_ALL = {
    "learning_rate": ("Learning rate", "learning rate"),
    "steps_per_second": ("Speed", "steps / s"),
}


def write_curves(log: TrainingLog, folder: Path) -> dict[str, Path]:
    """Writes a picture of each kind of figure that the log has.

    Args:
        log: of the run.
        folder: where to write; made if missing.
    Returns:
        Title -> picture, in the order to show them.
    """
    tasks = sorted({name for kind in _BY_TASK for name in log.series(kind)})
    colours = _colours(["", *tasks])
    written = {}
    for kind, (title, unit) in _BY_TASK.items():
        if series := log.series(kind):
            bars = kind == "gradient_norm"
            figure = _figure(12.0 if bars else 9.0)
            parts = figure.subplots(1, 1 + bars, width_ratios=(2.2, 1)[: 1 + bars], squeeze=False)[0]
            _lines(parts[0], series, unit, colours, logarithmic=True)
            if bars:
                _medians(parts[1], series, colours)
            written[title] = _save(figure, folder / f"{kind}.png")
    for kind, (title, unit) in _OF_ALL.items():
        if values := log.values(kind):
            figure = _figure(9.0)
            _lines(figure.add_subplot(), {"": values}, unit, colours)
            written[title] = _save(figure, folder / f"{kind}.png")
    return written


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Mean of each value and its neighbours, up to ``width`` // 2 on either side; fewer at the ends."""
    half = width // 2
    parts = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def _medians(axes: Any, series: Mapping[str, Series], colours: Mapping[str, Any]) -> None:
    """A bar for each task, largest first: figure 5b of the paper."""
    finite = {name: [v for _, v in values if math.isfinite(v)] for name, values in series.items()}
    medians = sorted(((median(values), name) for name, values in finite.items() if values), reverse=True)
    names = [name for _, name in medians]
    bars = axes.barh(
        [_title(name) for name in names], [value for value, _ in medians], color=[colours[n] for n in names]
    )
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("median")
    _plain(axes)


def _lines(
    axes: Any,
    series: Mapping[str, Series],
    unit: str,
    colours: Mapping[str, Any],
    logarithmic: bool = False,
) -> None:
    """A line for each task, with its moving mean where there are many points."""
    for name, pairs in series.items():
        steps, values = zip(*pairs, strict=True)
        style = {"color": colours[name], "label": _title(name) or None}
        if len(values) < _SMOOTHED or not name:
            axes.plot(steps, values, marker="o" if len(values) <= _MARKED else "", markersize=3, **style)
        else:
            axes.plot(steps, values, color=colours[name], alpha=0.25, linewidth=0.8)
            axes.plot(steps, smoothed(values, len(values) // 20), **style)
    finite = [v for pairs in series.values() for _, v in pairs if math.isfinite(v)]
    if logarithmic and finite and 0 < _LOGARITHMIC * min(finite) < max(finite):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(unit)
    if any(series):
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    _plain(axes)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _colours(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each name, so that a task has the same one in every picture."""
    from matplotlib import colormaps

    table = colormaps["tab10" if len(names) <= 10 else "tab20"]
    return {name: table(i % table.N) for i, name in enumerate(names)}


def _figure(width_inches: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, 4.0), dpi=110, layout="constrained")


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _save(figure: Any, path: Path) -> Path:
    with staged_file(path) as beside:
        figure.savefig(beside)
    return path
