"""How runs of the toy end early."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from stablemtl.training.config import LoopConfig
from stablemtl.training.failures import (
    DivergedError,
    OutOfMemoryError,
    is_lost_process,
    is_out_of_memory,
    memory_advice,
    save_batch,
)
from stablemtl.training.launch import make_accelerator
from stablemtl.training.step import Loss


def opened(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(toy: Any, tmp_path: Path, value: float) -> None:
    message = (
        rf"the loss of step 5 \(normal\) is {value}; its batch is in .*diverged_step_5.safetensors "
        r"\(line/0, line/1, line/2, line/3 and 28 more\); lower --loop.learning-rate and run again"
    )
    with pytest.raises(DivergedError, match=message):
        toy.train(tmp_path, toy.at(5, lambda loss: replace(loss, total=loss.total * value)))
    assert toy.checkpoint_step(tmp_path) == 3
    tensors, about = opened(tmp_path / "diverged_step_5.safetensors")
    assert {name: tuple(values.shape) for name, values in tensors.items()} == {"x": (32, 3), "y": (32,)}
    second = torch.randn(16, 3, generator=torch.Generator().manual_seed(510))
    assert torch.equal(tensors["x"][16:], second)  # micro-batch by micro-batch
    assert json.loads(about.pop("keys")) == [f"line/{i}" for i in range(32)]
    assert about == {"step": "5", "task": "normal", "loss": str(value)}
    assert toy.same(toy.train(tmp_path), toy.train(tmp_path / "whole"))


def test_a_gradient_that_is_no_number_stops_the_run(toy: Any, tmp_path: Path) -> None:
    def poison(loss: Loss) -> Loss:
        return replace(loss, total=loss.total + (0 * loss.total).sqrt())  # the slope of the root at 0

    message = r"the gradient of step 5 \(normal\) is nan; its batch is in .*diverged_step_5.safetensors"
    with pytest.raises(DivergedError, match=message):
        toy.train(tmp_path, toy.at(5, poison))
    assert toy.checkpoint_step(tmp_path) == 3
    assert (tmp_path / "diverged_step_5.safetensors").is_file()


def test_without_a_batch_to_write(toy: Any, tmp_path: Path) -> None:
    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        found = toy.loss_at(module, step, micro, rank)
        return Loss(found.total * math.nan, found.count, found.label)

    with pytest.raises(DivergedError, match=r"the loss of step 0 \(depth\) is nan; lower"):
        toy.train(tmp_path, loss)
    assert not list(tmp_path.glob("diverged*"))


def test_what_is_not_finite_in_a_batch_is_said(tmp_path: Path) -> None:
    path = tmp_path / "new" / "batch.safetensors"
    batches = [
        ({"latent": torch.zeros(2, 3), "valid": torch.ones(2, 1, dtype=torch.bool)}, ("a",)),
        ({"latent": torch.full((2, 4), math.nan), "valid": torch.ones(3, 1, dtype=torch.bool)}, ()),
    ]
    found = save_batch(make_accelerator(), path, batches, {"step": "7"})
    assert found == f"; its batch is in {path} (a); not finite in it: latent.0.1"
    tensors, about = opened(path)
    assert {name: tuple(values.shape) for name, values in tensors.items()} == {
        "latent.0.0": (2, 3),  # sizes that do not fit together keep their place
        "latent.0.1": (2, 4),
        "valid": (5, 1),
    }
    assert about == {"step": "7", "keys": '["a"]'}


# memory, processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_answered(toy: Any, tmp_path: Path, error: Exception) -> None:
    def exhaust(loss: Loss) -> Loss:
        raise error

    message = (
        "a step does not fit into memory with 16 samples at a time; use --loop.batch-size 8 with "
        r"--loop.accumulation 4 \(the same samples in a step, so that the run goes on from its checkpoint\), "
        "or --loop.gradient-checkpointing, or --loop.mixed-precision bf16, or --loop.optimizer adamw8bit"
    )
    with pytest.raises(OutOfMemoryError, match=message):
        toy.train(tmp_path, toy.at(5, exhaust))
    assert toy.checkpoint_step(tmp_path) == 3


def test_other_errors_are_left_as_they_are(toy: Any, tmp_path: Path) -> None:
    def fail(loss: Loss) -> Loss:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match=r"^mat1 and mat2 shapes"):
        toy.train(tmp_path, toy.at(1, fail))


def test_advice_names_what_is_not_in_use_yet() -> None:
    def advice(**options: Any) -> str:
        return memory_advice(LoopConfig(steps=1, **options))

    assert advice(batch_size=15, accumulation=2).startswith(
        "--loop.batch-size 5 with --loop.accumulation 6 ("
    )
    assert "--loop.batch-size 1 with --loop.accumulation 7" in advice(batch_size=7)
    assert advice(batch_size=1, mixed_precision="bf16", optimizer="adamw8bit") == (
        "--loop.gradient-checkpointing"
    )
    everything: dict[str, Any] = {
        "batch_size": 1,
        "mixed_precision": "fp16",
        "gradient_checkpointing": True,
        "optimizer": "adamw8bit",
    }
    assert advice(**everything) == "a smaller --data.size"


def test_kinds_of_errors() -> None:
    assert is_lost_process(
        RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]")
    )
    assert not is_lost_process(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
