"""Named models and their numbers: the small ``nano`` one, and the full-size one from a Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor

from stablemtl.models.model import StableMTLModel
from stablemtl.models.passes import SecondFrame
from stablemtl.models.task_attention_config import TaskAttentionConfig
from stablemtl.models.unets import unet_options

PAIR_TASKS = ("optical_flow", "scene_flow")
NANO_TOKENS = 4
"""Tokens per task of the nano model: random, as it has no text encoder."""
NANO_DOWNSCALE = 4
"""Pixels per latent cell of the nano codec along each axis."""


def nano_unet_config(second_frame: SecondFrame = "duplicate") -> dict[str, Any]:
    """Options of the nano UNet: three levels, no attention at the first, heads of 32 channels."""
    return {
        "in_channels": 8 if second_frame == "average" else 12,
        "out_channels": 4,
        "block_out_channels": [48, 96, 144],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [3, 3, 6],  # the number of heads, in spite of its name
        "cross_attention_dim": 64,
        "norm_num_groups": 16,
        "use_linear_projection": True,
    }


def nano_codec() -> AutoencoderTiny:
    """The nano autoencoder, with random weights: 4 pixels and 4 channels a latent cell, 0.24 M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(0, 1, 2),  # blocks at full size would cost more than all the rest
        num_decoder_blocks=(2, 2, 0),
        latent_channels=4,
    )


def nano_model(
    tasks: Sequence[str],
    task_attention: TaskAttentionConfig | None = None,
    *,
    pair_tasks: Sequence[str] = PAIR_TASKS,
    second_frame: SecondFrame = "duplicate",
    seed: int = 0,
) -> StableMTLModel:
    """The nano model, with random weights (from torch's global generator) and fixed random task tokens.

    Args:
        tasks: task names.
        task_attention: adds a main stream with these sizes; None builds the single-stream model.
        pair_tasks: tasks that look at two frames.
        second_frame: what the other tasks see as second frame.
        seed: seed of the task tokens, which do not depend on torch's global generator.
    """
    model = StableMTLModel(
        unet=nano_unet_config(second_frame),
        tasks=list(tasks),
        token_lengths=[NANO_TOKENS] * len(tasks),
        pair_tasks=list(pair_tasks),
        second_frame=second_frame,
    )
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(
        len(tasks), NANO_TOKENS, nano_unet_config()["cross_attention_dim"], generator=generator
    )
    model.set_tokens(dict(zip(tasks, tokens, strict=True)))
    if task_attention is not None:
        model.add_main_stream(task_attention)
    return model


def from_base(
    base: str | Path,
    tasks: Sequence[str],
    prompts: Mapping[str, str] | None = None,
    *,
    pair_tasks: Sequence[str] = PAIR_TASKS,
    second_frame: SecondFrame = "duplicate",
) -> StableMTLModel:
    """The single-stream model that stage 1 starts from: a Stable Diffusion UNet with more input channels.

    The input convolution is repeated for each group of input channels and divided by their number, so that
    equal groups give what one gave. Prompts are embedded once, here; the text encoder is not part of the
    model.

    Args:
        base: a folder or hub id in diffusers format, with ``unet``, ``text_encoder`` and ``tokenizer``,
            weights in safetensors.
        tasks: task names.
        prompts: task -> prompt; None takes the names with spaces for underscores, as released.
        pair_tasks: tasks that look at two frames.
        second_frame: what the other tasks see as second frame.
    Raises:
        ValueError: a task without a prompt.
        OSError: ``base`` lacks a part.
    """
    prompts = default_prompts(tasks) if prompts is None else prompts
    if missing := [task for task in tasks if task not in prompts]:
        raise ValueError(f"prompts must have one for each task; missing: {', '.join(missing)}.")
    tokens = embed_prompts(base, {task: prompts[task] for task in tasks})
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", use_safetensors=True)
    groups = 2 if second_frame == "average" else 3
    options = {name: value for name, value in unet.config.items() if name in unet_options()}
    model = StableMTLModel(
        unet={**options, "in_channels": groups * unet.config["in_channels"]},
        tasks=list(tasks),
        token_lengths=[tokens[task].shape[-2] for task in tasks],
        pair_tasks=list(pair_tasks),
        second_frame=second_frame,
    )
    state = unet.state_dict()
    state["conv_in.weight"] = state["conv_in.weight"].repeat(1, groups, 1, 1) / groups
    model.auxiliary.load_state_dict(state)
    model.set_tokens(tokens)
    return model


def default_prompts(tasks: Sequence[str]) -> dict[str, str]:
    """The released prompts: ``optical_flow`` -> ``optical flow``."""
    return {task: task.replace("_", " ") for task in tasks}


@torch.no_grad()
def embed_prompts(base: str | Path, prompts: Mapping[str, str]) -> dict[str, Tensor]:
    """Embeds each prompt on its own, without padding.

    Args:
        base: a folder or hub id in diffusers format, with ``text_encoder`` and ``tokenizer``.
        prompts: task -> prompt.
    Returns:
        task -> (1, L, D), the text encoder's last hidden state after its final norm, float32.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
    encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", use_safetensors=True).eval()
    length = encoder.config.max_position_embeddings
    embeddings = {}
    for task, prompt in prompts.items():
        ids = tokenizer(prompt, truncation=True, max_length=length, return_tensors="pt").input_ids
        embeddings[task] = encoder(ids)[0].float()
    return embeddings
