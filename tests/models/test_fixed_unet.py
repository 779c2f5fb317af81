"""FixedUNet: the same numbers as the stock forward, less work, and constants that are never out of date."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stablemtl.models.fixed_unet import CrossAttention, FixedUNet, _matrix
from stablemtl.models.unet_steps import unet_steps

TASKS = ("semantic", "depth", "optical_flow", "normal")
EVERYWHERE = {
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "transformer_layers_per_block": 2,
    "use_linear_projection": False,
}


def stock(model):
    """A copy of ``model`` whose UNets run their own forward."""
    twin = copy.deepcopy(model)
    twin.fixed_unet = lambda unet: None
    return twin


def batch_sizes(layer) -> list[int]:
    sizes: list[int] = []
    layer.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    return sizes


def assert_same(actual, expected) -> None:
    assert list(actual) == list(expected)
    for task in expected:
        torch.testing.assert_close(actual[task], expected[task], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("unet", "second_frame", "pair"),
    [
        ({}, "duplicate", False),
        ({}, "duplicate", True),
        ({}, "zero", False),
        ({"in_channels": 8}, "average", True),
        (EVERYWHERE, "duplicate", True),
    ],
)
@torch.no_grad()
def test_same_outputs_as_the_stock_forward(
    make_model, make_latents, attention_config, unet, second_frame, pair
) -> None:
    model = make_model(attention_config(), unet=unet, second_frame=second_frame)
    twin = stock(model)
    assert model.fixed_unet(model.main) is not None
    calls: list[tuple[tuple[int, int], int, dict]] = [
        ((5, 9), 2, {}),
        ((8, 4), 1, {"tasks": ["normal", "semantic"]}),
        ((1, 3), 1, {"tasks": ["optical_flow"]}),
        ((2, 3), 2, {"tasks": list(reversed(TASKS)), "batch_tasks": 3}),
    ]
    for size, batch, options in calls:
        first, second = make_latents(batch, size)
        latents = (first, second) if pair else (first,)
        assert_same(model(*latents, **options), twin(*latents, **options))
    assert_same(model.single_stream(*latents), twin.single_stream(*latents))


@torch.no_grad()
def test_same_outputs_with_few_attending_blocks(make_model, make_latents, attention_config) -> None:
    for blocks in ((1,), "decoder", (0, 3)):
        model = make_model(attention_config(blocks=blocks))
        assert_same(model(*make_latents()), stock(model)(*make_latents()))


@pytest.mark.parametrize(
    ("second_frame", "pair", "distinct"),
    [("duplicate", False, 1), ("duplicate", True, 2), ("zero", False, 2), ("zero", True, 2)],
)
@torch.no_grad()
def test_what_depends_on_the_frames_alone_is_computed_once(
    make_model, make_latents, attention_config, second_frame, pair, distinct
) -> None:
    model = make_model(attention_config(), second_frame=second_frame)
    first, second = make_latents(batch=3)
    seen = {}
    for unet in (model.auxiliary, model.main):
        transformer = unet.down_blocks[1].attentions[0]
        block = transformer.transformer_blocks[0]
        for layer in (unet.conv_in, unet.down_blocks[0].resnets[0].norm2, transformer.norm, block.attn1):
            seen[layer] = (batch_sizes(layer), distinct * 3)
        for layer in (block.ff, unet.mid_block.resnets[0].norm1):
            seen[layer] = (batch_sizes(layer), 4 * 3)
    model(first, second if pair else None)
    for layer, (sizes, expected) in seen.items():
        assert sizes == [expected], layer


@torch.no_grad()
def test_auxiliary_pass_ends_at_the_last_attending_block(make_model, make_latents, attention_config) -> None:
    for blocks, last in (("all", 3), ((0, 2), 2), ((1,), 1)):
        model = make_model(attention_config(blocks=blocks))
        unet = model.auxiliary
        by_block = [  # two levels, attention at the lower one
            unet.down_blocks[1].attentions[0],
            unet.mid_block.attentions[0],
            *unet.up_blocks[0].attentions,
        ]
        used = [batch_sizes(module.transformer_blocks[0].attn1) for module in by_block]
        spared = [batch_sizes(module.transformer_blocks[0].ff) for module in by_block]
        outputs = batch_sizes(unet.conv_out)
        model(*make_latents())
        assert [bool(sizes) for sizes in used] == [i <= last for i in range(4)]
        assert [bool(sizes) for sizes in spared] == [i < last for i in range(4)]
        assert outputs == []
        model.single_stream(*make_latents())
        assert outputs == [8]


@torch.no_grad()
def test_fewer_operations(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())

    def count(network) -> int:
        network(*make_latents())  # the constants
        with FlopCounterMode(display=False) as counter:
            network(*make_latents())
        return counter.get_total_flops()

    assert count(model) < 0.9 * count(stock(model))
    assert count(model.single_stream) < count(stock(model).single_stream)


@torch.no_grad()
def test_constants_are_kept_and_nothing_else_reads_their_sources(make_model, make_latents) -> None:
    model = make_model()
    fixed = model.fixed_unet(model.auxiliary)
    calls = batch_sizes(model.auxiliary.time_embedding)
    model(*make_latents())
    model(*make_latents(batch=1, size=(3, 4)))
    assert model.fixed_unet(model.auxiliary) is fixed
    assert calls == []


def _write(model):
    model.auxiliary.down_blocks[1].attentions[0].transformer_blocks[0].attn2.to_v.weight.mul_(1.5)


def _replace(model):
    model.auxiliary.up_blocks[1].resnets[0].time_emb_proj.weight = nn.Parameter(torch.ones(8, 32))


def _write_behind_its_back(model):
    model.auxiliary.mid_block.attentions[0].transformer_blocks[0].attn2.to_q.weight.data.mul_(1.5)
    model.eval()


def _load(model):
    state = {name: value * 1.1 for name, value in model.state_dict().items()}
    model.load_state_dict(state)


def _tokens(model):
    model.set_tokens({task: torch.full((2 + i % 3, 12), 0.3 * i) for i, task in enumerate(TASKS)})


def _write_tokens(model):
    model.task_tokens.mul_(2)


def _move(model):
    model.half().float()


def _replace_storage(model):
    weight = model.auxiliary.mid_block.resnets[0].conv1.bias
    weight.data = weight.data + 1


@pytest.mark.parametrize(
    "change",
    [
        _write,
        _replace,
        _write_behind_its_back,
        _load,
        _tokens,
        _write_tokens,
        _move,
        _replace_storage,
    ],
)
@torch.no_grad()
def test_constants_follow_their_sources(make_model, make_latents, change) -> None:
    model = make_model()
    before = model(*make_latents())
    change(model)
    after = model(*make_latents())
    assert_same(after, stock(model)(*make_latents()))
    assert any(not torch.equal(after[task], before[task]) for task in TASKS)


@torch.no_grad()
def test_dtype_of_the_constants_is_the_weights(make_model, make_latents) -> None:
    model = make_model()
    model(*make_latents())
    exact = model.single_stream(*make_latents())
    rough = model.to(torch.bfloat16)(*make_latents())
    for task in TASKS:
        assert rough[task].dtype == torch.bfloat16
        assert (rough[task] - exact[task]).abs().mean() < 0.1 * exact[task].std()


@torch.no_grad()
def test_constants_made_under_autocast_or_inference_mode_are_as_good(make_model, make_latents) -> None:
    model = make_model()
    expected = model(*make_latents())
    for context in (torch.autocast("cpu", torch.bfloat16), torch.inference_mode()):
        model.eval()  # forgets
        with context:
            model(*make_latents())
        again = model(*make_latents())
        assert all(torch.equal(again[task], expected[task]) for task in TASKS)


def test_a_model_made_in_inference_mode(make_model, make_latents) -> None:
    with torch.inference_mode():
        model = make_model()
        outputs = model(*make_latents())
        assert_same(outputs, stock(model)(*make_latents()))


@torch.no_grad()
def test_copies_and_pickles_leave_constants_behind(make_model, make_latents) -> None:
    model = make_model()
    expected = model(*make_latents())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin._fixed == {}
        outputs = twin(*make_latents())
        assert all(torch.equal(outputs[task], expected[task]) for task in TASKS)
        twin.auxiliary.conv_in.weight.zero_()
    assert all(torch.equal(model(*make_latents())[task], expected[task]) for task in TASKS)


def test_with_gradients_the_unet_runs_its_own_forward(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config()).train()
    calls: list[str] = []
    model.auxiliary.mid_block.attentions[0].register_forward_hook(lambda *args: calls.append("auxiliary"))
    model.main.mid_block.attentions[0].register_forward_hook(lambda *args: calls.append("main"))
    made = []
    fixed_unet = model.fixed_unet
    model.fixed_unet = lambda unet: made.append(unet) or fixed_unet(unet)
    model(*make_latents(), tasks=["depth"])["depth"].sum().backward()
    assert calls == ["auxiliary", "main"]
    assert made == [model.auxiliary]  # asked for the auxiliary pass, which has no gradient


def _hook_stage(unet):
    unet.mid_block.register_forward_hook(lambda *args: None)


def _hook_projection(unet):
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_q.register_forward_hook(lambda *args: None)


def _patch_forward(unet):
    block = unet.mid_block.attentions[0].transformer_blocks[0]
    block.forward = block.forward


def _processor(unet):
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(AttnProcessor2_0())


def _free_u(unet):
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.1, b2=1.2)


def _chunked(unet):
    unet.mid_block.attentions[0].transformer_blocks[0].set_chunk_feed_forward(1, 0)


def _subclass(unet):
    class Sharded(type(unet.mid_block.resnets[0])):
        pass

    unet.mid_block.resnets[0].__class__ = Sharded


@pytest.mark.parametrize(
    "touch", [_hook_stage, _hook_projection, _patch_forward, _processor, _free_u, _chunked, _subclass]
)
@torch.no_grad()
def test_what_somebody_put_around_a_module_is_not_passed_over(make_model, make_latents, touch) -> None:
    model = make_model()
    touch(model.auxiliary)
    assert unet_steps(model.auxiliary) is None
    assert FixedUNet.of(model.auxiliary, 999, model.task_tokens, model.token_mask) is None
    assert_same(model(*make_latents()), stock(model)(*make_latents()))


@pytest.mark.parametrize(
    "options",
    [
        {"down_block_types": ["DownBlock2D", "SimpleCrossAttnDownBlock2D"]},
        {"resnet_time_scale_shift": "scale_shift"},
        {"class_embed_type": "timestep"},
        {"dropout": 0.1},
        {"only_cross_attention": True},
        {"mid_block_type": "UNetMidBlock2D"},
    ],
)
def test_unets_of_other_parts_run_their_own_forward(make_model, options) -> None:
    assert unet_steps(make_model(unet=options).auxiliary) is None


@torch.no_grad()
def test_a_unet_without_middle_block(make_model, make_latents) -> None:
    model = make_model(unet={"mid_block_type": None})
    assert unet_steps(model.auxiliary) is not None
    assert_same(model(*make_latents()), stock(model)(*make_latents()))


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_cross_attention_against_the_stock_one(bias) -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=12, cross_attention_dim=5, heads=3, dim_head=4, bias=bias)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    tokens, lengths = torch.randn(3, 4, 5), (4, 1, 2)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    ours = CrossAttention.of(attention, tokens, mask)
    x = torch.randn(2 * 2, 6, 12)
    for rows in ([2, 1], [0, 1], [1, 2]):
        out = ours(x, rows)
        for i, row in enumerate(rows):
            alone = tokens[row : row + 1, : lengths[row]].expand(2, -1, -1)
            expected = attention(x[2 * i : 2 * i + 2], encoder_hidden_states=alone)
            torch.testing.assert_close(out[2 * i : 2 * i + 2], expected, atol=1e-5, rtol=1e-4)


def test_weight_of_a_layer_that_stores_it_otherwise() -> None:
    class Halved(nn.Linear):
        """Stores half of its weight, as a type that is not a plain tensor."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, 2 * self.weight.as_subclass(torch.Tensor), self.bias)

    class Packed(torch.Tensor):
        pass

    layer = Halved(3, 2)
    weight = layer.weight.detach().clone()
    layer.weight = nn.Parameter(weight.as_subclass(Packed))
    with torch.no_grad():
        torch.testing.assert_close(_matrix(layer), 2 * weight)
        assert _matrix(plain := nn.Linear(3, 2)) is plain.weight
