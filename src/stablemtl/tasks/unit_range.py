"""How values in [0, 1] become an image in [-1, 1] and back."""

from __future__ import annotations

from torch import Tensor


def encode_unit_range(values: Tensor) -> Tensor:
    """[0, 1] to [-1, 1], clipped, shape kept; NaN becomes -1."""
    return (values.float() * 2 - 1).nan_to_num(-1.0, 1.0, -1.0).clamp(-1.0, 1.0)


def decode_unit_range(image: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped, shape kept."""
    return (image.clamp(-1.0, 1.0) + 1) / 2
