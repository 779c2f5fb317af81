from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from stablemtl.training import launch
from stablemtl.training.config import LoopConfig
from stablemtl.training.launch import make_accelerator, tracker_names


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """accelerate keeps the first accelerator's settings for the whole process."""
    yield
    AcceleratorState._reset_state()


def config(**options: Any) -> LoopConfig:
    return LoopConfig(steps=1, **{"trackers": (), **options})


def test_one_process_may_run_several_trainings() -> None:
    assert make_accelerator().mixed_precision == "no"
    assert make_accelerator(config(mixed_precision="bf16")).mixed_precision == "bf16"
    assert make_accelerator(config(mixed_precision="bf16")).native_amp
    assert make_accelerator(config()).mixed_precision == "no"


def test_the_launcher_does_not_divide_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    weight = torch.tensor(1.0, requires_grad=True)
    make_accelerator(config()).backward(weight * 3)
    assert weight.grad == 3.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="mixed_precision fp16 needs a GPU; use bf16 or no"):
        make_accelerator(config(mixed_precision="fp16"))


class Fake:
    """An accelerator of an engine that is not here."""

    def __init__(self, kind: DistributedType, version: int, **options: Any) -> None:
        self.distributed_type, self.is_fsdp2 = kind, version == 2
        self.device = torch.device("cpu")
        self.state = SimpleNamespace(fsdp_plugin=SimpleNamespace(cpu_ram_efficient_loading=True))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (DistributedType.DEEPSPEED, r"training does not run under DEEPSPEED; launch plain processes"),
        (DistributedType.FSDP, "training needs FSDP of version 2; launch with --fsdp_version 2"),
    ],
)
def test_engines_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, kind: DistributedType, message: str
) -> None:
    monkeypatch.setattr(launch, "Accelerator", lambda **options: Fake(kind, 1))
    with pytest.raises(ValueError, match=message):
        make_accelerator(config())
    monkeypatch.setattr(launch, "Accelerator", lambda **options: Fake(DistributedType.FSDP, 2))
    assert make_accelerator(config()).state.fsdp_plugin.cpu_ram_efficient_loading is False


def test_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "get_available_trackers", lambda: ["wandb", "tensorboard"])
    assert tracker_names(None) == ("tensorboard",)
    assert tracker_names(()) == ()
    assert tracker_names(("wandb",)) == ("wandb",)
    with pytest.raises(ValueError, match=r"'aim' is not installed, or no tracker .* are tensorboard, wandb"):
        tracker_names(("wandb", "aim"))
    monkeypatch.setattr(launch, "get_available_trackers", list)
    assert tracker_names(None) == ()
    with pytest.raises(ValueError, match="installed are none"):
        make_accelerator(LoopConfig(steps=1, trackers=("tensorboard",)))
