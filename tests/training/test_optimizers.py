from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stablemtl.training.config import LoopConfig
from stablemtl.training.optimizers import Ema, make_optimizer


def options(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    (group,) = optimizer.param_groups
    return {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_optimizers_by_name(name: Any, kind: type) -> None:
    chosen = {"betas": (0.8, 0.999), "eps": 1e-6, "weight_decay": 0.1}
    config = LoopConfig(steps=1, optimizer=name, learning_rate=0.5, **chosen)  # type: ignore[arg-type]
    optimizer = make_optimizer(nn.Linear(2, 1).parameters(), config)
    assert type(optimizer) is kind
    assert options(optimizer) == {"lr": 0.5, **chosen}


def test_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LoopConfig(steps=1, optimizer="adamw8bit", learning_rate=0.5)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ImportError, match="adamw8bit needs bitsandbytes: `pip install bitsandbytes`, or"):
        make_optimizer(nn.Linear(2, 1).parameters(), config)

    class AdamW8bit(torch.optim.AdamW):
        """Stands for the one of bitsandbytes."""

    library = SimpleNamespace(optim=SimpleNamespace(AdamW8bit=AdamW8bit))
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)
    optimizer = make_optimizer(nn.Linear(2, 1).parameters(), config)
    assert type(optimizer) is AdamW8bit
    assert options(optimizer) == {"lr": 0.5, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}


# moving average ---------------------------------------------------------------------------------------------


def test_moving_average_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 10.0]))
    ema = Ema([weight], 0.5)
    assert [ema.decay_at(step) for step in (0, 1, 7, 8, 9, 1000)] == [0.1, 2 / 11, 8 / 17, 0.5, 0.5, 0.5]
    with torch.no_grad():
        weight += 1.0
    ema.update(0)  # 0.1 of the old, 0.9 of the new
    torch.testing.assert_close(ema.values[0], torch.tensor([1.9, 10.9]))
    with torch.no_grad():
        weight += 1.0
    ema.update(100)
    torch.testing.assert_close(ema.values[0], torch.tensor([2.45, 11.45]))
    assert weight.tolist() == [3.0, 12.0]
    assert not ema.values[0].requires_grad


def test_the_average_is_lent_to_the_parameters() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    ema = Ema([weight], 0.5)
    with torch.no_grad():
        weight.fill_(3.0)
    with ema.applied():
        assert weight.tolist() == [1.0]
    assert (weight.tolist(), ema.values[0].tolist()) == ([3.0], [1.0])

    def fail() -> None:
        with ema.applied():
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    assert (weight.tolist(), ema.values[0].tolist()) == ([3.0], [1.0])
    ema.copy_to_parameters()
    assert weight.tolist() == [1.0]
    assert weight.requires_grad
