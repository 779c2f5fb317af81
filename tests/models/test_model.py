"""StableMTLModel: its schedule, its rules for frames and tasks, training, saving."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from torch.utils.checkpoint import checkpoint

from stablemtl.models import StableMTLModel
from stablemtl.models.task_attention import StreamProcessor

TASKS = ("semantic", "depth", "optical_flow", "normal")


def batches(layer) -> list[int]:
    """The batch sizes that go through a layer from now on."""
    sizes: list[int] = []
    layer.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    return sizes


def inputs_seen(unet) -> list[torch.Tensor]:
    """What a UNet gets from now on, one sample per task and image; with this hook it runs its own forward."""
    seen: list[torch.Tensor] = []
    unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    return seen


@torch.no_grad()
def test_shapes_and_order(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    first, second = make_latents(batch=3)
    outputs = model(first, second, tasks=["normal", "semantic"])
    assert list(outputs) == ["normal", "semantic"]
    assert all(output.shape == (3, 4, 5, 9) for output in outputs.values())
    assert list(model(first)) == list(TASKS)


@pytest.mark.parametrize(
    ("tasks", "batch_tasks", "auxiliary", "main"),
    [
        (None, None, [8], [8]),
        (["depth"], None, [6], [2]),
        (["depth", "normal"], None, [8], [4]),
        (None, 3, [6, 2], [6, 2]),
        (["depth"], 1, [2, 2, 2], [2]),
    ],
)
@torch.no_grad()
def test_passes_are_shared_and_no_more_than_needed(
    make_model, make_latents, attention_config, tasks, batch_tasks, auxiliary, main
) -> None:
    model = make_model(attention_config())
    auxiliary_batches, main_batches = (
        batches(unet.mid_block.resnets[1].norm1) for unet in (model.auxiliary, model.main)
    )
    model(*make_latents(batch=2), tasks=tasks, batch_tasks=batch_tasks)
    assert (auxiliary_batches, main_batches) == (auxiliary, main)


@pytest.mark.parametrize("batch_tasks", [None, 1, 3])
@torch.no_grad()
def test_keys_and_values_are_computed_once(make_model, make_latents, attention_config, batch_tasks) -> None:
    model = make_model(attention_config())
    calls = []
    model.task_attention_blocks[0].key["depth"].register_forward_hook(lambda *args: calls.append(1))
    model(*make_latents(), batch_tasks=batch_tasks)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "changes", [{}, {"shared_projections": True}, {"blocks": "decoder"}, {"blocks": (1,)}]
)
@torch.no_grad()
def test_batching_and_subsets_change_nothing(make_model, make_latents, attention_config, changes) -> None:
    model = make_model(attention_config(**changes))
    first, second = make_latents()
    full = model(first, second)
    single = model.single_stream(first, second)
    for task in TASKS:
        assert not torch.allclose(full[task], single[task], atol=1e-3)
        alone = model(first[:1], second[:1], tasks=[task])[task]
        torch.testing.assert_close(alone, full[task][:1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            model.single_stream(first, second, tasks=[task])[task], single[task], atol=1e-5, rtol=1e-4
        )
    for task, output in model(first, second, batch_tasks=3).items():
        torch.testing.assert_close(output, full[task], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"shared_projections": True}, {"blocks": "decoder"}])
@torch.no_grad()
def test_a_new_main_stream_gives_the_single_streams_outputs(
    make_model, make_latents, attention_config, changes
) -> None:
    model = make_model(attention_config(**changes), warm=False)
    latents = make_latents()
    multi, single = model(*latents), model.single_stream(*latents)
    assert all(torch.equal(multi[task], single[task]) for task in TASKS)


def test_main_stream_from_another_unet(make_model, attention_config) -> None:
    other = make_model().auxiliary
    torch.nn.init.constant_(other.conv_out.bias, 7.0)
    model = make_model()
    model.add_main_stream(attention_config(), initial=other)
    assert (model.main.conv_out.bias == 7).all()
    assert not (model.auxiliary.conv_out.bias == 7).any()


@torch.no_grad()
def test_which_frames_each_stream_sees(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    first, second = make_latents(batch=1)
    seen = [inputs_seen(model.auxiliary), inputs_seen(model.main)]
    model(first, second)
    zeros = torch.zeros_like(first)
    for (sample,) in seen:
        assert torch.equal(sample[TASKS.index("optical_flow")], torch.cat([first, second, zeros], 1)[0])
        assert torch.equal(sample[TASKS.index("depth")], torch.cat([first, first, zeros], 1)[0])
    missing, repeated = model(first), model(first, first)
    assert all(torch.equal(missing[task], repeated[task]) for task in TASKS)


@torch.no_grad()
def test_second_frame_zero_and_average(make_model, make_latents) -> None:
    first, second = make_latents(batch=1)
    zeros = torch.zeros_like(first)
    model = make_model(second_frame="zero")
    seen = inputs_seen(model.auxiliary)
    model(first, second, tasks=["depth", "optical_flow"])
    assert torch.equal(seen[0][0], torch.cat([first, zeros, zeros], 1)[0])
    assert torch.equal(seen[0][1], torch.cat([first, second, zeros], 1)[0])
    model(first, tasks=["optical_flow"])
    assert torch.equal(seen[1], torch.cat([first, first, zeros], 1))

    model = make_model(second_frame="average", unet={"in_channels": 8})
    seen = inputs_seen(model.auxiliary)
    model(first, second, tasks=["depth", "optical_flow"])
    assert torch.equal(seen[0][0], torch.cat([first, zeros], 1)[0])
    torch.testing.assert_close(seen[0][1], torch.cat([(first + second) / 2, zeros], 1)[0])


@torch.no_grad()
def test_pair_tasks_are_configurable(make_model, make_latents) -> None:
    model = make_model(pair_tasks=["depth"])
    first, second = make_latents()
    alone, pair = model(first), model(first, second)
    assert [task for task in TASKS if not torch.equal(alone[task], pair[task])] == ["depth"]


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (7, 5)])
@torch.no_grad()
def test_any_size(make_model, make_latents, attention_config, size) -> None:
    model = make_model(attention_config())
    outputs = model(*make_latents(size=size))
    assert all(output.shape == (2, 4, *size) and output.isfinite().all() for output in outputs.values())


@torch.no_grad()
def test_tokens_of_different_length_equal_unpadded_ones(make_model, make_latents) -> None:
    model = make_model()
    assert len(set(model.token_lengths)) > 1
    first, _ = make_latents()
    together = model(first)
    for i, task in enumerate(TASKS):
        tokens = model.task_tokens[i, : model.token_lengths[i]].expand(2, -1, -1)
        sample = torch.cat([first, first, torch.zeros_like(first)], 1)
        expected = model.auxiliary(sample, 999, tokens).sample
        torch.testing.assert_close(together[task], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_set_tokens_of_other_lengths(make_model, make_latents, tmp_path) -> None:
    model = make_model()
    tokens = {task: torch.full((1, 6 - i, 12), float(i)) for i, task in enumerate(TASKS)}
    model.set_tokens(tokens)
    assert model.task_tokens.shape == (4, 6, 12)
    assert model.token_mask.sum(1).tolist() == [6, 5, 4, 3]
    assert model.config.token_lengths == [6, 5, 4, 3]
    assert model.task_tokens[3, 2, 0] == 3
    assert model.task_tokens[3, 3, 0] == 0
    with pytest.raises(ValueError, match="exactly semantic, depth, optical_flow, normal; got depth"):
        model.set_tokens({"depth": tokens["depth"]})
    with pytest.raises(
        ValueError, match=r"tokens\['depth'\] must be \(L, 12\) or \(1, L, 12\), got \(2, 3, 12\)"
    ):
        model.set_tokens({**tokens, "depth": torch.zeros(2, 3, 12)})


def test_input_errors(make_model, make_latents, attention_config) -> None:
    first, second = make_latents()
    for model in (make_model(), make_model(attention_config())):
        with pytest.raises(ValueError, match="unknown task 'normals'; choose from semantic, depth,"):
            model(first, tasks=["normals"])
        with pytest.raises(ValueError, match=r"each task once, got \['depth', 'depth'\]"):
            model(first, tasks=["depth", "depth"])
        with pytest.raises(ValueError, match="tasks must name at least one task"):
            model(first, tasks=[])
        with pytest.raises(TypeError, match=r"got the string 'depth'; write tasks=\['depth'\]"):
            model(first, tasks="depth")
        with pytest.raises(ValueError, match=r"latent must be \(B, 4, h, w\), got \(4, 5, 9\)"):
            model(first[0])
        with pytest.raises(ValueError, match=r"got \(2, 3, 5, 9\).*LatentCodec"):
            model(first[:, :3])
        with pytest.raises(ValueError, match=r"shape of latent, \(2, 4, 5, 9\), got \(1, 4, 5, 9\)"):
            model(first, second[:1])
        with pytest.raises(ValueError, match="batch_tasks must be at least 1, or None for no limit; got 0"):
            model(first, batch_tasks=0)


def test_construction_errors(make_model, unet_options, attention_config) -> None:
    with pytest.raises(ValueError, match=r"each task once, and at least one; got \[\]"):
        StableMTLModel(unet_options(), [], [])
    with pytest.raises(ValueError, match="each task once"):
        StableMTLModel(unet_options(), ["a", "a"], [1, 1])
    with pytest.raises(ValueError, match=r"no dot; got \['a.b'\]"):
        StableMTLModel(unet_options(), ["a.b"], [1])
    with pytest.raises(ValueError, match=r"one length >= 1 for each of 2 tasks, got \[1\]"):
        StableMTLModel(unet_options(), ["a", "b"], [1])
    with pytest.raises(ValueError, match="one of duplicate, zero, average, got 'none'"):
        StableMTLModel(unet_options(), ["a"], [1], second_frame="none")
    with pytest.raises(ValueError, match="2 x out_channels = 8 with second_frame='average', got 12"):
        StableMTLModel(unet_options(), ["a"], [1], second_frame="average")
    with pytest.raises(
        ValueError, match=r"unknown unet option block_channels; choose from .*block_out_channels"
    ):
        StableMTLModel(unet_options(block_channels=[8]), ["a"], [1])
    with pytest.raises(ValueError, match=r"needs at least two, got \['a'\]"):
        StableMTLModel(unet_options(), ["a"], [1]).add_main_stream(attention_config())
    model = make_model(attention_config())
    with pytest.raises(ValueError, match="has a main stream already"):
        model.add_main_stream(attention_config())


def test_main_stream_dropped(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    latents = make_latents()
    with torch.no_grad():
        expected = model.single_stream(*latents)
        model.drop_main_stream()
        found = model(*latents)
    assert all(torch.equal(found[task], value) for task, value in expected.items())
    assert len(model.trainable_parameters()) == len(list(model.parameters()))
    assert model.train().auxiliary.training
    copy = StableMTLModel.from_config(model.config)
    assert copy.state_dict().keys() == model.state_dict().keys()
    model.drop_main_stream()  # nothing more to drop
    model.add_main_stream(attention_config())
    assert model.main is not None


def test_stage_one_trains_the_single_stream(make_model, make_latents) -> None:
    model = make_model().train()
    assert len(model.trainable_parameters()) == len(list(model.auxiliary.parameters()))
    model(*make_latents(), tasks=["depth"])["depth"].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trainable_parameters())


def test_stage_two_trains_the_main_stream_only(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config()).train()
    assert model.main.training
    assert not model.auxiliary.training
    assert not any(p.requires_grad for p in model.auxiliary.parameters())
    trainable = {id(p) for p in model.trainable_parameters()}
    expected = [*model.main.parameters(), *model.task_attention_blocks.parameters()]
    assert trainable == {id(p) for p in expected}
    modes: list[tuple[bool, bool]] = []
    model.auxiliary.register_forward_pre_hook(
        lambda module, args: modes.append((module.training, torch.is_grad_enabled()))
    )
    model(*make_latents(), tasks=["depth"])["depth"].square().mean().backward()
    assert modes == [(False, False)]
    assert all(p.grad is None for p in model.auxiliary.parameters())
    assert all(p.grad is not None for p in model.main.parameters())
    block = model.task_attention_blocks[0]
    assert all(p.grad is not None for p in block.query["depth"].parameters())
    assert all(p.grad is None for p in block.query["normal"].parameters())  # not the main task
    assert all(
        p.grad is None for p in block.key["depth"].parameters()
    )  # its own features are not attended to
    assert all(
        p.grad is not None for task in TASKS if task != "depth" for p in block.value[task].parameters()
    )


def test_masking_draws_from_the_generator_in_training_and_never_at_inference(
    make_model, make_latents, attention_config
) -> None:
    latents = make_latents()
    model = make_model(attention_config(mask_probability=1.0, masking="uniform"))

    def run(seed: int) -> torch.Tensor:
        with torch.no_grad():
            return model(*latents, tasks=["depth"], generator=torch.Generator().manual_seed(seed))["depth"]

    assert torch.equal(run(0), run(1))
    model.train()
    assert torch.equal(run(0), run(0))
    assert any(not torch.equal(run(0), run(seed)) for seed in range(1, 5))
    model.eval()
    unmasked = make_model(attention_config(mask_probability=0.0)).train()
    torch.testing.assert_close(unmasked(*latents, tasks=["depth"])["depth"], run(0))


@pytest.mark.parametrize(
    ("masking", "granularity"),
    [
        ("attention", "block"),
        ("uniform", "block"),
        ("highest", "block"),
        ("random_k", "block"),
        ("attention", "location"),
        ("random_k", "location"),
    ],
)
@torch.no_grad()
def test_masked_tasks_get_no_attention(
    make_model, make_latents, attention_config, masking, granularity
) -> None:
    config = attention_config(mask_probability=1.0, masking=masking, mask_granularity=granularity)
    model = make_model(config)
    plain = model.attention_maps(*make_latents(), tasks=["depth"])
    assert all((weights > 0).all() for weights in plain.values())
    maps = model.train().attention_maps(
        *make_latents(), tasks=["depth"], generator=torch.Generator().manual_seed(0)
    )
    for block in range(4):
        weights = torch.stack(
            [maps["depth", task, block] for task in TASKS if task != "depth"]
        )  # (A, B, h, w)
        hidden = (weights == 0).sum(0)
        assert ((hidden >= 1) & (hidden <= 2)).all() if masking == "random_k" else (hidden == 1).all()
        if granularity == "block":
            assert (hidden == hidden[0, 0, 0]).all()
            torch.testing.assert_close(weights.sum(0), torch.ones_like(weights[0]))
        else:
            assert (weights.sum(0) < 1).all()


@torch.no_grad()
def test_attention_maps(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config(blocks=(0, 3)))
    first, second = make_latents(size=(5, 9))
    maps = model.attention_maps(first, second)
    assert set(maps) == {(m, a, b) for m in TASKS for a in TASKS if a != m for b in (0, 3)}
    assert all(weights.shape == (2, 3, 5) and weights.dtype == torch.float32 for weights in maps.values())
    total = sum(maps["normal", task, 3] for task in TASKS if task != "normal")
    torch.testing.assert_close(total, torch.ones(2, 3, 5))
    few = model.attention_maps(first, second, tasks=["normal", "depth"], batch_tasks=1)
    assert {main for main, _, _ in few} == {"normal", "depth"}
    for key, weights in few.items():
        torch.testing.assert_close(weights, maps[key], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="needs a main stream"):
        make_model().attention_maps(first)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(
    make_model, make_latents, attention_config, reentrant
) -> None:
    latents = make_latents()
    gradients = []
    for checkpointing in (False, True):
        model = make_model(attention_config(mask_probability=0.7)).train()
        if checkpointing:
            assert not model.is_gradient_checkpointing
            model.enable_gradient_checkpointing(
                lambda module, *args: checkpoint(module.__call__, *args, use_reentrant=reentrant)
            )
        outputs = model(*latents, tasks=["depth", "normal"], generator=torch.Generator().manual_seed(4))
        sum(output.square().mean() for output in outputs.values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_gradients_are_the_same_in_parts(make_model, make_latents, attention_config) -> None:
    gradients = []
    for batch_tasks in (None, 3):
        model = make_model(attention_config(mask_probability=0.0)).train()
        outputs = model(*make_latents(), batch_tasks=batch_tasks)
        sum(output.square().mean() for output in outputs.values()).backward()
        gradients.append([p.grad for p in model.trainable_parameters()])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_nothing_is_left_behind_by_a_call_or_by_a_failure(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    first, second = make_latents()
    expected = model(first, second)

    def state() -> list:
        found = [
            vars(m.processor)
            for m in model.modules()
            if isinstance(getattr(m, "processor", None), StreamProcessor)
        ]
        return [dict(values) for values in found]

    before = state()
    handle = model.main.conv_out.register_forward_pre_hook(lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(second, first)
    handle.remove()
    assert state() == before
    again = model(first, second)
    assert all(torch.equal(again[task], expected[task]) for task in TASKS)
    assert not any(torch.is_tensor(value) for value in vars(model).values())


@torch.no_grad()
def test_single_stream_calls_an_offloaded_model_to_its_device(make_model, make_latents) -> None:
    model = make_model()
    called = []

    class Hook:
        def pre_forward(self, module) -> None:
            called.append(module)

    model._hf_hook = Hook()
    model.single_stream(*make_latents(), tasks=["depth"])
    assert called == [model]


@torch.no_grad()
def test_two_calls_at_once(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    outer, inner = make_latents(seed=1), make_latents(batch=1, size=(3, 4), seed=2)
    expected_outer, expected_inner = model(*outer), model(*inner)
    results = []

    def interrupt(*args) -> None:
        handle.remove()
        results.append(model(*inner))

    handle = model.main.conv_out.register_forward_pre_hook(interrupt)
    results.append(model(*outer))
    for task in TASKS:
        assert torch.equal(results[0][task], expected_inner[task])
        assert torch.equal(results[1][task], expected_outer[task])


@pytest.mark.parametrize("multi", [False, True])
@torch.no_grad()
def test_save_and_load(make_model, make_latents, attention_config, tmp_path, multi) -> None:
    attention = attention_config(blocks=(1, 2), masking="random_k") if multi else None
    model = make_model(attention, pair_tasks=["optical_flow"], second_frame="zero", timestep=500)
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    loaded = StableMTLModel.from_pretrained(tmp_path)
    assert loaded.config.task_attention == (attention.to_dict() if attention else None)
    assert (loaded.tasks, loaded.pair_tasks, loaded.timestep) == (TASKS, ("optical_flow",), 500)
    assert torch.equal(loaded.token_mask, model.token_mask)
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]
    latents = make_latents()
    before, after = model(*latents), loaded(*latents)
    assert all(torch.equal(before[task], after[task]) for task in TASKS)
    assert all(torch.equal(*pair) for pair in zip(model.buffers(), loaded.buffers(), strict=True))


@torch.no_grad()
def test_half_precision_storage_and_bfloat16_compute(
    make_model, make_latents, attention_config, tmp_path
) -> None:
    model = make_model(attention_config())
    model.half().save_pretrained(tmp_path)
    with safe_open(tmp_path / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    model = StableMTLModel.from_pretrained(tmp_path)
    assert model.dtype == model.task_tokens.dtype == torch.float32
    assert model.token_mask.dtype == torch.bool
    small = StableMTLModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert small.dtype == small.task_tokens.dtype == torch.bfloat16
    latents = make_latents()
    exact, rough = model(*latents), small(*latents)
    for task in TASKS:
        assert rough[task].dtype == torch.bfloat16
        assert (rough[task] - exact[task]).abs().mean() < 0.1 * exact[task].std()


def test_training_under_bfloat16_autocast(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config(mask_probability=1.0)).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(*make_latents(), tasks=["depth"])["depth"].float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.main.parameters())


def test_a_twin_from_the_config_has_the_main_stream_added_since(make_model, attention_config) -> None:
    model = make_model(attention_config())
    twin = StableMTLModel.from_config(model.config)
    assert twin.main is not None
    assert {k: v.shape for k, v in twin.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_main_stream_keeps_dtype_and_mode(make_model, attention_config) -> None:
    model = make_model().to(torch.bfloat16).train()
    model.add_main_stream(attention_config())
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.main.training
    assert model.task_attention_blocks.training
    assert not model.auxiliary.training


@torch.no_grad()
def test_unets_with_attention_everywhere_and_several_layers(
    make_model, make_latents, attention_config
) -> None:
    everywhere = {
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "transformer_layers_per_block": 2,
        "use_linear_projection": False,
    }
    model = make_model(attention_config(), unet=everywhere)
    assert len(model.task_attention_blocks) == 2 * (1 + 1 + 1 + 2 + 2)
    full = model(*make_latents())
    for task in TASKS:
        alone = model(*make_latents(), tasks=[task])[task]
        torch.testing.assert_close(alone, full[task], atol=1e-5, rtol=1e-4)
