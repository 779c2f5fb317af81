"""The best constant of each task, by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.records import figures_of
from stablemtl.evaluation.trivial import Constants, candidates, mean_of, state_of
from stablemtl.tasks import TASKS, Task, build_task

SIZE = (2, 3)
ALL = torch.ones(1, *SIZE, dtype=torch.bool)


def flat(*values: float) -> Tensor:
    """The same vector at every pixel."""
    return torch.tensor(values)[:, None, None].expand(-1, *SIZE).clone()


def best(
    name: str, targets: Sequence[Tensor], valid: Tensor = ALL, *, fit: bool = True, task: Task | None = None
) -> tuple[list[float], dict[str, float]]:
    """The best constant of images (C, 2, 3), and its figures."""
    task = task or TASKS[name]
    benchmark = native_benchmark("hand", name)
    mean = torch.stack([mean_of(target, valid) for target in targets]).mean(dim=0)
    constants = Constants(task, benchmark, candidates(task.spec, lambda: mean, fitted=fit), align=fit)
    sums = np.sum([constants.states(target, valid) for target in targets], axis=0)
    chosen = constants.best(sums, benchmark.headline, higher_is_better=task.spec.higher_is_better)
    figures = figures_of(benchmark.metric(task, align=fit), sums[chosen])
    return constants.values[chosen].tolist(), figures


def test_depth_is_the_mean_of_each_image() -> None:
    depth = torch.tensor([[[1.0, 3.0, 1.0], [3.0, 1.0, 3.0]]])  # mean 2: |2 - 1| / 1 and |2 - 3| / 3
    value, figures = best("depth", [depth, 10 * depth])
    assert value == [1.0]
    assert figures["abs_rel"] == pytest.approx((1 + 1 / 3) / 2)


def test_depth_in_metres_is_a_share_of_the_mean() -> None:
    """Five of six points are at 2 m, one at 40: 0.2 of the mean, 5/3 m, is nearest to most of them."""
    depth = torch.tensor([[[2.0, 2.0, 2.0], [2.0, 2.0, 40.0]]])
    value, figures = best("depth", [depth], fit=False, task=build_task("depth", encoding="log"))
    assert value == pytest.approx([5 / 3])
    assert figures["abs_rel"] == pytest.approx((5 * (1 / 6) + (40 - 5 / 3) / 40) / 6)


def test_shading_is_the_mean_of_each_image() -> None:
    value, figures = best("shading", [torch.tensor([[[0.2, 0.6, 0.2], [0.6, 0.2, 0.6]]])])
    assert value == [1.0]
    assert figures["rmse"] == pytest.approx(0.2)


def test_flow_takes_the_sign_of_each_channel() -> None:
    value, figures = best("optical_flow", [flat(2.0, -3.0)])
    assert value == [1.0, -1.0]
    assert figures["epe"] == pytest.approx(0.0, abs=1e-12)


def test_flow_of_both_signs_has_one_constant() -> None:
    """The longer motion decides; the other image's scale becomes 0, not negative."""
    value, figures = best("optical_flow", [flat(-5.0, 0.0), flat(1.0, 0.0)])
    assert value[0] == -1.0
    assert figures["epe"] == pytest.approx(0.5)


def test_no_motion_is_a_constant_too() -> None:
    """One of six pixels moves by 6: the mean, 1, errs by 10 in all; no motion errs by 6."""
    flow = torch.zeros(2, *SIZE)
    flow[0, 0, 0] = 6.0
    value, figures = best("optical_flow", [flow])
    assert value[0] <= 0
    assert figures["epe"] == pytest.approx(1.0)


def test_flow_in_pixels_is_the_mean_or_nothing() -> None:
    task = build_task("optical_flow", encoding="calibrated")
    value, figures = best("optical_flow", [flat(-5.0, 0.0), flat(-1.0, 0.0)], fit=False, task=task)
    assert (value, figures["epe"]) == ([-3.0, 0.0], 2.0)
    flow = torch.zeros(2, *SIZE)
    flow[0, 0, 0] = 6.0
    value, figures = best("optical_flow", [flow], fit=False, task=task)
    assert (value, figures["epe"]) == ([0.0, 0.0], 1.0)


def test_scene_flow_has_three_signs() -> None:
    value, figures = best("scene_flow", [flat(0.1, -0.2, -0.3)])
    assert value == pytest.approx([1.0, -1.0, -1.0])
    assert figures["epe3d"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["optical_flow", "scene_flow", "semantic"])
def test_shortcuts_are_what_the_metric_says(name: str, toys: Any) -> None:
    """Every candidate, on two images, against the metric that scores models."""
    benchmark = native_benchmark("toys", name)
    channels = TASKS[name].spec.channels
    constants = Constants(TASKS[name], benchmark, candidates(TASKS[name].spec, lambda: None, fitted=True))
    values = (
        [[float(k)] for k in range(8)]
        if name == "semantic"
        else [list(signs) for signs in itertools.product((-1.0, 0.0, 1.0), repeat=channels)]
    )
    assert [value.tolist() for value in constants.values] == values
    for index in (0, 1):
        sample = toys().load(index, name)
        found = constants.states(sample.target, sample.valid)
        for value, state in zip(constants.values, found, strict=True):
            constant = value.to(sample.target.dtype)[:, None, None].expand_as(sample.target)
            expected = state_of(benchmark.metric(), constant, sample.target, sample.valid)
            assert state == pytest.approx(expected, rel=1e-12)


def test_normal_is_the_mean_direction() -> None:
    third = 1 / math.sqrt(3)
    value, figures = best("normal", [flat(third, third, third)])
    assert value == pytest.approx([third] * 3)
    assert figures["mean_angular_error"] == pytest.approx(0.0, abs=0.05)


def test_normal_of_many_walls_is_a_wall() -> None:
    """Five of six pixels are walls: the wall errs by 90 / 6 degrees, the mean direction by more."""
    normals = flat(0.0, 0.0, 1.0)
    normals[:, 1, 2] = torch.tensor([1.0, 0.0, 0.0])
    value, figures = best("normal", [normals])
    assert value == [0.0, 0.0, 1.0]
    assert figures["mean_angular_error"] == pytest.approx(15.0)


def test_albedo_is_the_mean_colour() -> None:
    value, figures = best("albedo", [flat(0.8, 0.4, 0.2), flat(0.4, 0.2, 0.1)])
    assert value == pytest.approx([0.6, 0.3, 0.15])
    assert figures["rmse"] == pytest.approx(0.0, abs=1e-6)


def test_albedo_may_be_grey() -> None:
    """Opposite colours of different strength: their mean is off for both, grey is nearer."""
    colours = [(0.9, 0.1, 0.1), (0.1, 0.3, 0.3), (0.1, 0.3, 0.3)]
    targets = [flat(*colour) for colour in colours]
    errors = {}
    for name, constant in (("grey", (1.0, 1.0, 1.0)), ("mean", (1.1 / 3, 0.7 / 3, 0.7 / 3))):
        metric = TASKS["albedo"].metric()
        for target in targets:
            metric.update(flat(*constant)[None], target[None], ALL[None])
        errors[name] = metric.compute()["rmse"]
    assert best("albedo", targets)[1]["rmse"] == pytest.approx(min(errors.values()))


def test_semantic_is_the_most_frequent_class() -> None:
    classes = torch.tensor([[[2, 2, 2], [2, 5, 250]]])
    value, figures = best("semantic", [classes], classes != 250)
    assert value == [2]
    assert figures["miou"] == pytest.approx((4 / 5 + 0) / 2)


def test_mean_is_over_valid_pixels() -> None:
    target = torch.tensor([[[1.0, 3.0, torch.nan], [torch.nan, torch.nan, torch.nan]]])
    assert mean_of(target, target.isfinite()).tolist() == [2.0]


def test_other_tasks_get_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemtl.evaluation.trivial._FITTED", {})
    spec = TASKS["depth"].spec
    two = torch.tensor([2.0])
    assert candidates(spec, lambda: two, fitted=True) == [two]
    assert candidates(spec, lambda: None, fitted=True) == []


def test_class_ids_are_told_by_their_names() -> None:
    """Not by the name of the task: every task with classes has one candidate for each."""
    spec = replace(TASKS["semantic"].spec, name="material", classes=("wood", "stone", "glass"))
    assert [value.tolist() for value in candidates(spec, lambda: None, fitted=True)] == [[0], [1], [2]]


def test_means_are_taken_only_where_needed() -> None:
    def never() -> Tensor:
        raise AssertionError("nothing to read for this")

    for name in ("semantic", "depth", "optical_flow", "scene_flow", "shading"):
        assert candidates(TASKS[name].spec, never, fitted=True)
