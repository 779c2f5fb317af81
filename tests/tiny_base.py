"""A folder laid out like Stable Diffusion 2 in diffusers format, with tiny random networks."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_tiny_base(folder: Path, unet: Mapping[str, Any], *, weights: bool = True) -> Path:
    """UNet, codec with 8 pixels a latent cell, text encoder of the UNet's width, and a tokenizer of letters.

    Args:
        folder: receives the parts.
        unet: options of the UNet; ``in_channels`` becomes 4.
        weights: write the UNet's weights too, not its options alone.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    letters = string.ascii_lowercase
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), "de", "dep", "dept", "depth</w>"]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    width = unet["cross_attention_dim"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DConditionModel(**{**unet, "in_channels": 4})
        network.save_pretrained(folder / "unet") if weights else network.save_config(folder / "unet")
        AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
        ).save_pretrained(folder / "vae")
        encoder = CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=len(vocabulary) - 2,
            eos_token_id=len(vocabulary) - 1,
        )
        CLIPTextModel(encoder).save_pretrained(folder / "text_encoder")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\nd e\nde p\ndep t\ndept h</w>\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
