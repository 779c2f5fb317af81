"""The loop on a toy: what a step is, what the log says, what a preview sees."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from stablemtl.training.checkpoint import checkpoint_weights, latest_checkpoint
from stablemtl.training.launch import make_accelerator
from stablemtl.training.loop import fit
from stablemtl.training.step import Loss


def test_loss_falls(toy: Any, tmp_path: Path) -> None:
    found = toy.train(tmp_path, steps=120, checkpoint_every=1000, weight_decay=0.0)
    first, last = toy.lines(tmp_path)[0], toy.lines(tmp_path)[-1]
    assert sum(last["loss"].values()) < 0.05 * sum(first["loss"].values())
    assert found["weight"][0].tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.1)


def test_same_twice(toy: Any, tmp_path: Path) -> None:
    assert toy.same(toy.train(tmp_path / "a"), toy.train(tmp_path / "b"))


def test_seed_is_that_of_the_noise(toy: Any, tmp_path: Path) -> None:
    assert not toy.same(toy.train(tmp_path / "a"), toy.train(tmp_path / "b", seed=1))


# steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [1, 3, 1e6])
def test_gradient_is_that_of_all_valid_elements_and_clipped(
    toy: Any, tmp_path: Path, elements: float
) -> None:
    # Sums of 30 and -10 for each of 3 weights, over 1 and 3 elements: (30 - 10) / 4, not (30 - 10 / 3) / 2.
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        slope, count = ((30.0, torch.tensor(1)), (-10.0, torch.tensor(3)))[micro]
        return Loss(slope * module.weight.sum() + 0 * module.bias.sum(), count, "depth")

    norms: list[float] = []

    def watch(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        norms.append(float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()))

    handle = register_optimizer_step_pre_hook(watch)
    try:
        toy.train(tmp_path / "clipped", loss, steps=1, gradient_clip=0.5, elements=elements)
        toy.train(tmp_path / "whole", loss, steps=1, gradient_clip=100.0, elements=elements)
    finally:
        handle.remove()
    expected = 5 * math.sqrt(3)
    assert norms == pytest.approx([0.5, expected], rel=1e-4)
    logged = toy.lines(tmp_path / "clipped")[0]["gradient_norm"]["depth"]
    assert logged == pytest.approx(expected, rel=1e-4)


def test_how_a_step_is_split_does_not_matter(toy: Any, tmp_path: Path) -> None:
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([True] * 5 + [False] * 5 + [True, False])

    def split(parts: list[list[int]]) -> Any:
        def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
            rows = parts[micro]
            error = module(x[rows])[:, 0] - x[rows].sum(1)
            return Loss(error.square()[valid[rows]].sum(), valid[rows].sum(), "depth")

        return loss

    parts = [list(range(5)), list(range(5, 10)), [10, 11]]  # the one in the middle is not valid at all
    apart = toy.train(tmp_path / "apart", split(parts), accumulation=3, elements=5)
    joined = toy.train(tmp_path / "joined", split([list(range(12))]), accumulation=1, elements=12)
    for name, value in apart.items():
        torch.testing.assert_close(value, joined[name], rtol=1e-5, atol=1e-6)
    assert [line["loss"] for line in toy.lines(tmp_path / "apart")] == [
        {"depth": pytest.approx(line["loss"]["depth"], rel=1e-4)} for line in toy.lines(tmp_path / "joined")
    ]


def test_the_scale_of_sums_changes_nothing(toy: Any, tmp_path: Path) -> None:
    assert toy.same(toy.train(tmp_path / "a"), toy.train(tmp_path / "b", elements=1e5))


def test_a_step_without_a_valid_element_changes_nothing(
    toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        found: Loss = toy.loss_at(module, step, micro, rank)
        return found if step < 4 else Loss(0 * found.total, torch.tensor(0), found.label)

    found = toy.train(tmp_path / "a", loss, steps=6, log_every=6, ema=0.5)
    with pytest.raises(toy.Killed):
        toy.train(tmp_path / "b", toy.at(4, toy.interrupt), steps=6, checkpoint_every=4, ema=0.5)
    place = latest_checkpoint(tmp_path / "b")
    assert place is not None
    assert toy.same(found, checkpoint_weights(place))
    (line,) = toy.lines(tmp_path / "a")
    assert line["skipped"] == {"depth": 1, "normal": 1}
    assert line["step"] == 6
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "step 4 (depth) changed nothing: none of its samples has a valid element"


def test_one_task_a_step_is_checked(toy: Any, tmp_path: Path) -> None:
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        return replace(toy.loss_at(module, step, micro, rank), label=toy.LABELS[micro])

    with pytest.raises(AssertionError, match="a step trains one task, but step 0 has depth, normal"):
        toy.train(tmp_path, loss)
    toy.train(tmp_path, loss, isolated=False, steps=3)
    assert [list(line["loss"]) for line in toy.lines(tmp_path)] == [["depth+normal"]] * 3


def test_frozen_parameters_stay(toy: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    module.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit(make_accelerator(), module, toy.loss_at, toy.config(), tmp_path, run={})
    assert torch.equal(module.bias, before["bias"])
    assert not torch.equal(module.weight, before["weight"])


def test_bf16(toy: Any, tmp_path: Path) -> None:
    seen = []

    class Watched(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            found = super().forward(input)
            seen.append(found.dtype)
            return found

    torch.manual_seed(0)
    module = Watched(3, 1)
    found = toy.train(tmp_path, module=module, steps=160, mixed_precision="bf16", weight_decay=0.0)
    assert set(seen) == {torch.bfloat16}
    assert found["weight"].dtype == torch.float32
    assert found["weight"][0].tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.2)
    assert module(torch.zeros(1, 3)).dtype == torch.float32  # as it was before
    assert toy.checkpoint_step(tmp_path) == 160


# log, preview -----------------------------------------------------------------------------------------------


def test_lines_of_the_log(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path, steps=5, log_every=2)
    found = toy.lines(tmp_path)
    assert [line["step"] for line in found] == [2, 4, 5]
    assert [sorted(line["loss"]) for line in found] == [["depth", "normal"]] * 2 + [["depth"]]
    assert all(line["loss"].keys() == line["gradient_norm"].keys() for line in found)
    assert all(line["steps_per_second"] > 0 for line in found)
    assert not any("skipped" in line for line in found)
    # The rate of the step before: steps are counted from 0 in the schedule, and as done in the log.
    rates = [toy.config(steps=5).rate_at(step) for step in (1, 3, 4)]
    assert [line["learning_rate"] for line in found] == rates


def test_a_line_has_the_mean_over_steps_of_the_quotient_of_sums(toy: Any, tmp_path: Path) -> None:
    values = iter([(1.0, 1), (3.0, 3), (5.0, 2), (9.0, 0)])

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        total, count = next(values)
        return Loss(0 * next(module.parameters()).sum() + total, count, "depth")

    toy.train(tmp_path, loss, steps=2, log_every=2)
    (line,) = toy.lines(tmp_path)
    assert line["loss"] == {"depth": 4.0}  # of (1 + 3) / (1 + 3) and (5 + 9) / (2 + 0)
    assert line["gradient_norm"] == {"depth": 0.0}


def test_preview(toy: Any, tmp_path: Path) -> None:
    seen = []

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        seen.append((step, module.training))
        torch.rand(5)  # does not disturb the training
        return {"depth": step / 10}

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        assert module.training
        found: Loss = toy.loss_at(module, step, micro, rank)
        return found

    found = toy.train(tmp_path / "a", loss, preview=preview, preview_every=3)
    assert seen == [(3, False), (6, False), (8, False)]
    validation = [
        (line["step"], line["validation"]) for line in toy.lines(tmp_path / "a") if "validation" in line
    ]
    assert validation == [(3, {"depth": 0.3}), (6, {"depth": 0.6}), (8, {"depth": 0.8})]
    seen.clear()
    assert toy.same(found, toy.train(tmp_path / "b", loss, preview=preview, preview_every=0))
    assert not seen


def test_the_moving_average_is_what_is_validated_and_left(toy: Any, tmp_path: Path) -> None:
    course: list[torch.Tensor] = []
    validated: list[torch.Tensor] = []

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        if micro == 0:
            course.append(module.weight.detach().clone())
        found: Loss = toy.loss_at(module, step, micro, rank)
        return found

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        validated.append(module.weight.detach().clone())
        return {}

    raw = toy.train(tmp_path / "raw", loss)
    steps, average, expected = [*course, raw["weight"]], course[0], []
    for step, value in enumerate(steps[1:]):
        kept = min(0.3, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * value
        expected.append(average)
    course.clear()
    found = toy.train(tmp_path / "ema", loss, preview=preview, preview_every=2, ema=0.3)
    torch.testing.assert_close(torch.stack(validated), torch.stack(expected[1::2]))
    assert torch.equal(found["weight"], validated[-1])
    assert not torch.equal(found["weight"], raw["weight"])
    assert all(map(torch.equal, course, steps))  # training goes on from the weights, not from their average


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_optimizers_resume(toy: Any, tmp_path: Path, optimizer: str) -> None:
    with pytest.raises(toy.Killed):
        toy.train(tmp_path / "cut", toy.at(5, toy.interrupt), optimizer=optimizer)
    whole = toy.train(tmp_path / "whole", optimizer=optimizer)
    assert toy.same(toy.train(tmp_path / "cut", toy.not_from_the_start, optimizer=optimizer), whole)
