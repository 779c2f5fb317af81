"""Colours shared by the tasks' ``colorize``: float maps in, :func:`to_bytes` at the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_maps, as_valid


def prepare(values: Tensor, valid: Tensor | None, spec: TaskSpec) -> tuple[Tensor, Tensor]:
    """Float32 maps (B, C, H, W) with 0 at unusable pixels, and the usable pixels (B, 1, H, W).

    Usable are pixels that are valid and finite in all channels.

    Raises:
        ValueError: shapes disagree, or ``valid`` is not bool.
    """
    maps = as_maps(values, spec, "values").detach().float()
    usable = maps.isfinite().all(dim=1, keepdim=True)
    if valid is not None:
        usable = usable & as_valid(valid, maps, spec)
    return torch.where(usable, maps, 0.0), usable


def to_bytes(rgb: Tensor, usable: Tensor) -> Tensor:
    """Colours in [0, 1], shape (B, 3 or 1, H, W), as uint8 (B, 3, H, W); black where not usable."""
    rgb = torch.where(usable, rgb, 0.0).clamp(0.0, 1.0)
    return (rgb * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def stretch(maps: Tensor, usable: Tensor, value_range: tuple[float, float] | None = None) -> Tensor:
    """Each image's usable values (B, 1, H, W) mapped linearly to [0, 1]; a constant image becomes 0.

    Args:
        value_range: what becomes 0 and 1, values beyond being clipped; the image's own extremes by default.
    Raises:
        ValueError: ``value_range`` is empty or not finite.
    """
    if value_range is not None:
        low, high = check_range(value_range)
        return torch.where(usable, ((maps - low) / (high - low)).clamp(0.0, 1.0), 0.0)
    lowest = torch.where(usable, maps, math.inf).amin(dim=(-2, -1), keepdim=True)
    highest = torch.where(usable, maps, -math.inf).amax(dim=(-2, -1), keepdim=True)
    spread = highest - lowest
    scaled = (maps - lowest) / torch.where(spread > 0, spread, 1.0)
    return torch.where(usable, scaled, 0.0)


def check_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """The two ends, if there is something between them.

    Raises:
        ValueError: there is not.
    """
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range must be two finite numbers, the lower one first, got {value_range}.")
    return low, high


def longest_of(value_range: tuple[float, float] | None) -> float | None:
    """The larger magnitude of the two ends: what a vector is compared with. None for None.

    Raises:
        ValueError: ``value_range`` is empty or not finite.
    """
    return None if value_range is None else max(map(abs, check_range(value_range)))


def spectral(maps: Tensor) -> Tensor:
    """Matplotlib's ``Spectral`` colours (B, 3, H, W) of values (B, 1, H, W) in [0, 1]: 0 red, 1 blue."""
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise ImportError("depth colours need matplotlib: pip install matplotlib") from error
    rgba = colormaps["Spectral"](maps[:, 0].cpu().numpy())
    return torch.as_tensor(rgba[..., :3], dtype=maps.dtype, device=maps.device).permute(0, 3, 1, 2)


def flow_wheel() -> Tensor:
    """The 55 colours of the Middlebury flow chart, shape (55, 3) in [0, 1], from red round to red.

    Source: Baker et al., IJCV 2011, doi:10.1007/s11263-010-0390-2: six segments between neighbouring corners
    of the hue circle, with as many steps as the eye tells apart in each.
    """
    corners = torch.tensor(
        [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], dtype=torch.float32
    )
    # red-yellow, yellow-green, green-cyan, cyan-blue, blue-magenta, magenta-red
    steps = (15, 6, 4, 11, 13, 6)
    segments = []
    for start, end, count in zip(corners[:-1], corners[1:], steps, strict=True):
        fraction = torch.arange(count)[:, None] / count
        segments.append(start + (end - start) * fraction)
    return torch.cat(segments)


def flow_colors(flow: Tensor, longest: float | None = None) -> Tensor:
    """Middlebury colours: hue for direction, saturation for length relative to the image's longest vector.

    Args:
        flow: u right, v down, 0 at unusable pixels, shape (B, 2, H, W).
        longest: length of full saturation, longer vectors being shown alike; the image's longest by default.
    Returns:
        Colours in [0, 1], white for no motion, shape (B, 3, H, W).
    """
    wheel = flow_wheel().to(flow)
    length = flow.norm(dim=1, keepdim=True)
    if longest is None:
        most = length.amax(dim=(-2, -1), keepdim=True)
        length = length / torch.where(most > 0, most, 1.0)
    else:
        length = (length / longest).clamp(max=1.0)
    turn = torch.atan2(-flow[:, 1], -flow[:, 0]) / math.pi  # (B, H, W) in [-1, 1]
    position = (turn + 1) / 2 * (len(wheel) - 1)
    lower = position.floor().long()
    fraction = (position - lower)[..., None]
    color = (1 - fraction) * wheel[lower] + fraction * wheel[(lower + 1) % len(wheel)]  # (B, H, W, 3)
    return 1 - length * (1 - color.permute(0, 3, 1, 2))


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB of hue, saturation and value, all in [0, 1] and of shape (B, 1, H, W); (B, 3, H, W) out."""
    # A channel keeps `value` for a third of the circle around its own hue, then falls off over a sixth.
    corner = torch.tensor([5.0, 3.0, 1.0], device=hue.device, dtype=hue.dtype).view(1, 3, 1, 1)
    distance = (corner + hue * 6) % 6
    fall = torch.minimum(distance, 4 - distance).clamp(0, 1)
    return value * (1 - saturation * fall)
