"""Low-rank adapters instead of all weights of a UNet, with peft.

Source: LoRA, Hu et al., ICLR 2022, arXiv 2106.09685. The adapters are merged into the weights at the end, so
that a finished model is like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Which layers get adapters, and of what rank."""

    rank: int = 16
    """Rank of the update of each weight matrix."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """Endings of the names of the layers that get one."""

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not self.targets:
            raise ValueError(
                "LoraOptions: rank must be 1 or more, alpha positive and targets not empty, "
                f"got {self.rank}, {self.alpha} and {self.targets}"
            )


def add_lora(unet: UNet2DConditionModel, options: LoraOptions) -> None:
    """Freeze a UNet but for adapters and its input convolution, whose channels of the second frame are new.

    Raises:
        ImportError: peft is not installed.
        ValueError: no layer has one of the names.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError("LoRA needs peft; install it with: pip install 'stablemtl[lora]'") from error
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=list(options.targets))
    )
    unet.conv_in.requires_grad_(True)


def merge_lora(unet: UNet2DConditionModel) -> None:
    """Add the adapters to the weights and remove them: the UNet computes the same, with its own layers."""
    unet.fuse_lora()
    unet.unload_lora()
