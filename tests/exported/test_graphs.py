"""The graphs before any exporter: their modules, run by torch, against the model they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from stablemtl import StableMTLModel, StableMTLPipeline
from stablemtl.exported.graphs import Graph, graph_builders, key_value_names
from stablemtl.exported.manifest import Manifest
from stablemtl.exported.pipeline import ExportedModel, attends

MORE_BLOCKS = {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
"""Self-attention blocks on the way down, in the middle and on the way up, at both levels."""


class TorchEngines:
    """Runs graphs as they are, in the place of :class:`stablemtl.exported.engines.Engines`."""

    def __init__(self, graphs: Mapping[str, Graph]) -> None:
        self.graphs = graphs
        self.rows: list[tuple[str, int]] = []

    def run(self, name: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        graph = self.graphs[name]
        assert list(inputs) == list(graph.inputs)
        for key, value in inputs.items():
            assert value.dtype == graph.inputs[key].dtype
            assert value.ndim == graph.inputs[key].ndim
        self.rows.append((name, len(inputs["tasks"])))
        result = graph.module(*inputs.values())
        return dict(zip(graph.outputs, result if isinstance(result, tuple) else (result,), strict=True))


def exported(model: StableMTLModel, vae: Any, streams: Any) -> tuple[ExportedModel, TorchEngines]:
    graphs = graph_builders(StableMTLPipeline(model=model, vae=vae), streams)
    manifest = Manifest(
        runtime="onnx",
        streams=streams,
        tasks=model.tasks,
        pair_tasks=model.pair_tasks,
        second_frame=model.second_frame,
        task_options={},
        default_processing_resolution=0,
        latent_channels=4,
        downscale=2,
        dtype="float32",
        opset=20,
        source="",
    )
    engines = TorchEngines({name: graphs[name]() for name in graphs if name not in ("encoder", "decoder")})
    return ExportedModel(manifest, engines), engines  # type: ignore[arg-type]


def frames(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, batch, 4, height, width, generator=generator)
    return first, second


def same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"unet": MORE_BLOCKS},
        {"unet": {**MORE_BLOCKS, "use_linear_projection": False}},
        {"second_frame": "zero"},
        {"second_frame": "average", "unet": {"in_channels": 8}},
        {"pair_tasks": ()},
    ],
    ids=["one block", "more blocks", "convolved projections", "zero", "average", "no pairs"],
)
@torch.no_grad()
def test_networks_are_those_of_torch(
    make_small_model: Callable[..., StableMTLModel], make_tiny_vae: Callable[[], Any], changes: dict[str, Any]
) -> None:
    model = make_small_model(**changes)
    multi, _ = exported(model, make_tiny_vae(), "multi")
    single, _ = exported(model, make_tiny_vae(), "single")
    first, second = frames(2, 7, 3)
    for latent_next in (second, None):
        for tasks in (None, ["normal", "optical_flow"], ["optical_flow"]):
            same(multi(first, latent_next, tasks), model(first, latent_next, tasks))
            same(single(first, latent_next, tasks), model.single_stream(first, latent_next, tasks))
    first, second = frames(1, 5, 8)
    same(multi(first, second, ["depth"]), model(first, second, ["depth"]))
    same(single.single_stream(first), model.single_stream(first))


@pytest.mark.parametrize("options", [{"blocks": "decoder"}, {"blocks": (0, 2)}, {"shared_projections": True}])
@torch.no_grad()
def test_task_attention_of_other_forms(
    make_small_model: Callable[..., StableMTLModel], make_tiny_vae: Callable[[], Any], options: dict[str, Any]
) -> None:
    attention = {
        "heads": 4,
        "query_hidden_dim": 5,
        "query_hidden_layers": 0,
        "key_value_hidden": 3,
        **options,
    }
    model = make_small_model(unet=MORE_BLOCKS, task_attention=attention)
    multi, _ = exported(model, make_tiny_vae(), "multi")
    first, second = frames(2, 5, 6)
    same(multi(first, second), model(first, second))


@torch.no_grad()
def test_what_a_call_computes(
    make_small_model: Callable[..., StableMTLModel], make_tiny_vae: Callable[[], Any]
) -> None:
    model = make_small_model()
    multi, engines = exported(model, make_tiny_vae(), "multi")
    first, second = frames(2, 5, 6)
    multi(first, second, ["depth"])  # a task alone needs not its own auxiliary stream
    multi(first, second, ["depth", "normal"])
    assert engines.rows == [("auxiliary", 4), ("main", 2), ("auxiliary", 6), ("main", 4)]
    engines.rows.clear()
    same(multi(first, second, batch_tasks=2), model(first, second))
    assert engines.rows == [("auxiliary", 4), ("auxiliary", 2), ("main", 4), ("main", 2)]


def test_a_repeated_frame_is_computed_once(
    make_small_model: Callable[..., StableMTLModel], make_tiny_vae: Callable[[], Any]
) -> None:
    first, second = frames(2, 5, 6)
    for rule, alone, pair in (("duplicate", 2, 4), ("zero", 4, 4)):
        model, _ = exported(make_small_model(second_frame=rule), make_tiny_vae(), "single")
        assert len(model._inputs(first, None, model.tasks)["latent"]) == alone
        inputs = model._inputs(first, second, model.tasks)
        assert len(inputs["latent_next"]) == pair
        assert inputs["source"].tolist() == [0, 1, 2, 3, 0, 1]  # depth, optical flow, normal
        assert inputs["tasks"].tolist() == [0, 0, 1, 1, 2, 2]


def test_rows_attend_to_other_tasks_of_their_image() -> None:
    expected = [
        # depth, flow: first image, second image of each
        [False, False, True, False],
        [False, False, False, True],
        [True, False, True, False],
        [False, True, False, True],
    ]
    assert attends(["depth", "normal"], ["depth", "flow"], 2).tolist() == expected


@torch.no_grad()
def test_codec_of_stable_diffusion(make_small_model: Callable[..., StableMTLModel]) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).eval()
    pipe = StableMTLPipeline(model=make_small_model(), vae=vae)
    graphs = graph_builders(pipe, "single")
    images = torch.rand(2, 3, 12, 20) * 2 - 1
    latents = graphs["encoder"]().module(images)
    torch.testing.assert_close(latents, pipe.codec.encode(images))
    torch.testing.assert_close(graphs["decoder"]().module(latents), pipe.codec.decode(latents))
    assert latents.shape == (2, 4, 6, 10)


def test_weights_are_shared_with_the_model(small_pipeline: StableMTLPipeline) -> None:
    graphs = {name: build().module for name, build in graph_builders(small_pipeline, "multi").items()}
    theirs = {id(p) for p in (*small_pipeline.model.parameters(), *small_pipeline.vae.parameters())}
    for graph in graphs.values():
        assert {id(p) for p in graph.parameters()} <= theirs
    assert key_value_names(2) == ["keys_0", "values_0", "keys_1", "values_1"]


def test_networks_that_cannot_be_driven(
    make_small_model: Callable[..., StableMTLModel], make_tiny_vae: Callable[[], Any]
) -> None:
    model = make_small_model()
    model.auxiliary.down_blocks[0].register_forward_hook(lambda *_: None)
    pipe = StableMTLPipeline(model=model, vae=make_tiny_vae())
    with pytest.raises(ValueError, match=r"cannot be exported: .* hooks .*from_pretrained"):
        graph_builders(pipe, "single")["single"]()
