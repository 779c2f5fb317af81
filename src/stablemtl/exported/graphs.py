"""The graphs of an exported model, ready to be traced: what goes in, what comes out, which sizes are open.

``encoder``
    images (B, 3, H, W) in [-1, 1], H and W multiples of the codec's downscale -> latents (B, C, h, w).
``single``
    latents of the frames -> latents of the tasks (R, C, h, w), by the auxiliary UNet (StableMTL-S).
``auxiliary``
    latents of the frames -> keys and values (S, N, width) of each attending block.
``main``
    latents of the frames, keys and values -> latents of the tasks (R, C, h, w), by the main UNet.
``decoder``
    latents (B, C, h, w) -> images (B, 3, H, W), about in [-1, 1].

A network computes rows, each one task of one image. The three networks share their first inputs:

- ``latent``, ``latent_next`` (U, C, h, w): what tasks see, each different input once: a frame and, for tasks
  of two frames, the next one; for all others their frame again (zeros, if the model was trained so);
- ``source`` (R,): for each row, which of those it sees;
- ``tasks`` (R,): each row's task, as an index into the tasks of ``exported.json``.

``main`` also takes the keys and values of S auxiliary rows, and ``attends`` (R, S), true where a row attends
to an auxiliary one: that of the same image and another task. Indices are int64, ``attends`` is bool, all else
float32.

Letters as in :mod:`stablemtl.exported.layers`; B images, C channels of a latent, (h, w) its size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from stablemtl.exported.layers import KeysValues, PlainUpsample, TaskTerm, UNetPass
from stablemtl.exported.manifest import Streams
from stablemtl.models import LatentCodec, StableMTLModel
from stablemtl.models.fixed_unet import FixedUNet
from stablemtl.models.task_attention import TaskAttention, self_attention_blocks
from stablemtl.models.unets import level_sizes
from stablemtl.pipeline import StableMTLPipeline

_LATENTS = {0: "distinct", 2: "height", 3: "width"}
_NETWORK = {"latent": _LATENTS, "latent_next": _LATENTS, "source": {0: "rows"}, "tasks": {0: "rows"}}


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A module with what an exporter needs besides."""

    module: nn.Module
    """Takes and returns tensors only."""
    inputs: dict[str, Tensor]
    """Name -> an example, in the order of the arguments."""
    outputs: tuple[str, ...]
    """Names of the results."""
    open_sizes: dict[str, dict[int, str]]
    """Input -> axis -> name of its size, for every axis whose size is free."""


def graph_builders(pipe: StableMTLPipeline, streams: Streams) -> dict[str, Callable[[], Graph]]:
    """Graph name -> what makes it; one at a time need be in memory.

    Raises:
        ValueError: when one is made of a network that only its own forward serves.
    """
    model, codec = pipe.model, pipe.codec
    networks: dict[str, Callable[[], Graph]] = {"single": lambda: _single(model)}
    if streams == "multi":
        networks = {"auxiliary": lambda: _auxiliary(model), "main": lambda: _main(model)}
    return {"encoder": lambda: _encoder(codec), **networks, "decoder": lambda: _decoder(codec)}


# codec ------------------------------------------------------------------------------------------------------


class EncoderGraph(nn.Module):
    """Images to latents, without padding: see :meth:`stablemtl.models.LatentCodec.encode`."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.network = _plain(codec.vae.encoder)
        self.quant = getattr(codec.vae, "quant_conv", None)
        self.channels = codec.latent_channels
        self.scaling, self.shift = codec.scaling_factor, codec.shift_factor

    def forward(self, images: Tensor) -> Tensor:
        x = self.network(images)
        if self.quant is not None:
            x = self.quant(x)
        return (x[:, : self.channels] - self.shift) * self.scaling  # of a KL codec the mean


class DecoderGraph(nn.Module):
    """Latents to images: see :meth:`stablemtl.models.LatentCodec.decode`."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.network = _plain(codec.vae.decoder)
        self.quant = getattr(codec.vae, "post_quant_conv", None)
        self.scaling, self.shift = codec.scaling_factor, codec.shift_factor

    def forward(self, latents: Tensor) -> Tensor:
        x = latents / self.scaling + self.shift
        if self.quant is not None:
            x = self.quant(x)
        return self.network(x)


def _encoder(codec: LatentCodec) -> Graph:
    cell = codec.downscale
    return Graph(
        module=EncoderGraph(codec),
        inputs={"images": torch.zeros(2, 3, 10 * cell, 14 * cell)},
        outputs=("latents",),
        open_sizes={"images": {0: "batch", 2: "image_height", 3: "image_width"}},
    )


def _decoder(codec: LatentCodec) -> Graph:
    return Graph(
        module=DecoderGraph(codec),
        inputs={"latents": torch.zeros(2, codec.latent_channels, 10, 14)},
        outputs=("images",),
        open_sizes={"latents": {0: "batch", 2: "height", 3: "width"}},
    )


def _plain(network: nn.Module) -> nn.Module:
    """A copy, weights shared, whose upsamplings do not ask for sizes."""
    shared = {id(weight): weight for weight in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, shared)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Upsample2D):
                setattr(module, name, PlainUpsample(child))
    return network


# networks ---------------------------------------------------------------------------------------------------


class SingleGraph(nn.Module):
    """The single-stream model."""

    def __init__(self, model: StableMTLModel) -> None:
        super().__init__()
        self.averaged = model.second_frame == "average"
        self.unet = UNetPass(_fixed(model, model.auxiliary))

    def forward(self, latent: Tensor, latent_next: Tensor, source: Tensor, tasks: Tensor) -> Tensor:
        prediction = self.unet(unet_input(latent, latent_next, self.averaged), source, tasks)
        return cast(Tensor, prediction)


class AuxiliaryGraph(nn.Module):
    """The auxiliary streams of the multi-stream model, up to the last block that a main stream reads."""

    def __init__(self, model: StableMTLModel) -> None:
        super().__init__()
        self.averaged = model.second_frame == "average"
        self.unet = UNetPass(_fixed(model, model.auxiliary))
        self.blocks = list(model.attending_blocks)
        self.attention = nn.ModuleList(KeysValues(one, model.tasks) for one in _attention(model))

    def forward(
        self, latent: Tensor, latent_next: Tensor, source: Tensor, tasks: Tensor
    ) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []

        def visit(block: int, hidden: Tensor) -> Tensor:
            if block in self.blocks:
                outputs.extend(self.attention[self.blocks.index(block)](hidden, tasks))
            return hidden

        inputs = unet_input(latent, latent_next, self.averaged)
        self.unet(inputs, source, tasks, visit, stop_after=self.blocks[-1])
        return tuple(outputs)


class MainGraph(nn.Module):
    """The main streams of the multi-stream model."""

    def __init__(self, model: StableMTLModel) -> None:
        super().__init__()
        assert model.main is not None, "only made of a model with a main stream"
        self.averaged = model.second_frame == "average"
        self.unet = UNetPass(_fixed(model, model.main))
        self.blocks = list(model.attending_blocks)
        self.attention = nn.ModuleList(TaskTerm(one, model.tasks) for one in _attention(model))

    def forward(
        self,
        latent: Tensor,
        latent_next: Tensor,
        source: Tensor,
        tasks: Tensor,
        attends: Tensor,
        *keys_values: Tensor,
    ) -> Tensor:
        offset = torch.zeros(attends.shape, dtype=latent.dtype).masked_fill(~attends, -torch.inf)

        def visit(block: int, hidden: Tensor) -> Tensor:
            if block not in self.blocks:
                return hidden
            i = self.blocks.index(block)
            return hidden + self.attention[i](hidden, *keys_values[2 * i : 2 * i + 2], tasks, offset)

        inputs = unet_input(latent, latent_next, self.averaged)
        return cast(Tensor, self.unet(inputs, source, tasks, visit))


def unet_input(latent: Tensor, latent_next: Tensor, averaged: bool) -> Tensor:
    """(U, in_channels, h, w): both frames, or their average, then the group of zeros."""
    frames = [(latent + latent_next) / 2] if averaged else [latent, latent_next]
    return torch.cat([*frames, torch.zeros_like(latent)], dim=1)


def key_value_names(count: int) -> list[str]:
    """Names of the keys and values of ``count`` blocks, in the order of the graphs."""
    return [f"{kind}_{i}" for i in range(count) for kind in ("keys", "values")]


def _single(model: StableMTLModel) -> Graph:
    return Graph(
        module=SingleGraph(model), inputs=_examples(model), outputs=("latents",), open_sizes=dict(_NETWORK)
    )


def _auxiliary(model: StableMTLModel) -> Graph:
    return Graph(
        module=AuxiliaryGraph(model),
        inputs=_examples(model),
        outputs=tuple(key_value_names(len(model.attending_blocks))),
        open_sizes=dict(_NETWORK),
    )


def _main(model: StableMTLModel) -> Graph:
    assert model.main is not None, "only made of a model with a main stream"
    inputs = _examples(model)
    inputs["attends"] = torch.ones(_ROWS, _AUXILIARY_ROWS, dtype=torch.bool)
    open_sizes: dict[str, dict[int, str]] = {**_NETWORK, "attends": {0: "rows", 1: "auxiliary_rows"}}
    blocks = self_attention_blocks(model.main)
    sizes = level_sizes(model.main, _SIZE)
    for i, block in enumerate(model.attending_blocks):
        level = blocks[block].level
        tokens = sizes[level][0] * sizes[level][1]
        for name in key_value_names(len(model.attending_blocks))[2 * i : 2 * i + 2]:
            inputs[name] = torch.zeros(_AUXILIARY_ROWS, tokens, blocks[block].width)
            open_sizes[name] = {0: "auxiliary_rows", 1: f"tokens_{level}"}
    return Graph(module=MainGraph(model), inputs=inputs, outputs=("latents",), open_sizes=open_sizes)


# Sizes of the examples: none is 1 at any level, which would be taken for a constant.
_DISTINCT, _ROWS, _AUXILIARY_ROWS = 2, 3, 4
_SIZE = (20, 28)


def _examples(model: StableMTLModel) -> dict[str, Tensor]:
    latent = torch.zeros(_DISTINCT, model.latent_channels, *_SIZE)
    return {
        "latent": latent,
        "latent_next": latent.clone(),
        "source": torch.zeros(_ROWS, dtype=torch.int64),
        "tasks": torch.zeros(_ROWS, dtype=torch.int64),
    }


def _fixed(model: StableMTLModel, unet: UNet2DConditionModel) -> FixedUNet:
    fixed = FixedUNet.of(unet, model.timestep, model.task_tokens, model.token_mask)
    if fixed is None:
        raise ValueError(
            "this model's UNet cannot be exported: it has parts that Stable Diffusion's has not, or carries "
            "hooks (offloading, compilation, adapters). Load it again with StableMTLPipeline.from_pretrained."
        )
    return fixed


def _attention(model: StableMTLModel) -> Iterable[Any]:
    return cast(Iterable[TaskAttention], model.task_attention_blocks)
