"""Compilations are counted: one for each bucket, none when a size returns, and never more than the limit.

The graphs run uncompiled here: what ``torch.compile`` captures is what counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stablemtl import TASKS, StableMTLModel, StableMTLPipeline
from stablemtl.models import LatentCodec
from stablemtl.optimization import graphs as graphs_module
from stablemtl.optimization.compiled import CompiledCodec, CompiledModel
from stablemtl.optimization.graphs import Graphs

RANDOM = np.random.default_rng(0)
TWO = ["depth", "optical_flow"]
SMALLEST = {  # one attention block: capturing a graph takes a second, not a minute
    "in_channels": 12,
    "out_channels": 4,
    "block_out_channels": [8],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D"],
    "attention_head_dim": [2],
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
    "use_linear_projection": True,
}


def image(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


class Counter:
    """A backend that keeps the graphs it is given, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []

    def __call__(self, graph: Any, inputs: list[Tensor]) -> Callable[..., Any]:
        self.graphs.append(graph)
        return graph.forward

    def __len__(self) -> int:
        return len(self.graphs)


@pytest.fixture
def counter() -> Counter:
    torch._dynamo.reset()
    return Counter()


def test_one_graph_for_each_size(counter: Counter) -> None:
    graphs = Graphs(limit=8, backend=counter)

    def double(x: Tensor) -> Tensor:
        return 2 * x

    for size in ((3, 4), (4, 3), (3, 4), (5, 5), (4, 3)):
        x = torch.rand(1, 2, *size)
        assert torch.equal(graphs.run("double", None, lambda: double, x), 2 * x)
    assert len(counter) == 3
    assert graphs.made == {"double": 3}


def test_more_buckets_than_torch_compiles_of_one_function(counter: Counter) -> None:
    limit = torch._dynamo.config.cache_size_limit + 4
    graphs = Graphs(limit=limit, backend=counter)

    def build(factor: int) -> Callable[[Tensor], Tensor]:
        def times(x: Tensor) -> Tensor:
            return factor * x

        return times

    for factor in range(limit):
        assert graphs.run("times", factor, lambda f=factor: build(f), torch.ones(2, 3)).sum() == 6 * factor
    assert len(counter) == limit


def test_a_full_house_runs_uncompiled_and_says_so_once(counter: Counter, caplog) -> None:
    graphs = Graphs(limit=2, backend=counter)

    def double(x: Tensor) -> Tensor:
        return 2 * x

    with caplog.at_level(logging.WARNING):
        for width in (2, 3, 4, 5, 2, 6, 3):
            x = torch.rand(2, width)
            assert torch.equal(graphs.run("double", None, lambda: double, x), 2 * x)
    assert len(counter) == 2
    assert [record.message for record in caplog.records] == [
        "double: 2 graphs are compiled, which is the limit; other inputs run uncompiled. Give images of "
        "fewer sizes, or choose compile_sizes='any' or more compile_buckets."
    ]
    # Another kind has room of its own.
    graphs.run("triple", None, lambda: double, torch.rand(2, 2))
    assert len(counter) == 3


def test_one_graph_for_all_sizes(counter: Counter) -> None:
    graphs = Graphs(limit=2, sizes="any", backend=counter)
    conv = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def double(x: Tensor) -> Tensor:
        return 2 * conv(x)

    for size in ((8, 6), (6, 8), (5, 7), (12, 16), (8, 6)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(graphs.run("double", None, lambda: double, x), 2 * conv(x))
    assert len(counter) == 1


def test_what_cannot_be_compiled_runs_all_the_same(counter: Counter, caplog) -> None:
    graphs = Graphs(limit=2, backend=counter)

    def prints(x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x + 1

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(
                graphs.run("prints", None, lambda: prints, torch.zeros(2, 2)), torch.ones(2, 2)
            )
    assert len(caplog.records) == 1
    assert "prints cannot be compiled and runs without" in caplog.records[0].message


def test_dropped_graphs_are_made_again_and_count(counter: Counter) -> None:
    graphs = Graphs(limit=2, backend=counter)

    def double(x: Tensor) -> Tensor:
        return 2 * x

    for _ in range(4):
        graphs.run("double", None, lambda: double, torch.rand(2, 2))
        graphs.drop("double")
    assert len(counter) == 2
    assert graphs.made == {"double": 2}


# the pipeline -----------------------------------------------------------------------------------------------


def smallest_model(*, multi_stream: bool = True) -> StableMTLModel:
    """Two tasks; always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attention = {"heads": 2, "query_hidden_dim": 8} if multi_stream else None
        model = StableMTLModel(unet=SMALLEST, tasks=TWO, token_lengths=[2, 2], task_attention=attention)
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def plain(make_tiny_vae, tiny_pipeline) -> StableMTLPipeline:
    options = {task: tiny_pipeline.config["task_options"][task] for task in TWO}
    return StableMTLPipeline(smallest_model(), make_tiny_vae(), options)


@pytest.fixture
def compiled(plain: StableMTLPipeline, counter: Counter, monkeypatch) -> StableMTLPipeline:
    """Compiled with the counting backend, at most two buckets."""
    monkeypatch.setattr(graphs_module, "BACKEND", counter)
    pipe = StableMTLPipeline(smallest_model(), plain.vae, plain.config["task_options"])
    return pipe.optimize("exact", compile=True, compile_buckets=2, channels_last=False)


def same(a: Any, b: Any) -> bool:
    return list(a) == list(b) and all(
        np.allclose(a[name].values, b[name].values, atol=1e-5, rtol=1e-5) for name in a
    )


def test_a_pipeline_compiles_once_for_each_size_and_no_more(compiled, plain, counter) -> None:
    one, other, third = image(10, 14), image(12, 10), image(10, 10)
    assert same(compiled(one, one[::-1]), plain(one, one[::-1]))
    assert len(counter) == 3  # networks, encoder, decoder: nothing breaks a graph in two
    assert same(compiled(other, other[::-1]), plain(other, other[::-1]))
    assert len(counter) == 6
    for again in (one, other, one[:9, :13], third, one):  # odd: fewer pixels, the same latents
        assert same(compiled(again, again[::-1]), plain(again, again[::-1]))
    assert len(counter) == 6  # two buckets are allowed: the third size runs uncompiled


@pytest.mark.slow
def test_one_frame_other_tasks_and_streams_are_other_buckets(compiled, plain, counter) -> None:
    one = image(8, 10)
    made = compiled._optimized.graphs.made
    for i, options in enumerate(({"tasks": ["depth"]}, {"single_stream": True}), start=1):
        assert same(compiled(one, **options), plain(one, **options))
        assert same(compiled(one, **options), plain(one, **options))
        assert made["network"] == i
    assert len(counter) == 2 + 2 + 1  # networks; encoder once, decoder for one task and for two


@pytest.mark.slow
def test_all_sizes_in_one_graph(plain, counter, monkeypatch) -> None:
    monkeypatch.setattr(graphs_module, "BACKEND", counter)
    pipe = StableMTLPipeline(smallest_model(), plain.vae, plain.config["task_options"])
    pipe.optimize("exact", compile=True, compile_sizes="any", channels_last=False)
    for size in ((8, 14), (14, 8), (10, 12), (16, 16), (9, 15)):
        one = image(*size)
        assert same(pipe(one, one[::-1], single_stream=True), plain(one, one[::-1], single_stream=True))
    assert len(counter) == 3


def test_weights_that_change_show(compiled, plain) -> None:
    one = image(8, 10)
    before = compiled(one, single_stream=True)
    state = {name: value + 0.05 for name, value in plain.model.state_dict().items()}
    for pipe in (compiled, plain):
        pipe.model.load_state_dict(state)
    after = compiled(one, single_stream=True)
    assert same(after, plain(one, single_stream=True))
    assert not np.allclose(after["depth"].values, before["depth"].values, rtol=1e-3)


def test_with_gradients_the_model_runs_itself(compiled, counter) -> None:
    model = CompiledModel(compiled.model, compiled._optimized.graphs)
    codec = CompiledCodec(compiled.vae, compiled._optimized.graphs)
    latent = torch.randn(1, 4, 4, 5)
    with torch.enable_grad():
        assert model(latent, tasks=["depth"])["depth"].shape == latent.shape
        assert codec.decode(latent).shape == (1, 3, 8, 10)
        assert codec.encode(torch.zeros(1, 3, 7, 10)).shape == (1, 4, 4, 5)
    assert len(counter) == 0


def test_tiles_and_errors_are_the_codec_s_own(compiled, counter) -> None:
    codec = compiled.codec
    plain = LatentCodec(compiled.vae)
    x = torch.rand(1, 3, 96, 80) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(codec.encode(x, tile=64), plain.encode(x, tile=64))
        assert len(counter) == 0
        with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
            codec.encode(x[0])
        with pytest.raises(ValueError, match="size"):
            codec.decode(torch.zeros(1, 4, 4, 5), size=(20, 20))


@pytest.mark.slow
def test_single_stream_model_in_parts(counter) -> None:
    model = smallest_model(multi_stream=False)
    compiled = CompiledModel(model, Graphs(limit=2, backend=counter))
    latent, latent_next = torch.randn(2, 2, 4, 5, 6)
    with torch.no_grad():
        ours, theirs = compiled(latent, latent_next, batch_tasks=1), model(latent, latent_next)
    assert list(ours) == list(theirs)
    for task, expected in theirs.items():
        torch.testing.assert_close(ours[task], expected, atol=1e-5, rtol=1e-5)
    assert len(counter) == 1


@pytest.mark.slow
@pytest.mark.parametrize("batch_tasks", [None, 3])
def test_the_whole_network_is_one_graph(make_tiny_model, counter, batch_tasks) -> None:
    model = make_tiny_model()
    compiled = CompiledModel(model, Graphs(limit=2, backend=counter))
    latent, latent_next = torch.randn(2, 2, 4, 5, 6)
    with torch.no_grad():
        ours, theirs = compiled(latent, latent_next, None, batch_tasks), model(latent, latent_next)
    assert list(ours) == list(TASKS)
    for task, expected in theirs.items():
        torch.testing.assert_close(ours[task], expected, atol=1e-4, rtol=1e-4)
    assert len(counter) == 1


@pytest.mark.slow
def test_the_real_compiler(make_tiny_vae) -> None:
    """Minutes for the networks, so the codec alone."""
    torch._dynamo.reset()
    codec = CompiledCodec(make_tiny_vae(), Graphs(limit=1))
    latents = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = LatentCodec(codec.vae).decode(latents)
        torch.testing.assert_close(codec.decode(latents), expected, atol=1e-5, rtol=1e-5)
