"""Tensors of which each process may hold a share only (FSDP): the share, and the whole."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


@torch.no_grad()
def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: a view, not a copy."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on its device. To be called by every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


@torch.no_grad()
def shared_like(values: Tensor, reference: Tensor) -> Tensor:
    """All of a tensor, placed and laid out in memory as ``reference`` is, in its own type.

    Args:
        values: on the CPU; the same on every process.
        reference: of the same shape.
    """
    if isinstance(reference, DTensor):
        values = values.to(reference.device)
        return distribute_tensor(values, reference.device_mesh, reference.placements, src_data_rank=None)
    return torch.empty_like(reference, dtype=values.dtype).copy_(values)
