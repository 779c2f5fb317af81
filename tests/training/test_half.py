"""fp16 on the CPU, which accelerate does not offer: its scaler of gradients, put in by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from stablemtl.training.failures import DivergedError
from stablemtl.training.step import Loss


@pytest.fixture
def half() -> Iterator[Callable[..., Accelerator]]:
    """``half(scale)``: an accelerator in fp16 whose scaler starts at a scale."""

    def make(scale: float = 2.0**16) -> Accelerator:
        AcceleratorState._reset_state()
        accelerator = Accelerator(mixed_precision="fp16")
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return accelerator

    yield make
    AcceleratorState._reset_state()


OPTIONS = {"mixed_precision": "fp16", "weight_decay": 0.0}


def test_fp16_learns(toy: Any, tmp_path: Path, half: Any) -> None:
    seen = []

    class Watched(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            found = super().forward(input)
            seen.append(found.dtype)
            return found

    torch.manual_seed(0)
    found = toy.train(
        tmp_path,
        accelerator=half(2.0**10),
        module=Watched(3, 1),
        steps=160,
        checkpoint_every=160,
        elements=16,
        **OPTIONS,
    )
    assert set(seen) == {torch.float16}
    assert found["weight"].dtype == torch.float32
    assert found["weight"][0].tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.1)
    assert not any("skipped" in line for line in toy.lines(tmp_path))


def test_gradients_that_do_not_fit_are_scaled_down(toy: Any, tmp_path: Path, half: Any) -> None:
    start = toy.train(tmp_path / "start", accelerator=half(2.0**30), steps=1, **OPTIONS)
    assert toy.lines(tmp_path / "start")[0]["skipped"] == {"depth": 1}
    torch.manual_seed(0)
    assert torch.equal(start["weight"], nn.Linear(3, 1).weight)
    found = toy.train(tmp_path / "whole", accelerator=half(2.0**30), steps=60, log_every=60, **OPTIONS)
    (line,) = toy.lines(tmp_path / "whole")
    assert 5 < sum(line["skipped"].values()) < 30
    true = torch.tensor([1.0, -2.0, 0.5])
    assert (found["weight"] - true).norm() < 0.8 * (start["weight"] - true).norm()
    # The scale is part of a checkpoint.
    stopped = toy.at(4, toy.interrupt)
    with pytest.raises(toy.Killed):
        toy.train(tmp_path / "cut", stopped, accelerator=half(2.0**30), steps=60, log_every=60, **OPTIONS)
    resumed = toy.train(tmp_path / "cut", accelerator=half(2.0**9), steps=60, log_every=60, **OPTIONS)
    assert toy.same(resumed, found)


def test_gradients_that_never_fit_stop_the_run(toy: Any, tmp_path: Path, half: Any) -> None:
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        found = toy.loss_at(module, step, micro, rank)
        return Loss(found.total + (0 * found.total).sqrt(), found.count, found.label)

    message = "the gradients of 31 steps in a row, up to step 30, do not fit into fp16; use --loop.mixed-prec"
    with pytest.raises(DivergedError, match=message):
        toy.train(tmp_path, loss, accelerator=half(), steps=50, **OPTIONS)
