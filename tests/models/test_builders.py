"""The named models, and the model that starts from a Stable Diffusion folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

import stablemtl.models
from stablemtl.models import LatentCodec, from_base, nano_codec, nano_model, nano_task_attention_config
from stablemtl.models.builders import embed_prompts

TASKS = ["semantic", "normal", "depth", "optical_flow", "scene_flow", "shading", "albedo"]


@pytest.fixture(scope="module")
def base(write_tiny_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like Stable Diffusion 2: tiny random networks, a tokenizer that knows "depth"."""
    unet = {
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": (2, 2),
        "cross_attention_dim": 12,
        "norm_num_groups": 4,
        "use_linear_projection": True,
    }
    return write_tiny_base(tmp_path_factory.mktemp("base"), unet)


@torch.no_grad()
def test_from_base_embeds_each_prompt_alone(base) -> None:
    model = from_base(base, ["depth", "optical_flow", "normal"])
    assert model.token_lengths == (3, 13, 8)  # begin, pieces, end
    tokens = embed_prompts(base, {"a": "depth", "b": "optical flow"})
    assert tokens["a"].shape == (1, 3, 12)
    assert torch.equal(model.task_tokens[0, :3], tokens["a"][0])
    assert torch.equal(model.task_tokens[1], tokens["b"][0])
    assert (model.task_tokens[0, 3:] == 0).all()
    longest = embed_prompts(base, {"a": "x" * 40})["a"]
    assert longest.shape == (1, 16, 12)


@pytest.mark.parametrize(("second_frame", "groups"), [("duplicate", 3), ("average", 2)])
@torch.no_grad()
def test_from_base_spreads_the_input_convolution(base, second_frame, groups) -> None:
    model = from_base(base, ["depth", "optical_flow"], second_frame=second_frame)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    weight = model.auxiliary.conv_in.weight
    assert weight.shape == (8, 4 * groups, 3, 3)
    torch.testing.assert_close(weight[:, -4:], unet.conv_in.weight / groups)
    assert torch.equal(model.auxiliary.conv_in.bias, unet.conv_in.bias)
    latent = torch.randn(1, 4, 5, 7)
    tokens = model.task_tokens[:1, : model.token_lengths[0]]
    repeated = model.auxiliary(latent.repeat(1, groups, 1, 1), 999, tokens).sample
    torch.testing.assert_close(repeated, unet(latent, 999, tokens).sample, atol=1e-5, rtol=1e-4)


def test_from_base_with_prompts_and_a_main_stream(base, attention_config, tmp_path) -> None:
    prompts = {"edges": "depth", "corners": "depth depth"}
    model = from_base(base, ["edges", "corners"], prompts, pair_tasks=["corners"])
    assert model.pair_tasks == ("corners",)
    model.add_main_stream(attention_config())
    model.save_pretrained(tmp_path)
    loaded = stablemtl.models.StableMTLModel.from_pretrained(tmp_path)
    assert loaded.token_lengths == (3, 4)


def test_from_base_errors(base, tmp_path) -> None:
    with pytest.raises(ValueError, match="prompts must have one for each task; missing: normal"):
        from_base(base, ["depth", "normal"], {"depth": "depth"})
    with pytest.raises(OSError, match=r"."):
        from_base(tmp_path, ["depth"])


@torch.no_grad()
def test_nano_model() -> None:
    model = nano_model(TASKS, nano_task_attention_config()).eval()
    other = nano_model(TASKS)
    assert torch.equal(model.task_tokens, other.task_tokens)
    assert not torch.equal(model.task_tokens, nano_model(TASKS, seed=1).task_tokens)
    assert not torch.equal(model.auxiliary.conv_in.weight, other.auxiliary.conv_in.weight)
    codec = LatentCodec(nano_codec())
    latent = codec.encode(torch.zeros(1, 3, 26, 35))
    assert latent.shape == (1, 4, 7, 9)
    outputs = model(latent, tasks=["depth", "optical_flow"])
    assert outputs["depth"].shape == latent.shape
    assert codec.decode(outputs["depth"], (26, 35)).shape == (1, 3, 26, 35)


def test_nano_codec_size() -> None:
    assert sum(p.numel() for p in nano_codec().parameters()) == 235_175


def test_nano_model_with_averaged_frames() -> None:
    assert nano_model(["depth", "optical_flow"], second_frame="average").auxiliary.conv_in.in_channels == 8


def test_public_names_resolve() -> None:
    assert set(stablemtl.models.__all__) <= set(dir(stablemtl.models))
    for name in stablemtl.models.__all__:
        assert getattr(stablemtl.models, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stablemtl.models.nothing
