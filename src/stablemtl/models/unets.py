"""Stock diffusers UNets from plain options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers import UNet2DConditionModel


def build_unet(options: Mapping[str, Any]) -> UNet2DConditionModel:
    """A stock diffusers UNet from plain options, without those that diffusers adds (``_class_name`` ...).

    Raises:
        ValueError: an option that ``UNet2DConditionModel`` does not have.
    """
    options = own_options(options)
    known = unet_options()
    if unknown := sorted(set(options) - known):
        raise ValueError(f"unknown unet option {', '.join(unknown)}; choose from {', '.join(sorted(known))}.")
    return UNet2DConditionModel(**options)


def unet_options() -> set[str]:
    """Names of the options of ``UNet2DConditionModel``."""
    return set(inspect.signature(UNet2DConditionModel.__init__).parameters) - {"self"}


def level_sizes(unet: UNet2DConditionModel, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of each UNet level for a latent of ``size``, a 3x3 convolution of stride 2 apart."""
    padding = 2 * unet.config["downsample_padding"] or 1  # zero means one row and one column at the end
    sizes = [size]
    for _ in unet.down_blocks[1:]:
        height, width = sizes[-1]
        sizes.append(((height + padding - 3) // 2 + 1, (width + padding - 3) // 2 + 1))
    return sizes


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that diffusers adds (``_class_name`` ...)."""
    return {name: value for name, value in options.items() if not name.startswith("_")}
