"""In which order ``diffusers.UNet2DConditionModel`` uses its modules, to drive them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnDownBlock2D,
    CrossAttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
)
from torch import nn

from stablemtl.models.task_attention import StreamProcessor

StepKind = Literal["layer", "residual", "transformer", "keep", "join", "upsample"]

# What UNets like Stable Diffusion's leave at these values; others take part in the forward elsewhere too.
_PLAIN_OPTIONS = {
    "time_embedding_type": "positional",
    "resnet_time_scale_shift": "default",
    "attention_type": "default",
}
_UNUSED_OPTIONS = (
    "center_input_sample",
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "time_embedding_act_fn",
    "cross_attention_norm",
    "only_cross_attention",
    "dual_cross_attention",
    "dropout",
)


class Step(NamedTuple):
    """One step of a UNet's forward."""

    kind: StepKind
    """``layer``: any module of one input. ``residual``, ``transformer``, ``upsample``: blocks of more inputs.
    ``keep``: remember the activation for the way up. ``join``: append the one remembered last."""
    module: Any = None
    """The module; None for ``keep`` and ``join``."""


def unet_steps(unet: UNet2DConditionModel) -> list[Step] | None:
    """The steps of ``unet``, or None if driving its modules could differ from calling it.

    That is so for parts that Stable Diffusion's UNets do not have, and for modules that would be passed over
    but carry somebody's hooks (offloading, sharding, compilation, feature taps) or replaced processors.
    """
    options = unet.config
    if any(options.get(name) for name in _UNUSED_OPTIONS):
        return None
    if any(options.get(name, value) != value for name, value in _PLAIN_OPTIONS.items()):
        return None
    steps = list(_steps(unet))
    passed_over = [unet, *unet.down_blocks, *unet.up_blocks]
    passed_over += [] if unet.mid_block is None else [unet.mid_block]
    stages = (DownBlock2D, CrossAttnDownBlock2D, UNetMidBlock2DCrossAttn, UpBlock2D, CrossAttnUpBlock2D)
    known = (
        all(type(stage) in stages and not getattr(stage, "s1", None) for stage in passed_over[1:])  # no FreeU
        and all(map(_untouched, passed_over))
        and all(_is_plain_residual(step.module) for step in steps if step.kind == "residual")
        and all(_is_plain_transformer(step.module) for step in steps if step.kind == "transformer")
    )
    return steps if known else None


def _steps(unet: UNet2DConditionModel) -> Iterator[Step]:
    yield Step("layer", unet.conv_in)
    yield Step("keep")
    for stage in unet.down_blocks:
        for residual, transformer in _layers(stage):
            yield Step("residual", residual)
            if transformer is not None:
                yield Step("transformer", transformer)
            yield Step("keep")
        if stage.downsamplers is not None:
            for layer in stage.downsamplers:
                yield Step("layer", layer)
            yield Step("keep")
    if unet.mid_block is not None:
        first, *others = unet.mid_block.resnets
        yield Step("residual", first)
        for transformer, residual in zip(unet.mid_block.attentions, others, strict=True):
            if transformer is not None:
                yield Step("transformer", transformer)
            yield Step("residual", residual)
    for stage in unet.up_blocks:
        for residual, transformer in _layers(stage):
            yield Step("join")
            yield Step("residual", residual)
            if transformer is not None:
                yield Step("transformer", transformer)
        for layer in stage.upsamplers or ():
            yield Step("upsample", layer)
    if unet.conv_norm_out is not None:
        yield Step("layer", unet.conv_norm_out)
        yield Step("layer", unet.conv_act)
    yield Step("layer", unet.conv_out)


def _layers(stage: Any) -> list[tuple[Any, Any]]:
    """(residual block, transformer or None) of each layer."""
    attentions = getattr(stage, "attentions", None) or [None] * len(stage.resnets)
    return list(zip(stage.resnets, attentions, strict=True))


def _untouched(module: nn.Module) -> bool:
    """Nobody has put anything around this module's forward."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or "forward" in vars(module)
        or getattr(module, "_compiled_call_impl", None) is not None
    )


def _is_plain_residual(module: Any) -> bool:
    return (
        type(module) is ResnetBlock2D
        and _untouched(module)
        and type(module.conv1) is nn.Conv2d
        and _untouched(module.conv1)
        and module.conv1.bias is not None
        and module.conv1.padding_mode == "zeros"
        and type(module.time_emb_proj) is nn.Linear
        and not module.skip_time_act
        and module.upsample is None
        and module.downsample is None
    )


def _is_plain_transformer(module: Any) -> bool:
    return (
        type(module) is Transformer2DModel
        and _untouched(module)
        and module.is_input_continuous
        and all(_is_plain_block(block) for block in module.transformer_blocks)
    )


def _is_plain_block(block: Any) -> bool:
    return (
        type(block) is BasicTransformerBlock
        and _untouched(block)
        and block.norm_type == "layer_norm"
        and block.pos_embed is None
        and block._chunk_size is None
        and block.attn2 is not None
        and _untouched(block.attn2)
        and type(block.attn2.processor) is StreamProcessor
        and type(block.attn1.processor) is StreamProcessor
        and not block.attn2.residual_connection
        and block.attn2.rescale_output_factor == 1
        and block.attn2.norm_q is None
        and all(type(layer) is nn.Linear and _untouched(layer) for layer in cross_projections(block.attn2))
    )


def cross_projections(attention: Any) -> tuple[nn.Linear, nn.Linear, nn.Linear, nn.Linear]:
    """Query, key, value and output projection of an attention."""
    return attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]
