"""Task attention: its arithmetic, its masking, and where it sits in a UNet."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from stablemtl.models import TaskAttentionConfig
from stablemtl.models.task_attention import (
    FeatureStream,
    TaskAttention,
    draw_mask,
    install_processors,
    selected_blocks,
    self_attention_blocks,
)
from stablemtl.models.unets import build_unet, level_sizes

TASKS = ["semantic", "depth", "normal"]


def random_attention(config: TaskAttentionConfig) -> TaskAttention:
    torch.manual_seed(0)
    attention = TaskAttention(8, TASKS, config).eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attention


def own_tasks(main: list[str], auxiliary: list[str]) -> torch.Tensor:
    return torch.tensor([[a == b for b in auxiliary] for a in main])


def test_config_goes_through_plain_values() -> None:
    config = TaskAttentionConfig(heads=2, blocks=(3, 1), masking="random_k", key_value_hidden=5)
    plain = config.to_dict()
    assert plain["blocks"] == [3, 1]
    assert TaskAttentionConfig.from_dict(plain) == config
    assert TaskAttentionConfig.from_dict({}) == TaskAttentionConfig()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("heads", 0, "heads must be an integer >= 1, got 0"),
        ("query_hidden_layers", -1, "query_hidden_layers must be an integer >= 0, got -1"),
        ("key_value_hidden", "width", "'width//2' or an integer >= 1, got 'width'"),
        ("masking", "softmax", "one of attention, uniform, highest, random_k, got 'softmax'"),
        ("mask_granularity", "pixel", "one of block, location, got 'pixel'"),
        ("mask_probability", 4, r"in \[0, 1\], got 4"),
        ("blocks", "encoder", "'all', 'decoder' or a tuple of indices, got 'encoder'"),
        ("blocks", (1, 1), r"each index once, from 0, and at least one; got \(1, 1\)"),
        ("blocks", (), "at least one"),
    ],
)
def test_config_errors(field, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        TaskAttentionConfig(**{field: value})


def test_config_reports_all_problems_together() -> None:
    with pytest.raises(ValueError, match=r"heads must be .*; mask_probability must be"):
        TaskAttentionConfig(heads=0, mask_probability=2)
    with pytest.raises(ValueError, match=r"unknown task_attention option head; choose from .*heads"):
        TaskAttentionConfig.from_dict({"head": 4})


@pytest.mark.parametrize("shared", [False, True])
@torch.no_grad()
def test_value_against_the_formula_token_by_token(shared) -> None:
    attention = random_attention(TaskAttentionConfig(heads=2, query_hidden_dim=5, shared_projections=shared))
    main = ["normal", "semantic"]
    hidden, features = torch.randn(2 * 2, 3, 8), torch.randn(3, 2, 3, 8)
    keys, values = attention.keys_values(features, TASKS)
    term, weights, masked = attention(hidden, keys, values, main, own_tasks(main, TASKS))

    def mlp(modules, task, x):
        return modules["shared" if shared else task](x)

    assert masked is None
    assert weights.shape == (2, 3, 2, 2, 3)
    for m, task in enumerate(main):
        others = [i for i, t in enumerate(TASKS) if t != task]
        for b in range(2):
            for n in range(3):
                q = mlp(attention.query, task, hidden[2 * m + b, n])
                mixed = torch.empty(8)
                for h in range(2):
                    part = slice(4 * h, 4 * h + 4)
                    scores = torch.stack(
                        [q[part] @ mlp(attention.key, TASKS[i], features[i, b, n])[part] / 2 for i in others]
                    ).softmax(0)
                    mixed[part] = sum(
                        s * mlp(attention.value, TASKS[i], features[i, b, n])[part]
                        for s, i in zip(scores, others, strict=True)
                    )
                    torch.testing.assert_close(weights[b, n, h, m, others], scores)
                    assert weights[b, n, h, m, TASKS.index(task)] == 0
                torch.testing.assert_close(term[2 * m + b, n], attention.out(mixed), atol=1e-5, rtol=1e-5)


def test_projection_layers_and_exact_gelu() -> None:
    attention = TaskAttention(8, TASKS, TaskAttentionConfig(heads=2, query_hidden_dim=5, key_value_hidden=3))
    x = torch.randn(4, 8)
    norm, first, _, last = attention.key["depth"]
    torch.testing.assert_close(attention.key["depth"](x), last(F.gelu(first(norm(x)))))
    assert [tuple(p.shape) for p in attention.value["depth"].parameters() if p.ndim == 2] == [(3, 8), (8, 3)]
    shapes = [tuple(p.shape) for p in attention.query["depth"].parameters() if p.ndim == 2]
    assert shapes == [(5, 8), (5, 5), (5, 5), (8, 5)]


def test_released_parameter_counts() -> None:
    with torch.device("meta"):
        count = sum(
            p.numel()
            for p in TaskAttention(320, [f"t{i}" for i in range(7)], TaskAttentionConfig()).parameters()
        )
    assert count == 10_173_760


def test_starts_at_zero() -> None:
    attention = TaskAttention(8, TASKS, TaskAttentionConfig(heads=2, query_hidden_dim=5))
    keys, values = attention.keys_values(torch.randn(2, 2, 3, 8), TASKS[1:])
    own = own_tasks(TASKS[:1], TASKS[1:])
    term, *_ = attention(torch.randn(2, 3, 8), keys, values, TASKS[:1], own)
    assert term.abs().max() == 0


def scores(*rows: list[float], heads: int = 1) -> torch.Tensor:
    """Weights (1, 1, heads, M, A)."""
    return torch.tensor(rows).expand(1, 1, heads, -1, -1)


def masks(
    config: TaskAttentionConfig, weights: torch.Tensor, own: torch.Tensor, draws: int = 400
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([draw_mask(weights, own, config, generator) for _ in range(draws)])


def test_masking_in_proportion_to_attention() -> None:
    own = torch.tensor([[False, False, False, True]])
    hidden = masks(TaskAttentionConfig(mask_probability=1), scores([0.7, 0.2, 0.1, 0.0]), own)
    assert hidden.shape == (400, 1, 4)
    assert (hidden.sum(-1) == 1).all()
    share = hidden.float().mean((0, 1))
    torch.testing.assert_close(share, torch.tensor([0.7, 0.2, 0.1, 0.0]), atol=0.07, rtol=0)


def test_masking_uniform_and_highest() -> None:
    own = torch.tensor([[False, False, False, True]])
    weights = scores([0.7, 0.2, 0.1, 0.0])
    share = (
        masks(TaskAttentionConfig(masking="uniform", mask_probability=1), weights, own).float().mean((0, 1))
    )
    torch.testing.assert_close(share, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0]), atol=0.07, rtol=0)
    hidden = masks(TaskAttentionConfig(masking="highest", mask_probability=1), weights, own, draws=5)
    assert hidden.tolist() == [[[True, False, False, False]]] * 5


def test_masking_a_random_number() -> None:
    own = torch.tensor([[True, False, False, False, False]])
    config = TaskAttentionConfig(masking="random_k", mask_probability=1)
    hidden = masks(config, scores([0.0, 0.4, 0.3, 0.2, 0.1]), own)
    assert not hidden[..., 0].any()
    counts = hidden.sum(-1).flatten().bincount(minlength=6) / 400
    torch.testing.assert_close(counts, torch.tensor([0, 1, 1, 1, 0, 0]) / 3, atol=0.07, rtol=0)
    assert hidden[..., 1].sum() > hidden[..., 4].sum()


def test_masking_probability_and_independence_of_main_tasks() -> None:
    own = torch.zeros(2, 3, dtype=torch.bool)
    weights = scores([0.5, 0.3, 0.2], [0.5, 0.3, 0.2])
    assert draw_mask(weights, own, TaskAttentionConfig(mask_probability=0)) is None
    happened = masks(TaskAttentionConfig(mask_probability=0.4), weights, own).any(-1).float()
    torch.testing.assert_close(happened.mean(0), torch.tensor([0.4, 0.4]), atol=0.07, rtol=0)
    assert abs(happened.prod(-1).mean() - 0.16) < 0.05


def test_masking_leaves_one_task() -> None:
    own = torch.tensor([[True, False], [False, True]])
    for masking in ("attention", "uniform", "highest", "random_k"):
        config = TaskAttentionConfig(masking=masking, mask_probability=1)
        assert not masks(config, scores([0.0, 1.0], [1.0, 0.0]), own, draws=10).any()


def test_masking_averages_over_batch_tokens_and_heads_or_over_heads() -> None:
    weights = torch.zeros(
        1, 2, 2, 1, 3
    )  # two tokens that look at different tasks; the second token less surely
    weights[0, 0, :, 0, 0] = 1
    weights[0, 1, :, 0, 1], weights[0, 1, :, 0, 2] = 0.8, 0.2
    own = torch.zeros(1, 3, dtype=torch.bool)
    by_block = TaskAttentionConfig(masking="highest", mask_probability=1)
    assert draw_mask(weights, own, by_block).tolist() == [[True, False, False]]
    by_location = TaskAttentionConfig(masking="highest", mask_probability=1, mask_granularity="location")
    mask = draw_mask(weights, own, by_location)
    assert mask.shape == (1, 2, 1, 1, 3)
    assert mask[0, :, 0, 0].tolist() == [[True, False, False], [False, True, False]]


@pytest.mark.parametrize("granularity", ["block", "location"])
@torch.no_grad()
def test_masked_attention_renormalises_by_block_and_multiplies_by_location(granularity) -> None:
    config = TaskAttentionConfig(
        heads=2, query_hidden_dim=5, mask_probability=1, mask_granularity=granularity
    )
    attention = random_attention(config)
    main, others = ["normal"], ["semantic", "depth"]
    hidden = torch.randn(2, 3, 8)
    keys, values = attention.keys_values(torch.randn(2, 2, 3, 8), others)
    own = own_tasks(main, others)
    _, plain, _ = attention(hidden, keys, values, main, own)
    attention.train()
    generator = torch.Generator().manual_seed(2)
    _, weights, masked = attention(hidden, keys, values, main, own, generator=generator)
    assert (weights[masked.expand_as(weights)] == 0).all()
    kept = ~masked.expand_as(weights)
    if granularity == "block":
        assert masked.sum() == 1
        torch.testing.assert_close(weights[kept], torch.ones_like(weights[kept]))  # the other of two tasks
    else:
        assert (masked.sum(-1) == 1).all()
        torch.testing.assert_close(weights[kept], plain[kept])


def test_masking_only_in_training() -> None:
    attention = random_attention(TaskAttentionConfig(heads=2, query_hidden_dim=5, mask_probability=1))
    keys, values = attention.keys_values(torch.randn(2, 2, 3, 8), TASKS[1:])
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    args = torch.randn(2, 3, 8), keys, values, TASKS[:1], own_tasks(TASKS[:1], TASKS[1:])
    assert attention(*args, generator=generator)[2] is None
    assert torch.equal(generator.get_state(), state)
    assert attention.train()(*args, generator=generator)[2] is not None


def test_blocks_of_the_published_unet_in_execution_order(golden) -> None:
    unet = build_unet(golden.config["unet"])
    blocks = self_attention_blocks(unet)
    assert [block.name.split(".transformer")[0] for block in blocks] == [
        *("down_blocks.0.attentions.0", "down_blocks.0.attentions.1", "down_blocks.1.attentions.0"),
        *("down_blocks.1.attentions.1", "down_blocks.2.attentions.0", "down_blocks.2.attentions.1"),
        "mid_block.attentions.0",
        *(f"up_blocks.{i}.attentions.{j}" for i in (1, 2, 3) for j in range(3)),
    ]
    assert [block.width for block in blocks] == [8, 8, 16, 16, 24, 24, 24, 24, 24, 24, 16, 16, 16, 8, 8, 8]
    assert [block.level for block in blocks] == [0, 0, 1, 1, 2, 2, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert all(unet.get_submodule(block.name) is block.attention for block in blocks)
    assert selected_blocks(TaskAttentionConfig(blocks="decoder"), blocks) == list(range(7, 16))
    assert selected_blocks(TaskAttentionConfig(blocks=(9, 2)), blocks) == [2, 9]


@torch.no_grad()
def test_blocks_run_in_the_order_of_their_index_with_several_layers(unet_options) -> None:
    unet = build_unet(unet_options(transformer_layers_per_block=2, layers_per_block=2)).eval()
    blocks = self_attention_blocks(unet)
    assert len(blocks) == 2 * 2 + 2 + 3 * 2
    install_processors(unet)
    seen = []

    class Recorder:
        def visit(self, block, hidden):
            seen.append((block, hidden.shape[1]))
            return hidden

    unet(
        torch.randn(1, 12, 7, 10),
        999,
        torch.randn(1, 2, 12),
        cross_attention_kwargs={"task_stream": Recorder()},
    )
    sizes = level_sizes(unet, (7, 10))
    assert sizes == [(7, 10), (4, 5)]
    expected = [(i, sizes[block.level][0] * sizes[block.level][1]) for i, block in enumerate(blocks)]
    assert seen == expected


@pytest.mark.parametrize("padding", [0, 1])
@torch.no_grad()
def test_level_sizes_are_those_of_the_unet(unet_options, padding) -> None:
    types = {"down_block_types": ["CrossAttnDownBlock2D"] * 3, "up_block_types": ["CrossAttnUpBlock2D"] * 3}
    options = unet_options(block_out_channels=[8, 8, 8], downsample_padding=padding, **types)
    unet = build_unet(options).eval()
    install_processors(unet)
    stream = FeatureStream(range(len(self_attention_blocks(unet))))
    unet(
        torch.randn(1, 12, 9, 14), 999, torch.randn(1, 2, 12), cross_attention_kwargs={"task_stream": stream}
    )
    sizes = level_sizes(unet, (9, 14))
    features = stream.features(1)
    for i, block in enumerate(self_attention_blocks(unet)):
        assert features[i].shape == (1, 1, sizes[block.level][0] * sizes[block.level][1], 8)


@torch.no_grad()
def test_processors_do_not_change_outputs_and_keep_what_a_hook_sees(unet_options) -> None:
    unet = build_unet(unet_options()).eval()
    args = torch.randn(2, 12, 5, 9), 999, torch.randn(2, 3, 12)
    stock = unet(*args).sample
    install_processors(unet)
    assert torch.equal(unet(*args).sample, stock)
    hooked = []
    block = self_attention_blocks(unet)[1].attention
    block.register_forward_hook(lambda module, args, output: hooked.append(output))
    stream = FeatureStream([1])
    unet(*args, cross_attention_kwargs={"task_stream": stream})
    assert torch.equal(stream.features(2)[1], hooked[0].unflatten(0, (2, 1)))


def test_feature_stream_names_lost_processors() -> None:
    with pytest.raises(RuntimeError, match=r"no auxiliary features of blocks \[0, 4\].*install_processors"):
        FeatureStream([0, 4]).features(1)


def test_selected_blocks_errors(unet_options) -> None:
    blocks = self_attention_blocks(build_unet(unet_options()))
    with pytest.raises(ValueError, match=r"blocks=\(2, 4\) does not fit this UNet, which has 4"):
        selected_blocks(TaskAttentionConfig(blocks=(2, 4)), blocks)
    with pytest.raises(ValueError, match="got heads=3 for width 16"):
        selected_blocks(TaskAttentionConfig(heads=3), blocks)
    plain = UNet2DConditionModel(
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        norm_num_groups=4,
    )
    with pytest.raises(ValueError, match="blocks='all' does not fit this UNet, which has 0"):
        selected_blocks(TaskAttentionConfig(), self_attention_blocks(plain))
