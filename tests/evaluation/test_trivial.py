"""The best constant of each task, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl.data import Sample
from stablemtl.evaluation.trivial import BestConstant, constant_candidates, mean_target
from stablemtl.tasks import TASKS

SIZE = (2, 3)


def sample(task: str, target: Tensor, valid: Tensor | None = None) -> Sample:
    """A frame with ``target`` (C, 2, 3)."""
    mask = torch.ones(1, *SIZE, dtype=torch.bool) if valid is None else valid
    return Sample(image=torch.zeros(3, *SIZE), target=target, valid=mask, task=task, dataset="hand", key="0")


def flat(*values: float) -> Tensor:
    """The same vector at every pixel."""
    return torch.tensor(values)[:, None, None].expand(-1, *SIZE).clone()


def best(task: str, samples: list[Sample]) -> tuple[list[float], dict[str, float]]:
    spec = TASKS[task].spec
    constant = BestConstant(
        constant_candidates(TASKS[task], samples),
        TASKS[task].metric,
        headline=spec.headline,
        higher_is_better=spec.higher_is_better,
    )
    for one in samples:
        constant.update(one.target[None], one.valid[None])
    return constant.best()


def test_depth_is_the_mean_of_each_image() -> None:
    depth = torch.tensor([[[1.0, 3.0, 1.0], [3.0, 1.0, 3.0]]])  # mean 2: |2 - 1| / 1 and |2 - 3| / 3
    value, figures = best("depth", [sample("depth", depth), sample("depth", 10 * depth)])
    assert value == [1.0]
    assert figures["abs_rel"] == pytest.approx((1 + 1 / 3) / 2)


def test_shading_is_the_mean_of_each_image() -> None:
    shading = torch.tensor([[[0.2, 0.6, 0.2], [0.6, 0.2, 0.6]]])
    value, figures = best("shading", [sample("shading", shading)])
    assert value == [1.0]
    assert figures["rmse"] == pytest.approx(0.2)


def test_flow_takes_the_sign_of_each_channel() -> None:
    value, figures = best("optical_flow", [sample("optical_flow", flat(2.0, -3.0))])
    assert value == [1.0, -1.0]
    assert figures["epe"] == pytest.approx(0.0, abs=1e-12)


def test_flow_of_both_signs_has_one_constant() -> None:
    """The longer motion decides; the other image's scale becomes 0, not negative."""
    samples = [sample("optical_flow", flat(-5.0, 0.0)), sample("optical_flow", flat(1.0, 0.0))]
    value, figures = best("optical_flow", samples)
    assert value[0] == -1.0
    assert figures["epe"] == pytest.approx(0.5)


def test_no_motion_is_a_constant_too() -> None:
    """One of six pixels moves by 6: the mean, 1, errs by 10 in all; no motion errs by 6."""
    flow = torch.zeros(2, *SIZE)
    flow[0, 0, 0] = 6.0
    value, figures = best("optical_flow", [sample("optical_flow", flow)])
    assert value[0] <= 0
    assert figures["epe"] == pytest.approx(1.0)


def test_scene_flow_has_three_signs() -> None:
    value, figures = best("scene_flow", [sample("scene_flow", flat(0.1, -0.2, -0.3))])
    assert value == [1.0, -1.0, -1.0]
    assert figures["epe3d"] == pytest.approx(0.0, abs=1e-12)
    assert len(constant_candidates(TASKS["scene_flow"], [])) == 27


def test_normal_is_the_mean_direction() -> None:
    third = 1 / math.sqrt(3)
    value, figures = best("normal", [sample("normal", flat(third, third, third))])
    assert value == pytest.approx([third] * 3)
    assert figures["mean_angular_error"] == pytest.approx(0.0, abs=0.05)


def test_normal_of_many_walls_is_a_wall() -> None:
    """Five of six pixels are walls: the wall errs by 90 / 6 degrees, the mean direction by more."""
    normals = flat(0.0, 0.0, 1.0)
    normals[:, 1, 2] = torch.tensor([1.0, 0.0, 0.0])
    value, figures = best("normal", [sample("normal", normals)])
    assert value == [0.0, 0.0, 1.0]
    assert figures["mean_angular_error"] == pytest.approx(15.0)


def test_albedo_is_the_mean_colour() -> None:
    samples = [sample("albedo", flat(0.8, 0.4, 0.2)), sample("albedo", flat(0.4, 0.2, 0.1))]
    value, figures = best("albedo", samples)
    assert value == pytest.approx([0.6, 0.3, 0.15])
    assert figures["rmse"] == pytest.approx(0.0, abs=1e-6)


def test_albedo_may_be_grey() -> None:
    """Opposite colours of different strength: their mean is off for both, grey is nearer."""
    colours = [(0.9, 0.1, 0.1), (0.1, 0.3, 0.3), (0.1, 0.3, 0.3)]
    samples = [sample("albedo", flat(*colour)) for colour in colours]
    candidates = constant_candidates(TASKS["albedo"], samples)
    assert [values.tolist() for values in candidates] == [
        [1.0] * 3,
        pytest.approx([1.1 / 3, 0.7 / 3, 0.7 / 3]),
    ]
    errors = []
    for values in candidates:
        metric = TASKS["albedo"].metric()
        for one in samples:
            metric.update(
                values[None, :, None, None].expand_as(one.target[None]), one.target[None], one.valid
            )
        errors.append(metric.compute()["rmse"])
    assert best("albedo", samples)[1]["rmse"] == pytest.approx(min(errors))


def test_semantic_is_the_most_frequent_class() -> None:
    classes = torch.tensor([[[2, 2, 2], [2, 5, 250]]])
    value, figures = best("semantic", [sample("semantic", classes, classes != 250)])
    assert value == [2]
    assert figures["miou"] == pytest.approx((4 / 5 + 0) / 2)


def test_mean_is_over_valid_pixels_then_over_images() -> None:
    first = torch.tensor([[[1.0, 3.0, torch.nan], [torch.nan, torch.nan, torch.nan]]])
    samples = [
        sample("depth", first, first.isfinite()),
        sample("depth", torch.full((1, *SIZE), 6.0)),
        sample("depth", first, torch.zeros(1, *SIZE, dtype=torch.bool)),
    ]
    mean = mean_target(samples)
    assert mean is not None
    assert mean.tolist() == [4.0]
    assert mean_target([]) is None


def test_other_tasks_get_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemtl.evaluation.trivial._CANDIDATES", {})
    assert [v.tolist() for v in constant_candidates(TASKS["depth"], [sample("depth", flat(2.0))])] == [[2.0]]
    assert constant_candidates(TASKS["depth"], []) == []


def test_no_candidate_has_no_figures() -> None:
    metric: Any = TASKS["depth"].metric
    assert BestConstant([], metric, headline="abs_rel", higher_is_better=False).best() == ([], {})
