"""What evaluation asks of every metric beyond its figures: sums that add up, fits, errors of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl.tasks import TASKS, Task

SIZE = (18, 26)


def maps(toys: Callable[..., Any], task: str) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and validity of three frames."""
    samples = [toys().load(i, task) for i in range(4)]
    target = torch.stack([s.target for s in samples[:3]])
    pred = torch.stack([s.target for s in samples[1:]])
    return pred, target, torch.stack([s.valid for s in samples[:3]])


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


def test_parts_add_up_to_the_whole(toys: Any, task: Task) -> None:
    whole, first, second = (task.metric() for _ in range(3))
    pred, target, valid = maps(toys, task.spec.name)
    whole.update(pred, target, valid)
    first.update(pred[:1], target[:1], valid[:1])
    second.update(pred[1:], target[1:], valid[1:])
    states = [metric.state() for metric in (whole, first, second)]
    assert states[0].dtype == torch.float64
    assert states[0].ndim == 1
    assert (states[1] + states[2]).tolist() == pytest.approx(states[0].tolist(), rel=1e-12)
    first.merge(states[2])
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-12, nan_ok=True)
    second.reset()
    assert not second.state().any()
    assert states[2].any()  # a state is a copy


def test_a_state_of_another_metric_is_refused(task: Task) -> None:
    with pytest.raises(ValueError, match=r"state must be \(\d+,\), .* got \(3,\)"):
        task.metric().merge(torch.zeros(3, dtype=torch.float64))


def test_fit_gives_what_is_compared(toys: Any, task: Task) -> None:
    """The fitted prediction, scored without a fit, has the figures of the prediction scored with it."""
    pred, target, valid = maps(toys, task.spec.name)
    aligned, plain = task.metric(), task.metric(align=False)
    aligned.update(pred, target, valid)
    fitted = aligned.fit(pred, target, valid)
    assert fitted.shape == pred.shape
    plain.update(fitted, target, valid)
    assert plain.compute() == pytest.approx(aligned.compute(), rel=1e-9, nan_ok=True)
    unfitted = task.metric(align=False).fit(target, target, valid)
    assert unfitted == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("depth", "abs_rel"),
        ("normal", "mean_angular_error"),
        ("optical_flow", "epe"),
        ("scene_flow", "epe3d"),
    ],
)
def test_errors_average_to_the_headline(toys: Any, name: str, figure: str) -> None:
    pred, target, valid = (part[:1] for part in maps(toys, name))
    metric = TASKS[name].metric()
    metric.update(pred, target, valid)
    errors = metric.errors(pred, target, valid)
    assert errors.shape == (1, 1, *SIZE)
    assert torch.equal(errors.isnan(), ~valid)
    assert errors[valid].mean().item() == pytest.approx(metric.compute()[figure])


def test_errors_of_classes_are_zero_or_one() -> None:
    target = torch.tensor([[[[0, 1, 250, 3]]]])
    pred = torch.tensor([[[[0, 2, 1, 3]]]])
    valid = torch.tensor([[[[True, True, True, False]]]])
    errors = TASKS["semantic"].metric().errors(pred, target, valid)[0, 0, 0]
    assert errors[:2].tolist() == [0, 1]
    assert errors[2:].isnan().all()


def test_errors_of_colours_are_over_channels() -> None:
    target = torch.full((1, 3, 8, 9), 0.5)
    pred = target + torch.tensor([0.1, -0.2, 0.2])[:, None, None]
    valid = torch.ones(1, 1, 8, 9, dtype=torch.bool)
    errors = TASKS["albedo"].metric(align=False).errors(pred, target, valid)
    assert errors == pytest.approx(torch.full((1, 1, 8, 9), 0.03**0.5, dtype=torch.float64))


def test_rmse_over_pixels_is_larger_by_the_root_of_the_channels(toys: Any) -> None:
    figures = {}
    for over in ("pixels", "values"):
        metric = TASKS["albedo"].metric(rmse_over=over)
        metric.update(*maps(toys, "albedo"))
        figures[over] = metric.compute()
    assert figures["pixels"]["rmse"] == pytest.approx(3**0.5 * figures["values"]["rmse"])
    assert figures["pixels"]["ssim"] == figures["values"]["ssim"]
    with pytest.raises(ValueError, match="unknown rmse_over 'all'; choose from pixels, values"):
        TASKS["shading"].metric(rmse_over="all")
