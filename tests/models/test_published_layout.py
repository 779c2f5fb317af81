"""The released weights' layout at full size, on tensors without numbers: every key finds its place.

Keys and shapes are written down here from the layout's description, not derived from our modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from stablemtl.models import StableMTLModel, from_published
from stablemtl.models.published_files import task_attention_sizes

TOKENS = {
    "semantic": 4,
    "normal": 3,
    "depth": 3,
    "optical_flow": 4,
    "scene_flow": 4,
    "shading": 3,
    "albedo": 5,
}
SD2: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
    "sample_size": 96,
}
RELEASED_CONFIG: dict[str, Any] = {
    **SD2,
    "_class_name": "UNet3DConditionModel",
    "in_channels": 12,
    "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
    "mid_block_type": "UNetMidBlock3DCrossAttn",
    "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
}
"""As in the released ``config.json``, whose blocks are 3-D copies with the keys of the 2-D ones."""

ATTENDING = (
    *(f"down_blocks.{i}.attentions.{j}" for i in (0, 1, 2) for j in (0, 1)),
    "mid_block.attentions.0",
    *(f"up_blocks.{i}.attentions.{j}" for i in (1, 2, 3) for j in (0, 1, 2)),
)
WIDTHS = (320, 320, 640, 640, *[1280] * 3, *[1280] * 3, *[640] * 3, *[320] * 3)
"""Of the 16 blocks, in execution order."""


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def residual(prefix: str, inner: int, outer: int) -> dict[str, Tensor]:
    """A residual block's tensors; with another number of channels it has a convolution beside."""
    shapes = {
        "norm1": (inner,),
        "conv1": (outer, inner, 3, 3),
        "time_emb_proj": (outer, 1280),
        "norm2": (outer,),
        "conv2": (outer, outer, 3, 3),
    }
    if inner != outer:
        shapes["conv_shortcut"] = (outer, inner, 1, 1)
    return layers(prefix, shapes)


def transformer(prefix: str, width: int) -> dict[str, Tensor]:
    """A transformer's tensors, self-attention, cross-attention and feed-forward."""
    block = f"{prefix}.transformer_blocks.0"
    state = layers(prefix, {"norm": (width,), "proj_in": (width, width), "proj_out": (width, width)})
    state |= layers(block, {name: (width,) for name in ("norm1", "norm2", "norm3")})
    for name, context in (("attn1", width), ("attn2", 1024)):
        state[f"{block}.{name}.to_q.weight"] = empty(width, width)
        state |= {f"{block}.{name}.to_{x}.weight": empty(width, context) for x in "kv"}
        state |= layers(f"{block}.{name}", {"to_out.0": (width, width)})
    return state | layers(f"{block}.ff.net", {"0.proj": (8 * width, width), "2": (width, 4 * width)})


def layers(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weight and bias of each layer, from the weight's shape."""
    state = {}
    for name, shape in shapes.items():
        path = f"{prefix}.{name}" if prefix else name
        state[f"{path}.weight"] = empty(*shape)
        state[f"{path}.bias"] = empty(shape[0])
    return state


def single_stream_state() -> dict[str, Tensor]:
    """``single_stream_unet.pth``: keys of a stock UNet with 12 input channels."""
    state = layers("", {"conv_in": (320, 12, 3, 3), "conv_norm_out": (320,), "conv_out": (4, 320, 3, 3)})
    state |= layers("time_embedding", {"linear_1": (1280, 320), "linear_2": (1280, 1280)})
    for name, inner, outer in (
        *(("down_blocks.0.resnets.0", 320, 320), ("down_blocks.0.resnets.1", 320, 320)),
        *(("down_blocks.1.resnets.0", 320, 640), ("down_blocks.1.resnets.1", 640, 640)),
        *(("down_blocks.2.resnets.0", 640, 1280), ("down_blocks.2.resnets.1", 1280, 1280)),
        *(("down_blocks.3.resnets.0", 1280, 1280), ("down_blocks.3.resnets.1", 1280, 1280)),
        *(("mid_block.resnets.0", 1280, 1280), ("mid_block.resnets.1", 1280, 1280)),
        *((f"up_blocks.0.resnets.{j}", 2560, 1280) for j in range(3)),
        *(("up_blocks.1.resnets.0", 2560, 1280), ("up_blocks.1.resnets.1", 2560, 1280)),
        *(("up_blocks.1.resnets.2", 1920, 1280), ("up_blocks.2.resnets.0", 1920, 640)),
        *(("up_blocks.2.resnets.1", 1280, 640), ("up_blocks.2.resnets.2", 960, 640)),
        *(("up_blocks.3.resnets.0", 960, 320), ("up_blocks.3.resnets.1", 640, 320)),
        ("up_blocks.3.resnets.2", 640, 320),
    ):
        state |= residual(name, inner, outer)
    for name, width in zip(ATTENDING, WIDTHS, strict=True):
        state |= transformer(name, width)
    for i, width in enumerate((320, 640, 1280)):
        state |= layers(f"down_blocks.{i}.downsamplers.0", {"conv": (width, width, 3, 3)})
    for i, width in enumerate((1280, 1280, 640)):
        state |= layers(f"up_blocks.{i}.upsamplers.0", {"conv": (width, width, 3, 3)})
    return state


def task_attention_state() -> dict[str, Tensor]:
    """What the multi-stream file holds besides: 156 tensors below each ``attn1``."""
    state = {}
    for name, width in zip(ATTENDING, WIDTHS, strict=True):
        block = f"{name}.transformer_blocks.0.attn1"
        half = width // 2
        for task in TOKENS:
            for role in "kv":
                shapes = {"fc1": (half, width), "fc2": (width, half)}
                state |= layers(f"{block}.task_to_{role}.{task}", shapes)
            shapes = {"0": (640, width), "2": (640, 640), "4": (640, 640), "6": (width, 640)}
            state |= layers(f"{block}.task_to_q.{task}.net", shapes)
            for role in "qkv":
                state |= layers(f"{block}.task_norm_{role}", {task: (width,)})
        state |= layers(block, {"to_out_task": (width, width)})
    return state


def convert(auxiliary: dict[str, Tensor], main: dict[str, Tensor] | None = None) -> StableMTLModel:
    tokens = {task: empty(1, length, 1024) for task, length in TOKENS.items()}
    sizes = None if main is None else task_attention_sizes(main, heads=4)
    with torch.device("meta"):
        return from_published(auxiliary, main, RELEASED_CONFIG, sizes, tokens)


def size(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors)


@pytest.fixture(scope="module")
def single() -> dict[str, Tensor]:
    return single_stream_state()


@pytest.fixture(scope="module")
def attention() -> dict[str, Tensor]:
    return task_attention_state()


@pytest.fixture(scope="module")
def model(single: dict[str, Tensor], attention: dict[str, Tensor]) -> StableMTLModel:
    return convert(single, {**single, **attention})


def test_layouts_as_described(single: dict[str, Tensor], attention: dict[str, Tensor]) -> None:
    assert (len(single), size(single.values())) == (686, 865_933_764)
    assert (len(attention), size(attention.values())) == (2_496, 390_528_320)
    assert not set(single) & set(attention)
    assert (len(single) + len(attention), size([*single.values(), *attention.values()])) == (
        3_182,
        1_256_462_084,
    )


def test_single_stream_file_has_the_keys_of_a_stock_unet(single: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        stock = UNet2DConditionModel(**SD2, in_channels=12).state_dict()
    assert {key: value.shape for key, value in stock.items()} == {k: v.shape for k, v in single.items()}


def test_every_key_maps(model: StableMTLModel, single: dict[str, Tensor]) -> None:
    assert model.main is not None
    assert set(model.auxiliary.state_dict()) == set(model.main.state_dict()) == set(single)
    attention = model.task_attention_blocks.state_dict()
    assert len(attention) == 2_496
    assert len(model.main.state_dict()) + len(attention) == 3_182
    assert size(model.auxiliary.parameters()) == 865_933_764
    assert size(model.main.parameters()) == 865_933_764
    assert size(model.task_attention_blocks.parameters()) == 390_528_320
    assert size(model.trainable_parameters()) == 1_256_462_084
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_where_the_task_attention_goes(model: StableMTLModel) -> None:
    assert model.attending_blocks == list(range(16))
    blocks = list(model.task_attention_blocks)
    assert tuple(block.out.in_features for block in blocks) == WIDTHS
    assert all(list(block.query) == list(block.key) == list(block.value) == list(TOKENS) for block in blocks)
    expected = {320: 10_173_760, 640: 17_671_680, 1280: 41_883_520}
    assert [size(block.parameters()) for block in blocks] == [expected[width] for width in WIDTHS]

    def parts(pick: Callable[[nn.Module], nn.Module]) -> tuple[int, int]:
        """Numbers outside and inside the layer norms."""
        modules = [module for block in blocks for module in pick(block).modules()]
        norms = size(p for m in modules if isinstance(m, nn.LayerNorm) for p in m.parameters())
        return size(p for m in modules if isinstance(m, nn.Linear) for p in m.parameters()), norms

    query, key, value = (
        parts(lambda block, role=role: block.get_submodule(role)) for role in ("query", "key", "value")
    )
    assert (query[0], key[0], value[0]) == (203_873_600, 86_863_840, 86_863_840)
    assert query[1] + key[1] + value[1] == 524_160
    assert size(p for block in blocks for p in block.out.parameters()) == 12_402_880


def test_sizes_read_from_the_tensors(single: dict[str, Tensor], attention: dict[str, Tensor]) -> None:
    assert task_attention_sizes({**single, **attention}, heads=None) == {
        "query_hidden_dim": 640,
        "query_hidden_layers": 2,
        "key_value_hidden": "width//2",
    }


def test_single_stream_file_alone(single: dict[str, Tensor]) -> None:
    model = convert(single)
    assert model.main is None
    assert size(model.parameters()) == 865_933_764
    assert model.token_lengths == tuple(TOKENS.values())


def test_one_key_more_or_less_is_named(single: dict[str, Tensor], attention: dict[str, Tensor]) -> None:
    block = "up_blocks.3.attentions.2.transformer_blocks.0.attn1"
    main = {**single, **attention}
    main[f"{block}.task_to_q.albedo.net.8.weight"] = main.pop(f"{block}.task_to_q.albedo.net.6.weight")
    with pytest.raises(
        ValueError, match=r"(?s)\(2 differences\).*missing .*net\.6\.weight.*unexpected .*net\.8"
    ):
        convert(single, main)
