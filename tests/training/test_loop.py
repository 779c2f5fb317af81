"""The loop on a toy: fitting a line, with noise from torch's global generator, two micro-batches a step."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from stablemtl.training.checkpoint import written_beside
from stablemtl.training.config import LoopConfig
from stablemtl.training.loop import DivergedError, Loss, fit, make_accelerator

LABELS = ("depth", "normal")


class Killed(Exception):
    """Stands for whatever ends a run from outside."""


def config(**options: Any) -> LoopConfig:
    defaults = {"steps": 8, "accumulation": 2, "learning_rate": 0.05, "warmup_steps": 2, "weight_decay": 0.1}
    every = {"log_every": 1, "checkpoint_every": 3, "preview_every": 0}
    return LoopConfig(**{**defaults, **every, **options})


def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
    generator = torch.Generator().manual_seed(100 * step + 10 * micro + rank)
    x = torch.randn(16, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    error = module(x)[:, 0] + 0.01 * torch.randn(16) - y
    return Loss(error.square().mean(), LABELS[step % 2])


def at(stop: int, what: Callable[[Loss], Loss]) -> Callable[..., Loss]:
    """``loss_at`` with something else in the last micro-batch of step ``stop``."""

    def changed(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        loss = loss_at(module, step, micro, rank)
        return what(loss) if (step, micro) == (stop, 1) else loss

    return changed


def interrupt(loss: Loss) -> Loss:
    raise Killed


not_from_the_start = at(0, interrupt)


def train(
    folder: Path,
    loss: Callable[..., Loss] = loss_at,
    *,
    resume: bool = True,
    preview: Any = None,
    **options: Any,
) -> dict[str, Tensor]:
    """The parameters after training a new module."""
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    loop = config(**options)
    fit(
        make_accelerator(),
        module,
        loss,
        loop,
        folder,
        run={"loop": loop.__dict__},
        resume=resume,
        preview=preview,
    )
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def checkpoint_step(folder: Path) -> int:
    return int(json.loads((folder / "checkpoint" / "run.json").read_text())["step"])


# steps, log -------------------------------------------------------------------------------------------------


def test_loss_falls(tmp_path: Path) -> None:
    found = train(tmp_path, steps=120, checkpoint_every=1000, weight_decay=0.0)
    first, last = lines(tmp_path)[0], lines(tmp_path)[-1]
    assert sum(last["loss"].values()) < 0.05 * sum(first["loss"].values())
    assert found["weight"][0].tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.1)


def test_same_twice(tmp_path: Path) -> None:
    assert same(train(tmp_path / "a"), train(tmp_path / "b"))


def test_seed_is_that_of_the_noise(tmp_path: Path) -> None:
    assert not same(train(tmp_path / "a"), train(tmp_path / "b", seed=1))


def test_lines_of_the_log(tmp_path: Path) -> None:
    train(tmp_path, steps=5, log_every=2)
    found = lines(tmp_path)
    assert [line["step"] for line in found] == [2, 4, 5]
    assert [sorted(line["loss"]) for line in found] == [["depth", "normal"]] * 2 + [["depth"]]
    assert all(line["loss"].keys() == line["gradient_norm"].keys() for line in found)
    assert all(line["steps_per_second"] > 0 for line in found)
    # The rate of the step before: steps are counted from 0 in the schedule, and as done in the log.
    assert [line["learning_rate"] for line in found] == [config(steps=5).rate_at(step) for step in (1, 3, 4)]


def test_a_line_has_the_mean_over_steps_and_micro_batches(tmp_path: Path) -> None:
    values = iter([1.0, 3.0, 5.0, 9.0])

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        weight = next(module.parameters())
        return Loss(0 * weight.sum() + next(values), "depth")

    train(tmp_path, loss, steps=2, log_every=2)
    assert lines(tmp_path)[0]["loss"] == {"depth": 4.5}  # of (1 + 3) / 2 and (5 + 9) / 2
    assert lines(tmp_path)[0]["gradient_norm"] == {"depth": 0.0}


def test_gradient_of_a_step_is_the_mean_of_its_micro_batches_and_clipped(tmp_path: Path) -> None:
    # The loss is 30 x weight in one micro-batch and -10 x in the other: a mean of 10 for each of 3 weights.
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        return Loss((30.0, -10.0)[micro] * module.weight.sum() + 0 * module.bias.sum(), "depth")

    norms: list[float] = []

    def watch(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        norms.append(float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()))

    handle = register_optimizer_step_pre_hook(watch)
    try:
        train(tmp_path / "clipped", loss, steps=1, gradient_clip=0.5)
        train(tmp_path / "whole", loss, steps=1, gradient_clip=100.0)
    finally:
        handle.remove()
    assert norms == pytest.approx([0.5, 10 * math.sqrt(3)], rel=1e-4)
    assert lines(tmp_path / "clipped")[0]["gradient_norm"]["depth"] == pytest.approx(
        10 * math.sqrt(3), rel=1e-4
    )


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    module.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit(make_accelerator(), module, loss_at, config(), tmp_path, run={})
    assert torch.equal(module.bias, before["bias"])
    assert not torch.equal(module.weight, before["weight"])


def test_preview(tmp_path: Path) -> None:
    seen = []

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        seen.append((step, module.training))
        torch.rand(5)  # does not disturb the training
        return {"depth": step / 10}

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        assert module.training
        return loss_at(module, step, micro, rank)

    found = train(tmp_path / "a", loss, preview=preview, preview_every=3)
    assert seen == [(3, False), (6, False), (8, False)]
    validation = [
        (line["step"], line["validation"]) for line in lines(tmp_path / "a") if "validation" in line
    ]
    assert validation == [(3, {"depth": 0.3}), (6, {"depth": 0.6}), (8, {"depth": 0.8})]
    seen.clear()
    assert same(found, train(tmp_path / "b", loss, preview=preview, preview_every=0))
    assert not seen


# divergence -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, value: float) -> None:
    message = rf"the loss of step 5 \(normal\) is {value}; lower --loop.learning-rate and run again"
    with pytest.raises(DivergedError, match=message):
        train(tmp_path, at(5, lambda loss: Loss(loss.value * value, loss.label)))
    assert checkpoint_step(tmp_path) == 3
    assert same(train(tmp_path), train(tmp_path / "whole"))


def test_a_gradient_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    def poison(loss: Loss) -> Loss:
        return Loss(loss.value + (0 * loss.value).sqrt(), loss.label)  # the slope of the root at 0

    with pytest.raises(DivergedError, match=r"the gradient of step 5 \(normal\) is nan"):
        train(tmp_path, at(5, poison))
    assert checkpoint_step(tmp_path) == 3


# interruption, resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_resumed_run_is_bit_identical(tmp_path: Path, stop: int) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", at(stop, interrupt))
    whole = train(tmp_path / "whole")
    assert same(train(tmp_path / "cut", at(0, interrupt if stop > 2 else lambda loss: loss)), whole)

    def comparable(folder: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines(folder)]

    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")  # no step twice, none left out
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"train.jsonl", "checkpoint"}


def test_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, at(5, interrupt))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    with pytest.raises(Killed):
        train(tmp_path, at(3, interrupt))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    train(tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 9))


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    found = train(tmp_path)
    log = (tmp_path / "train.jsonl").read_text()
    assert same(train(tmp_path, not_from_the_start), found)
    assert (tmp_path / "train.jsonl").read_text() == log


def test_start_again(tmp_path: Path) -> None:
    train(tmp_path, learning_rate=0.01)
    assert same(train(tmp_path, resume=False), train(tmp_path / "other"))
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 9))


def test_start_again_forgets_the_old_run_at_once(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(Killed):
        train(tmp_path, at(1, interrupt), resume=False)
    assert not (tmp_path / "checkpoint").exists()


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path)
    before = (tmp_path / "train.jsonl").read_text()
    message = (
        r"checkpoint was written with other options \(loop.learning_rate, loop.seed\); use another --out"
    )
    with pytest.raises(ValueError, match=message):
        train(tmp_path, seed=3, learning_rate=0.01)
    assert (tmp_path / "train.jsonl").read_text() == before
    assert checkpoint_step(tmp_path) == 8


def test_options_that_do_not_change_the_result_may_change(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", at(4, interrupt))
    free = {"log_every": 2, "checkpoint_every": 5, "preview_every": 2}
    assert same(train(tmp_path / "cut", not_from_the_start, **free), train(tmp_path / "whole"))


# kills while a checkpoint is written ------------------------------------------------------------------------


def cut(folder: Path, stop: int = 4) -> None:
    with pytest.raises(Killed):
        train(folder, at(stop, interrupt))


def test_killed_while_writing_a_checkpoint(tmp_path: Path) -> None:
    cut(tmp_path / "cut")
    part = tmp_path / "cut" / "checkpoint.part"
    part.mkdir()
    (part / "pytorch_model.bin").write_bytes(b"half")
    assert same(train(tmp_path / "cut", not_from_the_start), train(tmp_path / "whole"))
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"train.jsonl", "checkpoint"}


def test_killed_between_the_renames(tmp_path: Path) -> None:
    cut(tmp_path / "cut")
    folder = tmp_path / "cut"
    shutil.copytree(folder / "checkpoint", folder / "checkpoint.part")
    (folder / "checkpoint").rename(folder / "checkpoint.old")
    assert same(train(folder, not_from_the_start), train(tmp_path / "whole"))
    assert {path.name for path in folder.iterdir()} == {"train.jsonl", "checkpoint"}


def test_killed_before_the_old_checkpoint_was_removed(tmp_path: Path) -> None:
    cut(tmp_path / "cut")
    folder = tmp_path / "cut"
    shutil.copytree(folder / "checkpoint", folder / "checkpoint.old")
    state = json.loads((folder / "checkpoint.old" / "run.json").read_text())
    (folder / "checkpoint.old" / "run.json").write_text(json.dumps(state | {"step": 0}))
    assert same(train(folder, not_from_the_start), train(tmp_path / "whole"))  # from the new one
    assert {path.name for path in folder.iterdir()} == {"train.jsonl", "checkpoint"}


@pytest.mark.parametrize("rename", [1, 2, 3])
def test_there_is_always_a_checkpoint_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rename: int
) -> None:
    # First a kill between the renames, so that only checkpoint.old is left; then one at each rename after it.
    cut(tmp_path)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    real, calls = Path.rename, []

    def killed(self: Path, target: Any) -> Path:
        calls.append(self)
        if len(calls) == rename:
            raise Killed
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            train(tmp_path)
    left = [tmp_path / name / "run.json" for name in ("checkpoint", "checkpoint.old")]
    assert any(path.is_file() for path in left)
    assert same(train(tmp_path, not_from_the_start), train(tmp_path / "whole"))


def test_folder_written_beside(tmp_path: Path) -> None:
    final = tmp_path / "new" / "codec"
    with written_beside(final) as folder:
        (folder / "a").write_text("1")
        assert not final.exists()
    assert {path.name for path in final.iterdir()} == {"a"}

    def fail() -> None:
        with written_beside(final) as folder:
            (folder / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (final / "a").read_text() == "1"
    with written_beside(final) as folder:
        (folder / "b").write_text("2")
    assert {path.name for path in final.iterdir()} == {"b"}
    assert {path.name for path in final.parent.iterdir()} == {"codec"}
