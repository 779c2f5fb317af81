"""Pictures of an evaluation: what they show, and when there are none."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from PIL import Image

from stablemtl.evaluation.plots import gains, profile_plots, radar_plot, reference_of
from stablemtl.evaluation.profiles import BINS, Profile
from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score


def profile(task: str, pixels: int = 100) -> Profile:
    bins = BINS[task]
    count = len(bins.edges) - 1
    return Profile(
        by=bins.by,
        error=bins.error,
        edges=bins.edges,
        mean=(math.nan, *(0.1 * i for i in range(1, count))),
        pixels=(0, *([pixels] * (count - 1))),
    )


def score(task: str, model: float = 1.0, constant: float = 2.0, **entries: object) -> Score:
    benchmark = native_benchmark("toys", task)
    known = {
        "benchmark": benchmark,
        "n": 2,
        "model": {benchmark.headline: model},
        "constant": {benchmark.headline: constant},
        "constant_value": [0.0],
        "ceiling": {},
    }
    return Score(**{**known, **entries})  # type: ignore[arg-type]


def opened(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10, "an empty picture"
    return picture


def test_one_picture_for_each_kind_of_error() -> None:
    other = native_benchmark("others", "depth")
    scores = [
        score("depth", profile=profile("depth")),
        score("optical_flow", profile=profile("optical_flow")),
        replace(score("depth", profile=profile("depth")), benchmark=other),
        score("normal"),
        score("scene_flow", profile=profile("scene_flow", pixels=3)),  # too few to mean anything
    ]
    plots = profile_plots(scores)
    assert list(plots) == [
        "error / true depth against true depth [m]", "end-point error [px] against true motion [px]",
    ]  # fmt: skip
    for plot in plots.values():
        assert opened(plot).width > opened(plot).height
    assert plots != profile_plots(scores[:2])
    assert profile_plots([score("normal")]) == {}


def test_gains_are_above_one_where_better() -> None:
    scores = [score("depth", 0.1), score("semantic", 0.6), score("normal", 20.0), score("albedo", math.nan)]
    reference = {"toys depth": 0.2, "toys semantic": 0.3, "toys normal": 0.0, "toys albedo": 1.0}
    assert gains(scores, reference) == {"toys depth": pytest.approx(2.0), "toys semantic": pytest.approx(2.0)}
    assert gains(scores, {}) == {}


def test_reference_is_the_baseline_or_the_constant() -> None:
    scores = [score("depth", 0.1, 0.4)]
    assert reference_of(scores, None) == ("the best constant prediction", {"toys depth": 0.4})
    baseline = Report(
        model="single", single_stream=False, split="test", limit=0, device="cpu", dtype="float32",
        scores=(score("depth", 0.3),),
    )  # fmt: skip
    assert reference_of(scores, baseline) == ("single", {"toys depth": 0.3})


def test_radar() -> None:
    times = {
        "kitti_depth depth": 2.0,
        "diode normal": 0.5,
        "kitti_flow optical_flow": 1000.0,
        "x albedo": 1e-9,
    }
    picture = radar_plot(times, "the baseline")
    assert picture is not None
    opened(picture)
    assert picture != radar_plot({**times, "diode normal": 4.0}, "the baseline")
    assert radar_plot({"a depth": 1.0, "b depth": 2.0}, "the baseline") is None
