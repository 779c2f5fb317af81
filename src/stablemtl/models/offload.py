"""Modules that are on the accelerator only while they work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def on_device(modules: Sequence[nn.Module], device: torch.device | None) -> Iterator[None]:
    """Weights and buffers of ``modules`` on ``device`` inside; outside, the very tensors they were before.

    Nothing is copied back: what is written to a weight inside is lost.

    Args:
        modules: modules without gradients to compute.
        device: where to; None leaves the modules where they are.
    """
    if device is None:
        yield
        return
    tables: list[dict[str, Any]] = [
        table
        for module in modules
        for part in module.modules()
        for table in (part._parameters, part._buffers)
    ]
    homes = [(table, dict(table)) for table in tables]
    try:
        for table, home in homes:
            for name, tensor in home.items():
                if tensor is not None:
                    moved = tensor.detach().to(device, non_blocking=True)
                    is_weight = isinstance(tensor, nn.Parameter)
                    table[name] = nn.Parameter(moved, requires_grad=False) if is_weight else moved
        yield
    finally:
        for table, home in homes:
            table.update(home)
