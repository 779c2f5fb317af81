"""A toy to train: fitting a line, with noise from torch's global generator, two micro-batches a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stablemtl.training.checkpoint import latest_checkpoint
from stablemtl.training.config import LoopConfig
from stablemtl.training.launch import make_accelerator
from stablemtl.training.loop import fit
from stablemtl.training.step import Loss

LABELS = ("depth", "normal")


class Killed(Exception):
    """Stands for whatever ends a run from outside."""


def config(**options: Any) -> LoopConfig:
    defaults = {"steps": 8, "accumulation": 2, "learning_rate": 0.05, "warmup_steps": 2, "weight_decay": 0.1}
    every = {"log_every": 1, "checkpoint_every": 3, "preview_every": 0, "trackers": ()}
    return LoopConfig(**{**defaults, **every, **options})


def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
    generator = torch.Generator().manual_seed(100 * step + 10 * micro + rank)
    x = torch.randn(16, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    error = module(x)[:, 0] + 0.01 * torch.randn(16) - y
    keys = [f"line/{16 * micro + i}" for i in range(16)]
    return Loss(error.square().sum(), len(error), LABELS[step % 2], {"x": x, "y": y}, keys)


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
    module: nn.Module | None = None,
    accelerator: Any = None,
    resume: bool = True,
    preview: Any = None,
    data: Any = None,
    elements: float = 1.0,
    isolated: bool = True,
    watcher: Any = None,
    **options: Any,
) -> dict[str, Tensor]:
    """The parameters after training a new module."""
    torch.manual_seed(0)
    module = module or nn.Linear(3, 1)
    loop = config(**options)
    fit(
        accelerator or make_accelerator(loop),
        module,
        loss,
        loop,
        folder,
        run={"loop": loop.__dict__},
        data=data,
        elements=elements,
        isolated=isolated,
        watcher=watcher,
        resume=resume,
        preview=preview,
    )
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def checkpoint_step(folder: Path) -> int:
    """Of the latest checkpoint; 0 without any."""
    place = latest_checkpoint(folder)
    return 0 if place is None else int(place.name.removeprefix("step_"))
