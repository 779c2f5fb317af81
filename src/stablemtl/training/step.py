"""One optimizer step: the gradient of all its samples, over micro-batches and processes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from stablemtl.training.config import LoopConfig
from stablemtl.training.failures import DivergedError, save_batch
from stablemtl.training.shards import local, whole
from stablemtl.training.state import TrainState


@dataclass(frozen=True)
class Loss:
    """What a micro-batch gives: a sum, and of how many elements.

    The loss of a step is the quotient of both, each added up over all micro-batches of all processes.
    """

    total: Tensor
    """Scalar with a gradient: the sum of the errors of all valid elements."""
    count: Tensor | float
    """How many elements are valid: the weight of this micro-batch in the step. 0 is allowed."""
    label: str
    """What was trained, for the log: a task's name, or the kind of loss. The same in a whole step."""
    batch: Mapping[str, Tensor] = field(default_factory=dict)
    """What it was trained on, for the report should the loss not be finite; samples along the first axis."""
    keys: Sequence[str] = ()
    """Names of the samples, for the same report."""


LossAt = Callable[[nn.Module, int, int, int], Loss]
"""(module, step, micro, rank) to the loss of a micro-batch."""


class StepResult(NamedTuple):
    """What became of a step."""

    label: str
    """What was trained; labels of a step that is not isolated are joined by ``+``."""
    loss: float
    """Of the whole step, over all processes."""
    norm: float
    """Of the gradient before clipping; not a number if it did not fit into fp16."""
    skipped: str = ""
    """Why the step changed nothing; empty if it did."""


def train_step(
    state: TrainState,
    loss_at: LossAt,
    config: LoopConfig,
    folder: Path,
    step: int,
    unit: float,
    isolated: bool,
) -> StepResult:
    """Do optimizer step ``step``, from 0. To be called by every process.

    Args:
        state: what is trained.
        loss_at: gives the loss of each micro-batch.
        config: learning rate, clipping, number of micro-batches.
        folder: receives the samples of a step that is not finite.
        step: number of the step.
        unit: factor of all sums on their way through the network, the same on every process.
        isolated: check that the step has one label.
    Raises:
        DivergedError: the loss or the gradient is not finite.
    """
    accelerator, rank = state.accelerator, state.accelerator.process_index
    for group in state.optimizer.param_groups:
        group["lr"] = config.rate_at(step)
    torch.manual_seed(_seed(config.seed, step, rank))

    # 1. The gradient of the sum of errors, and what it is to be divided by.
    losses: list[Loss] = []
    for micro in range(config.accumulation):
        waiting = micro + 1 < config.accumulation
        with accelerator.no_sync(state.module) if waiting else nullcontext():
            loss = loss_at(state.module, step, micro, rank)
            accelerator.backward(loss.total * unit)
        losses.append(replace(loss, total=loss.total.detach()))
    labels = sorted({loss.label for loss in losses})
    assert len(labels) == 1 or not isolated, (
        f"a step trains one task, but step {step} has {', '.join(labels)}"
    )
    label = "+".join(labels)
    total, count = _reduced(accelerator, losses, step, label)
    value = total / count if count else total
    about = {"step": str(step), "task": label, "loss": str(value)}
    batches = [(loss.batch, loss.keys) for loss in losses]
    if not math.isfinite(value):
        where = save_batch(accelerator, folder / f"diverged_step_{step}.safetensors", batches, about)
        raise DivergedError(
            f"the loss of step {step} ({label}) is {value}{where}; lower --loop.learning-rate and run again"
        )
    if not count:
        state.optimizer.zero_grad()
        return StepResult(label, 0.0, 0.0, "none of its samples has a valid element")

    # 2. The step: processes have averaged their gradients, not added them up.
    gradients = [local(p.grad) for p in state.parameters if p.grad is not None]
    torch._foreach_mul_(gradients, accelerator.num_processes / (unit * count))
    norm = float(whole(accelerator.clip_grad_norm_(state.parameters, config.gradient_clip)))
    if not math.isfinite(norm) and accelerator.scaler is None:
        where = save_batch(accelerator, folder / f"diverged_step_{step}.safetensors", batches, about)
        raise DivergedError(
            f"the gradient of step {step} ({label}) is {norm}{where}; lower --loop.learning-rate, run again"
        )
    state.optimizer.step()
    state.optimizer.zero_grad()
    if not math.isfinite(norm):
        return StepResult(
            label, value, math.nan, "its gradient does not fit into fp16; the next are scaled down"
        )
    if state.ema is not None:
        state.ema.update(step)
    return StepResult(label, value, norm)


def _reduced(accelerator: Accelerator, losses: Sequence[Loss], step: int, label: str) -> tuple[float, float]:
    """Sum of the errors and number of elements of a step, over all micro-batches and processes.

    The only time in a step that the CPU waits for the GPU, but for the norm of the gradient.
    """
    device = accelerator.device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    number = zlib.crc32(label.encode()) % 4096
    sums = torch.stack(
        [
            torch.stack([loss.total.to(device, dtype) for loss in losses]).sum(),
            torch.stack([torch.as_tensor(loss.count, device=device, dtype=dtype) for loss in losses]).sum(),
            torch.tensor(float(number), device=device, dtype=dtype),
        ]
    )
    total, count, numbers = accelerator.reduce(sums, "sum").tolist()
    assert numbers == number * accelerator.num_processes, (
        f"a step trains one task, but in step {step} processes have others than {label}"
    )
    return total, count


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
