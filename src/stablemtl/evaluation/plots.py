"""Pictures of an evaluation, as PNG bytes: errors against the size of the truth, tasks against a baseline."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score

_FEWEST = 50
"""Pixels below which a bin's mean is not drawn."""
_MOST_OCTAVES = 4
"""How far a radar goes to either side of the baseline: 2^4 times better or worse."""
_COLOUR, _GREY = "#1f6fb4", "#777777"


def profile_plots(scores: Sequence[Score]) -> dict[str, bytes]:
    """Mean error in each bin of the true value, one picture for each kind of error.

    Below it, the share of the pixels in each bin. Bins of fewer than 50 pixels are left out.

    Args:
        scores: some of which have a profile.
    Returns:
        Title -> PNG, in the order of the scores.
    """
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if score.profile is not None and max(score.profile.pixels, default=0) >= _FEWEST:
            groups.setdefault((score.profile.by, score.profile.error), []).append(score)
    return {f"{error} against {by}": _profile_plot(by, error, group) for (by, error), group in groups.items()}


def gains(scores: Sequence[Score], reference: Mapping[str, float]) -> dict[str, float]:
    """How many times better each headline is than a reference: above 1 is better.

    Args:
        scores: of an evaluation.
        reference: benchmark's name -> headline figure.
    Returns:
        Benchmark's name -> reference / model where lower is better, model / reference elsewhere. Benchmarks
        without a reference, or with a figure that is not above 0, are left out.
    """
    found = {}
    for score in scores:
        name = score.benchmark.name
        model, other = score.model.get(score.headline, math.nan), reference.get(name, math.nan)
        if model > 0 and other > 0 and math.isfinite(model) and math.isfinite(other):
            found[name] = model / other if score.higher_is_better else other / model
    return found


def reference_of(scores: Sequence[Score], baseline: Report | None) -> tuple[str, dict[str, float]]:
    """What to compare with: the headline figures of a baseline, or of the best constant prediction.

    Returns:
        What it is called, and benchmark's name -> headline figure.
    """
    if baseline is None:
        constant = {s.benchmark.name: s.constant.get(s.headline, math.nan) for s in scores}
        return "the best constant prediction", constant
    figures = {s.benchmark.name: s.model.get(s.headline, math.nan) for s in baseline.scores}
    return baseline.model or "the baseline", figures


def radar_plot(times: Mapping[str, float], reference: str) -> bytes | None:
    """One axis for each benchmark, logarithmic; the circle at 1 is the reference, outside of it is better.

    Args:
        times: of :func:`gains`; beyond 16 times better or worse, the point stays at the edge.
        reference: what 1 is.
    Returns:
        PNG; None for fewer than three benchmarks, which make no shape.
    """
    if len(times) < 3:
        return None
    figure = _figure(6.0, 5.0)
    axes = figure.add_subplot(projection="polar")
    angles = [2 * math.pi * i / len(times) for i in range(len(times))]
    octaves = [min(max(math.log2(value), -_MOST_OCTAVES), _MOST_OCTAVES) for value in times.values()]
    lowest = min(-1, math.floor(min(octaves))) - 1
    highest = max(1, math.ceil(max(octaves)))
    circle = [2 * math.pi * i / 120 for i in range(121)]
    axes.plot(circle, [0.0] * 121, color=_GREY, linestyle="--", label=reference)
    axes.plot([*angles, angles[0]], [*octaves, octaves[0]], color=_COLOUR, marker="o", label="evaluated")
    axes.fill(angles, octaves, color=_COLOUR, alpha=0.15)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(angles)
    labels = axes.set_xticklabels([name.replace(" ", "\n", 1).replace("_", " ") for name in times])
    for angle, label in zip(angles, labels, strict=True):
        side = math.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.set_ylim(lowest, highest)
    rings = range(lowest + 1, highest + 1)
    axes.set_yticks(list(rings))
    axes.set_yticklabels(
        [f"x {2**r}" if r >= 0 else f"x 1/{2**-r}" for r in rings], color=_GREY, fontsize="small"
    )
    axes.grid(alpha=0.35)
    axes.spines["polar"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return _png(figure)


def _profile_plot(by: str, error: str, scores: Sequence[Score]) -> bytes:
    figure = _figure(6.0, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for score in scores:
        profile = score.profile
        assert profile is not None
        seen = [i for i, count in enumerate(profile.pixels) if count >= _FEWEST]
        middles = [_middle(profile.edges[i], profile.edges[i + 1]) for i in seen]
        total = sum(profile.pixels)
        (line,) = upper.plot(
            middles, [profile.mean[i] for i in seen], marker="o", markersize=4, label=score.benchmark.name
        )
        lower.plot(middles, [100 * profile.pixels[i] / total for i in seen], color=line.get_color())
    for axes in (upper, lower):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    upper.set_ylim(bottom=0)
    lower.set_ylim(bottom=0)
    upper.set_ylabel(error)
    lower.set_ylabel("pixels [%]")
    lower.set_xlabel(by)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return _png(figure)


def _middle(low: float, high: float) -> float:
    """On a logarithmic axis; a bin from 0 is drawn at half its upper edge."""
    return math.sqrt(low * high) if low > 0 else high / 2


def _figure(width_inches: float, height_inches: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), dpi=160, layout="constrained")


def _png(figure: Any) -> bytes:
    """On a transparent ground: pages may be light or dark."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", transparent=True)
        return file.getvalue()
