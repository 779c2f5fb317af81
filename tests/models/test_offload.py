"""UNets that are on the accelerator only while they run; the meta device stands for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stablemtl.models.offload import on_device

META = torch.device("meta")


def test_weights_leave_and_come_back_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1, bias=False))
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with on_device([module], META):
        assert {x.device for x in (*module.parameters(), *module.buffers())} == {META}
        assert not any(x.requires_grad for x in module.parameters())
        assert module(torch.zeros(4, 2, device="meta")).shape == (4, 1)
    with pytest.raises(RuntimeError, match="same reduction dim"), on_device([module], META):
        module(torch.zeros(4, 5, device="meta"))
    now = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    assert now.keys() == tensors.keys()
    assert all(now[name] is tensors[name] for name in tensors)
    assert all(x.requires_grad for x in module.parameters())


def test_no_device_leaves_everything() -> None:
    module = nn.Linear(2, 3)
    with on_device([module], None):
        assert module.weight.device.type == "cpu"


@pytest.mark.parametrize("single", [False, True])
@torch.no_grad()
def test_one_unet_at_a_time(make_model, make_latents, attention_config, single) -> None:
    model = make_model(attention_config())
    places: list[tuple[str, ...]] = []

    def watch(*args: object) -> None:
        parts = (model.auxiliary.conv_out.weight, model.main.conv_out.weight, model.task_attention_blocks)
        places.append(
            tuple(next(iter(p.parameters())).device.type if p is parts[2] else p.device.type for p in parts)
        )

    for unet in (model.auxiliary, model.main):
        unet.conv_in.register_forward_hook(watch)
    model.offload_streams("meta")
    outputs = (model.single_stream if single else model)(*make_latents())
    assert places == [("meta", "cpu", "cpu"), ("cpu", "meta", "meta")][: 1 if single else 2]
    assert {x.device for x in outputs.values()} == {META}
    assert {x.device.type for x in model.parameters()} == {"cpu"}
    assert model._fixed == {}


@torch.no_grad()
def test_results_stay_the_same(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config())
    expected = model(*make_latents())
    model.offload_streams("cpu")
    for _ in range(2):
        outputs = model(*make_latents())
        assert all(torch.equal(outputs[task], expected[task]) for task in expected)
    model.offload_streams(None)
    assert model.offload_device is None
    model(*make_latents())
    assert model._fixed


def test_with_gradients_nothing_moves(make_model, make_latents, attention_config) -> None:
    model = make_model(attention_config()).train()
    model.offload_streams("meta")
    model(*make_latents(), tasks=["depth"])["depth"].sum().backward()
    assert all(p.grad is not None for p in model.main.parameters())
