"""Shape and type checks of what users hand to a task."""

from __future__ import annotations

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec


def as_maps(values: Tensor, spec: TaskSpec, name: str) -> Tensor:
    """``values`` as (B, C, H, W); a missing channel axis is added where the task has one channel.

    Args:
        values: maps of the task; NumPy arrays are taken too.
        spec: the task's description.
        name: what to call ``values`` in an error.
    Raises:
        ValueError: the shape is another.
    """
    maps = torch.as_tensor(values)
    if maps.ndim == 3 and spec.channels == 1:
        maps = maps[:, None]
    if maps.ndim != 4 or maps.shape[1] != spec.channels:
        also = " or (B, H, W)" if spec.channels == 1 else ""
        raise ValueError(
            f"{spec.name} {name} must be (B, {spec.channels}, H, W){also}, got {tuple(values.shape)}. "
            f"Convention of this task: {spec.convention}"
        )
    return maps


def as_valid(valid: Tensor, maps: Tensor, spec: TaskSpec) -> Tensor:
    """``valid`` as (B, 1, H, W), checked against ``maps``.

    Raises:
        ValueError: not bool, or not one value for each pixel of ``maps``.
    """
    mask = torch.as_tensor(valid)
    if mask.dtype != torch.bool:
        raise ValueError(
            f"{spec.name} valid must be bool, got {mask.dtype}. Compare first, for example `valid > 0`, "
            f"so that True marks the measured pixels."
        )
    if mask.ndim == 3:
        mask = mask[:, None]
    batch, _, height, width = maps.shape
    if mask.shape != (batch, 1, height, width):
        raise ValueError(
            f"{spec.name} valid must be ({batch}, 1, {height}, {width}) or ({batch}, {height}, {width}) "
            f"like the maps, got {tuple(valid.shape)}. Resize maps and mask together."
        )
    return mask.to(maps.device)


def as_label(target: Tensor, valid: Tensor, spec: TaskSpec) -> tuple[Tensor, Tensor]:
    """The arguments of ``encode``, checked and as (B, C, H, W) and (B, 1, H, W).

    Raises:
        ValueError: shapes disagree, or ``valid`` is not bool.
    """
    maps = as_maps(target, spec, "target")
    return maps, as_valid(valid, maps, spec)


def as_pair(pred: Tensor, target: Tensor, valid: Tensor, spec: TaskSpec) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of a metric, checked and as (B, C, H, W), (B, C, H, W) and (B, 1, H, W), on the CPU.

    Metrics compute in float64, which some accelerators lack; the sums are small beside the network's work.

    Raises:
        ValueError: shapes disagree, or ``valid`` is not bool.
    """
    pred, target = as_maps(pred, spec, "pred"), as_maps(target, spec, "target")
    if pred.shape != target.shape:
        raise ValueError(
            f"{spec.name} pred and target must have one shape, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}. "
            f"Use resize_prediction on pred or resize on target."
        )
    valid = as_valid(valid, target, spec)
    return pred.detach().cpu(), target.detach().cpu(), valid.cpu()


def as_image(image: Tensor, spec: TaskSpec) -> Tensor:
    """A decoded image of the codec in at least single precision, clip not applied.

    Raises:
        ValueError: not a floating-point tensor of shape (B, 3, H, W).
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ValueError(
            f"{spec.name} image must be floating point (B, 3, H, W) with values in [-1, 1], "
            f"got {image.dtype} {tuple(image.shape)}. Pass what the latent codec decodes."
        )
    return image if image.dtype == torch.float64 else image.float()
