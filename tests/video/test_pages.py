"""Colours over a given range, legends, and the page of the side-by-side video."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stablemtl.tasks import TASKS, Task, build_task
from stablemtl.video.grid import Grid
from stablemtl.video.legends import HEIGHT_PX, colours, legend

FLOW = build_task("optical_flow", encoding="calibrated", scale_px=16.0)
SCENE = build_task("scene_flow", encoding="calibrated", scale_m=2.0)
DEPTH = build_task("depth", encoding="log")


def of(task: Task, *values: tuple[float, ...], value_range: tuple[float, float] | None) -> list[list[int]]:
    """RGB of each value."""
    maps = torch.tensor(values, dtype=torch.float32).T[None, :, None]  # (1, C, 1, N)
    return task.colorize(maps, value_range=value_range)[0, :, 0].T.tolist()


def test_depth_spans_the_range_and_is_clipped() -> None:
    own = of(DEPTH, (2.0,), (3.0,), (6.0,), value_range=None)
    assert of(DEPTH, (2.0,), (3.0,), (6.0,), value_range=(2.0, 6.0)) == own
    low, high, below, above = of(DEPTH, (2.0,), (6.0,), (1.0,), (70.0,), value_range=(2.0, 6.0))
    assert (below, above) == (low, high)
    # alone in its picture, a value still has the colour of the range
    assert of(DEPTH, (3.0,), value_range=(2.0, 6.0)) == own[1:2]


def test_flow_is_compared_with_the_range() -> None:
    right, half, still, far = of(
        FLOW, (4.0, 0.0), (2.0, 0.0), (0.0, 0.0), (9.0, 0.0), value_range=(-4.0, 4.0)
    )
    assert right == far == [255, 0, 0]
    assert still == [255, 255, 255]
    assert half == [255, 128, 128]
    assert of(FLOW, (2.0, 0.0), value_range=(-4.0, 4.0)) == [half]
    assert of(FLOW, (2.0, 0.0), value_range=None) == [[255, 0, 0]]


def test_still_scene_flow_is_grey_and_approach_is_bright() -> None:
    still, nearer, farther = of(SCENE, (0, 0, 0), (0, 0, -1), (0, 0, 1), value_range=(-1.0, 1.0))
    assert still == [128, 128, 128]
    assert nearer == [255, 255, 255]
    assert farther == [0, 0, 0]


@pytest.mark.parametrize("name", TASKS)
def test_other_colours_take_no_notice(name: str) -> None:
    task = TASKS[name]
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 6, 7)).astype(np.float32))
    values = task.decode(image)
    same = torch.equal(task.colorize(values), task.colorize(values, value_range=(0.1, 0.4)))
    assert same is not task.spec.stretched_colors


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (2.0, 1.0), (0.0, math.nan), (0.0, math.inf)])
def test_empty_ranges_are_refused(value_range: tuple[float, float]) -> None:
    for task in (DEPTH, FLOW, SCENE):
        values = torch.zeros(1, task.spec.channels, 2, 3)
        with pytest.raises(ValueError, match="value_range must be two finite numbers, the lower one first"):
            task.colorize(values, value_range=value_range)


def test_classes_are_named_in_the_order_of_their_ids() -> None:
    spec = TASKS["semantic"].spec
    assert len(spec.classes) == spec.value_range[1] + 1
    assert [spec.classes[0], spec.classes[6]] == ["road", "sky"]
    assert all(not TASKS[name].spec.classes for name in TASKS if name != "semantic")


@pytest.mark.parametrize("task", [*TASKS.values(), FLOW, SCENE, DEPTH], ids=lambda task: task.spec.name)
@pytest.mark.parametrize("width", [320, 150])
def test_legends_fit(task: Task, width: int) -> None:
    picture = np.asarray(legend(task, (-0.5, 3.25) if task.spec.channels > 1 else (0.5, 3.25), width))
    assert picture.shape == (HEIGHT_PX, width, 3)
    assert (picture != 255).any()
    assert (picture[:, -1] == 255).all() or task.spec.channels == 1  # a bar goes from edge to edge


def test_a_bar_runs_over_the_range() -> None:
    bar = np.asarray(legend(DEPTH, (2.0, 6.0), 200))[8]
    wanted = of(DEPTH, (2.0,), (6.0,), value_range=(2.0, 6.0))
    assert np.abs(bar[[1, -2]].astype(int) - wanted).max() < 12


def test_the_wheel_shows_directions() -> None:
    """Right is red, at the right; still is white, in the middle."""
    disc = np.asarray(legend(FLOW, (-8.0, 8.0), 200))
    middle = HEIGHT_PX // 2
    assert disc[middle, HEIGHT_PX - 6].tolist()[0] > 200 > 120 > disc[middle, HEIGHT_PX - 6].tolist()[1]
    assert disc[middle, HEIGHT_PX // 2 - 1].min() > 230


def test_swatches_are_the_palette() -> None:
    task = TASKS["semantic"]
    page = np.asarray(legend(task, (0.0, 1.0), 320)).reshape(-1, 3)
    palette = colours(task, np.arange(8)[None, None, :, None], np.ones((1, 1, 8), bool), (0.0, 1.0))[0, 0]
    for colour in palette:
        assert (page == colour).all(axis=1).sum() >= 25


@pytest.mark.parametrize("size", [(180, 320), (1080, 1920), (640, 360), (17, 40), (64, 640)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_pages_of_any_shape(size: tuple[int, int], count: int) -> None:
    tasks = list(TASKS.values())[:count]
    grid = Grid(tasks, {task.spec.name: (0.5, 4.0) for task in tasks}, size)
    assert len(grid.tiles) == count + 1
    height, width = grid.size
    assert width <= 1920
    for tile in grid.tiles:
        assert tile.left + tile.width < width
        assert tile.top + tile.height + HEIGHT_PX <= height
        assert tile.height / tile.width == pytest.approx(size[0] / size[1], abs=0.5 / tile.width)
    spots = {(tile.left, tile.top) for tile in grid.tiles}
    assert len(spots) == len(grid.tiles)
    pictures = [np.full((*size, 3), 40 + 20 * i, np.uint8) for i in range(count + 1)]
    page = grid.page(pictures, "frame 3 of 9, 0.30 s")
    assert page.shape == (height, width, 3)
    for i, tile in enumerate(grid.tiles):
        inside = page[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        assert (inside == 40 + 20 * i).all()
    other = grid.page(pictures, "frame 4 of 9, 0.40 s")
    changed = np.nonzero((page != other).any(axis=2))
    first = grid.tiles[0]
    assert changed[0].size
    assert changed[0].min() >= first.top + first.height
    assert changed[1].max() < first.left + first.width
