"""The converter of published checkpoints; that converted models compute the same is in test_golden.py."""

from __future__ import annotations

import logging

import pytest
import torch

from stablemtl.models import TaskAttentionConfig, from_published
from stablemtl.models.convert import read_state_dict


def convert(golden, **changes):
    arguments = {
        "auxiliary_state": golden.auxiliary,
        "main_state": golden.main,
        "unet_config": golden.config["unet"],
        "task_attention_config": golden.config["task_attention"],
        "task_tokens": golden.tokens,
        **changes,
    }
    return from_published(**arguments)


def test_result(golden, golden_model) -> None:
    model = golden_model
    assert model.tasks == tuple(golden.tasks)
    assert model.token_lengths == tuple(golden.tokens[task].shape[1] for task in golden.tasks)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    assert len(model.task_attention_blocks) == 16
    assert model.config.second_frame == "duplicate"
    weights = golden.main["up_blocks.3.attentions.2.transformer_blocks.0.attn1.task_to_q.depth.net.6.weight"]
    assert torch.equal(model.task_attention_blocks[15].query["depth"][7].weight, weights.float())


def test_order_of_tasks_is_that_of_the_tokens(golden) -> None:
    tokens = dict(reversed(golden.tokens.items()))
    model = convert(golden, task_tokens=tokens)
    assert model.tasks == tuple(reversed(golden.tasks))
    z_i, z_j = golden.io["z_i"][:1], golden.io["z_j"][:1]
    with torch.no_grad():
        output = model(z_i, z_j, tasks=["shading"])["shading"]
    torch.testing.assert_close(output, golden.io["multi.shading"][:1], atol=1e-4, rtol=0)


def test_missing_and_unexpected_keys_are_all_listed(golden) -> None:
    state = dict(golden.auxiliary)
    del state["conv_out.bias"]
    state["conv_extra.bias"] = torch.zeros(1)
    state["conv_in.bias"] = torch.zeros(3)
    problems = r"missing conv_out.bias.*unexpected conv_extra.bias.*conv_in.bias must be \(8,\), got \(3,\)"
    with pytest.raises(ValueError, match=rf"(?s)auxiliary_state .*\(3 differences\).*{problems}"):
        convert(golden, auxiliary_state=state)

    block = "mid_block.attentions.0.transformer_blocks.0.attn1"
    state = dict(golden.main)
    del state[f"{block}.task_to_k.depth.fc1.weight"]
    state[f"{block}.task_to_k.edges.fc1.weight"] = torch.zeros(1)
    message = rf"main_state .*missing {block}.task_to_k.depth.fc1.weight.*unexpected {block}.task_to_k.edges"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        convert(golden, main_state=state)


def test_configs_that_do_not_fit(golden) -> None:
    with pytest.raises(ValueError, match=r"task_to_q.normal.net.0.weight must be \(21, 8\), got \(20, 8\)"):
        convert(golden, task_attention_config={**golden.config["task_attention"], "query_hidden_dim": 21})
    with pytest.raises(ValueError, match=r"unexpected down_blocks.0.*task_to_q"):
        convert(golden, task_attention_config={**golden.config["task_attention"], "blocks": "decoder"})
    with pytest.raises(ValueError, match="shared_projections cannot be converted"):
        convert(golden, task_attention_config={**golden.config["task_attention"], "shared_projections": True})
    with pytest.raises(ValueError, match="unknown task_attention option width"):
        convert(golden, task_attention_config={"width": 3})
    with pytest.raises(ValueError, match=r"unexpected .*depth"):
        convert(golden, task_tokens={k: v for k, v in golden.tokens.items() if k != "depth"})


def test_published_config_quirks(golden, caplog) -> None:
    unet = {
        **{k: v for k, v in golden.config["unet"].items() if k != "in_channels"},
        "_class_name": "UNet3DConditionModel",
        "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
        "mid_block_type": "UNetMidBlock3DCrossAttn",
        "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
        "return_feature": "afterSelfAttn_residual",
    }
    with caplog.at_level(logging.WARNING, logger="stablemtl.models.convert"):
        model = convert(
            golden,
            unet_config=unet,
            task_attention_config=TaskAttentionConfig(**golden.config["task_attention"]),
        )
    assert "return_feature" in caplog.text
    assert model.config.unet["in_channels"] == 12
    assert "CrossAttnDownBlock2D" in model.config.unet["down_block_types"]


def test_averaged_frames_are_recognised_by_their_channels(golden) -> None:
    state = {**golden.auxiliary, "conv_in.weight": golden.auxiliary["conv_in.weight"][:, :8]}
    unet = {**golden.config["unet"], "in_channels": 8}
    model = convert(golden, auxiliary_state=state, main_state=None, unet_config=unet)
    assert model.config.second_frame == "average"


def test_read_state_dict(tmp_path) -> None:
    state = {"a.weight": torch.arange(3.0)}
    torch.save(state, tmp_path / "unet.pth")
    assert torch.equal(read_state_dict(tmp_path / "unet.pth")["a.weight"], state["a.weight"])
    from safetensors.torch import save_file

    save_file(state, tmp_path / "unet.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "unet.safetensors")["a.weight"], state["a.weight"])
    torch.save({"epoch": 1}, tmp_path / "trainer.pth")
    with pytest.raises(ValueError, match="flat dict of tensors"):
        read_state_dict(tmp_path / "trainer.pth")
    with pytest.raises(FileNotFoundError, match="no checkpoint file at"):
        read_state_dict(tmp_path / "none.pth")
