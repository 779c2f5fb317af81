"""Optimizers by name, and a moving average of what they train."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stablemtl.training.config import LoopConfig
from stablemtl.training.shards import local


def make_optimizer(parameters: Iterable[nn.Parameter], config: LoopConfig) -> torch.optim.Optimizer:
    """The optimizer of a run, at its peak learning rate.

    Raises:
        ImportError: ``adamw8bit`` without bitsandbytes.
    """
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.betas,
        "eps": config.eps,
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **options)
    try:
        bitsandbytes = importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise ImportError(
            "optimizer adamw8bit needs bitsandbytes: `pip install bitsandbytes`, or --loop.optimizer adamw"
        ) from error
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(parameters, **options)
    return optimizer


class Ema:
    """Exponential moving average of parameters, in their own precision and shares.

    Args:
        parameters: what to average; the average starts from their values.
        decay: share of the old average that is kept in a step, once n steps are done and
            (1 + n) / (10 + n) is larger.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.values: list[Tensor] = [parameter.detach().clone() for parameter in self.parameters]

    def decay_at(self, step: int) -> float:
        """Share of the old average that is kept after optimizer step ``step``, from 0."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the parameters after optimizer step ``step``, from 0."""
        torch._foreach_lerp_(
            [local(value) for value in self.values],
            [local(parameter.detach()) for parameter in self.parameters],
            1 - self.decay_at(step),
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold the average while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def copy_to_parameters(self) -> None:
        """The parameters take the values of the average."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            local(parameter.detach()).copy_(local(value))

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, value in zip(self.parameters, self.values, strict=True):
            theirs, ours = local(parameter.detach()), local(value)
            kept = theirs.clone()
            theirs.copy_(ours)
            ours.copy_(kept)
