"""Legends: their colours are the picture's, their numbers the map's."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from stablemtl.app.legends import legend, number
from stablemtl.outputs import Prediction
from stablemtl.tasks import TASKS

MakePrediction = Callable[..., Prediction]

RANDOM = np.random.default_rng(0)


def disc(html: str) -> np.ndarray:
    data = re.search(r"base64,([\w+/=]+)", html)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_a_bar_runs_over_the_range_in_the_pictures_colours(make_prediction: MakePrediction) -> None:
    values = np.linspace(2.0, 10.0, 12, dtype=np.float32).reshape(3, 4)
    depth = make_prediction("depth", values, encoding="log", near_m=0.5, far_m=80.0)
    html = legend(depth)
    assert re.findall(r"<span>([^<]+)</span>", html) == [
        "2 to 10 m",
        *("2.0", "4.0", "6.0", "8.0", "10.0 m"),
    ]
    stops = re.findall(r"rgb\((\d+),(\d+),(\d+)\)", html)
    picture = np.asarray(depth.colorize())
    assert tuple(map(int, stops[0])) == tuple(picture[0, 0])
    assert tuple(map(int, stops[-1])) == tuple(picture[2, 3])
    assert "scale" not in html


def test_an_unknown_scale_is_said(make_prediction: MakePrediction) -> None:
    values = np.array([[0.1, 0.9]], dtype=np.float32)
    assert "known up to one scale and shift per picture" in legend(make_prediction("depth", values))
    assert "known up to one scale per picture" in legend(make_prediction("shading", values))


def test_notes_and_missing_pixels_are_said(make_prediction: MakePrediction) -> None:
    values = np.array([[0.1, 0.9, np.nan, 0.5]], dtype=np.float32)
    html = legend(make_prediction("shading", values, note="one <frame> given"))
    assert "one &lt;frame&gt; given" in html
    assert "75.0% of the pixels have a value" in html


def test_classes_are_named_largest_first(make_prediction: MakePrediction) -> None:
    ids = np.array([[0] * 7 + [6] * 2 + [7]], dtype=np.int64)
    html = legend(make_prediction("semantic", ids))
    assert re.findall(r"</i>([a-z ]+) <span>(\d+%)</span>", html) == [
        ("road", "70%"),
        ("sky", "20%"),
        ("vehicle", "10%"),
    ]
    assert html.count("rgb(") == 3
    assert "rgb(128,64,128)" in html


def test_the_flow_wheel_has_the_pictures_colours(make_prediction: MakePrediction) -> None:
    flow = np.zeros((4, 6, 2), dtype=np.float32)
    flow[0, 0], flow[0, 1], flow[0, 2], flow[0, 3] = (8, 0), (-8, 0), (0, 8), (0, -8)
    motion = make_prediction("optical_flow", flow, encoding="calibrated", scale_px=16.0, knee_px=0.0)
    html = legend(motion)
    wheel, picture = disc(html).astype(int), np.asarray(motion.colorize()).astype(int)
    size = len(wheel)
    assert "Pale: 0. Full: 8.00 px." in html
    for (row, column), pixel in {
        (size // 2, size - 1): picture[0, 0],  # to the right
        (size // 2, 0): picture[0, 1],
        (size - 1, size // 2): picture[0, 2],  # down
        (0, size // 2): picture[0, 3],
    }.items():
        assert np.abs(wheel[row, column, :3] - pixel).max() < 12
        assert wheel[row, column, 3] == 255
    assert wheel[0, 0, 3] == 0, "outside the disc"
    assert wheel[size // 2, size // 2, :3].min() > 245, "no motion is white"


def test_scene_flow_has_a_wheel_and_a_bar_of_the_third_component(make_prediction: MakePrediction) -> None:
    flow = RANDOM.uniform(-1, 1, (5, 7, 3)).astype(np.float32)
    flow[..., 2] = np.linspace(-0.5, 1.5, 35).reshape(5, 7)
    html = legend(make_prediction("scene_flow", flow, encoding="calibrated", scale_m=2.0, knee_m=0.0))
    assert disc(html)[48, 90, :3].max() == 255, "drawn at full brightness"
    ticks = re.findall(r"<span>([^<]+)</span>", html.partition("smtl-ticks")[2])
    assert (ticks[0], ticks[-1]) == ("1.5", "-0.5 m")
    stops = [tuple(map(int, stop)) for stop in re.findall(r"rgb\((\d+),(\d+),(\d+)\)", html)]
    assert (stops[0], stops[-1]) == ((0, 0, 0), (255, 255, 255)), "grey from away to near"


def test_the_sphere_of_normals(make_prediction: MakePrediction) -> None:
    values = np.zeros((3, 4, 3), dtype=np.float32)
    values[..., 2] = 1
    sphere = disc(legend(make_prediction("normal", values))).astype(int)
    assert np.abs(sphere[48, 48, :3] - (128, 128, 255)).max() < 4
    assert np.abs(sphere[48, 95, :3] - (255, 128, 128)).max() < 26
    assert np.abs(sphere[95, 48, :3] - (128, 255, 128)).max() < 26


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("case", ["constant", "nothing valid"])
def test_every_task_has_a_legend_whatever_the_map(
    task: str, case: str, make_prediction: MakePrediction
) -> None:
    spec = TASKS[task].spec
    shape = (4, 6) if spec.channels == 1 else (4, 6, spec.channels)
    values = np.zeros(shape, np.int64) if spec.unit == "class id" else np.zeros(shape, np.float32)
    if case == "nothing valid" and values.dtype.kind == "f":
        values += np.nan
    html = legend(make_prediction(task, values))
    assert task.replace("_", " ") in html


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.500"), (-12.34, "-12.3"), (99.96, "100.0"), (1234.5, "1234"), (2e-5, "2e-05")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
