"""Values at a pixel: the text of a click, and what is packed for the mouse."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemtl.app.values import HOVER_PX, hover_data, value_table, value_text
from stablemtl.outputs import Prediction
from stablemtl.tasks import TASKS

MakePrediction = Callable[..., Prediction]


def unpacked(text: str) -> tuple[dict[str, Any], np.ndarray]:
    found = re.search(r'data-values="([^"]+)"', text)
    assert found is not None
    content = json.loads(html.unescape(found[1]))
    width, height = content["size"]
    codes = np.frombuffer(base64.b64decode(content["data"]), "<u2").reshape(-1, height, width)
    steps, offsets = np.array(content["steps"]), np.array(content["offsets"])
    values = offsets[:, None, None] + codes * steps[:, None, None]
    return content, np.where(codes == 65535, np.nan, values)


def test_texts_have_components_and_units(make_prediction: MakePrediction) -> None:
    depth = np.array([[1.5, 12.34], [np.nan, 3.0]], dtype=np.float32)
    metric = make_prediction("depth", depth, encoding="log")
    assert [value_text(metric, x, y) for x, y in ((0, 0), (1, 0), (0, 1))] == ["1.50 m", "12.3 m", "no value"]
    assert value_text(make_prediction("depth", depth / 20), 0, 0) == "0.0750"
    flow = make_prediction(
        "optical_flow", np.full((2, 3, 2), (3.1, -0.25), np.float32), encoding="calibrated"
    )
    assert value_text(flow, 2, 1) == "u 3.10, v -0.250 px"
    assert value_text(make_prediction("semantic", np.array([[6, 250]])), 0, 0) == "sky"
    assert value_text(make_prediction("semantic", np.array([[6, 250]])), 1, 0) == "class 250"
    colour = make_prediction("albedo", np.full((1, 1, 3), (0.1, 0.2, 0.3), np.float32))
    assert value_text(colour, 0, 0) == "R 0.100, G 0.200, B 0.300"
    normal = make_prediction("normal", np.full((1, 1, 3), (0, 0, 1), np.float32))
    assert value_text(normal, 0, 0) == "x 0, y 0, z 1.00"


@pytest.mark.parametrize("place", [(3, 0), (0, 2), (-1, 0)])
def test_a_pixel_outside_is_an_error(place: tuple[int, int], make_prediction: MakePrediction) -> None:
    with pytest.raises(IndexError, match=r"no pixel .* 3x2 px"):
        value_text(make_prediction("shading", np.zeros((2, 3), np.float32)), *place)


def test_the_table_lists_all_maps(make_prediction: MakePrediction) -> None:
    maps = {
        "depth": make_prediction("depth", np.full((2, 3), 2.0, np.float32), encoding="log"),
        "optical_flow": make_prediction("optical_flow", np.zeros((2, 3, 2), np.float32)),
    }
    table = value_table(maps, 1, 0)
    assert "At x 1, y 0 px" in table
    assert re.findall(r"<th>([^<]+)</th><td>([^<]+)</td>", table) == [
        ("depth", "2.00 m"),
        ("optical flow", "u 0, v 0"),
    ]


@pytest.mark.parametrize("task", list(TASKS))
def test_packed_values_are_the_maps_values(task: str, make_prediction: MakePrediction) -> None:
    spec = TASKS[task].spec
    random = np.random.default_rng(0)
    shape = (5, 9) if spec.channels == 1 else (5, 9, spec.channels)
    if spec.unit == "class id":
        values: np.ndarray = random.integers(0, 8, shape)
    else:
        values = random.uniform(-3, 7, shape).astype(np.float32)
        values[2, 4] = np.nan
    content, back = unpacked(hover_data(make_prediction(task, values)))
    assert content["size"] == content["full"] == [9, 5]
    assert len(content["names"]) == spec.channels
    expected = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    np.testing.assert_allclose(back, expected, atol=10 / 131068 + 1e-6)


def test_a_large_map_is_packed_small(make_prediction: MakePrediction) -> None:
    rows = np.arange(300, dtype=np.float32)[:, None] * np.ones((1, 4 * HOVER_PX), np.float32)
    content, back = unpacked(hover_data(make_prediction("depth", rows, encoding="log")))
    assert content["size"] == [HOVER_PX, 75]
    assert content["full"] == [4 * HOVER_PX, 300]
    np.testing.assert_allclose(back[0, :, 0], np.arange(75) * 4 + 2, atol=0.01)


def test_constant_maps_are_packed_too(make_prediction: MakePrediction) -> None:
    _, back = unpacked(hover_data(make_prediction("shading", np.full((2, 3), 0.25, np.float32))))
    np.testing.assert_array_equal(back, np.full((1, 2, 3), 0.25))
