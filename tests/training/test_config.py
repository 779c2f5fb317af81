from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stablemtl.training.config import CodecRun, DataConfig, LoopConfig, StageRun

LOOP = LoopConfig(steps=10)
DATA = DataConfig(root=Path("data"))


def loop(**options: Any) -> LoopConfig:
    return LoopConfig(
        **{"steps": 100, "learning_rate": 8.0, "warmup_steps": 4, "final_ratio": 0.25} | options
    )


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 2.0), (1, 4.0), (3, 8.0), (4, 8.0), (28, 8 * 0.890165), (52, 8 * 0.625), (100, 2.0), (1000, 2.0)],
)
def test_cosine_rate(step: int, rate: float) -> None:
    # A quarter of the decay: 0.25 + 0.75 (1 + cos 45 deg) / 2 = 0.890165; half of it: 0.25 + 0.75 / 2.
    assert loop().rate_at(step) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(("step", "rate"), [(0, 2.0), (3, 8.0), (4, 8.0), (52, 4.0), (100, 2.0), (1000, 2.0)])
def test_exponential_rate(step: int, rate: float) -> None:
    assert loop(schedule="exponential").rate_at(step) == pytest.approx(rate)


def test_rate_without_warm_up_or_with_nothing_else() -> None:
    assert loop(warmup_steps=0).rate_at(0) == 8.0
    assert loop(warmup_steps=0).rate_at(50) == pytest.approx(8 * 0.625)
    assert loop(steps=4).rate_at(3) == 8.0
    assert loop(steps=2).rate_at(1) == 4.0
    assert loop(final_ratio=1.0).rate_at(77) == 8.0


def test_rate_falls_and_stays_positive() -> None:
    for schedule in ("cosine", "exponential"):
        rates = [loop(schedule=schedule).rate_at(step) for step in range(4, 100)]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] > 2.0  # the last step is one before the end of the schedule


@pytest.mark.parametrize("name", ["steps", "batch_size", "accumulation", "log_every", "checkpoint_every"])
def test_counts_are_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        loop(**{name: 0})


@pytest.mark.parametrize("options", [{"learning_rate": 0.0}, {"final_ratio": 0.0}, {"final_ratio": 1.5}])
def test_rates_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"learning_rate must be positive and final_ratio in \(0, 1\], got"):
        loop(**options)


def test_variants_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="variants must be at least 1, got 0"):
        DataConfig(root=Path("data"), variants=0)


@pytest.mark.parametrize(
    ("stage", "given", "message"),
    [
        (1, "", r"stage 1 needs either codec \(a new model\) or init"),
        (1, "codec init", "stage 1 needs either codec"),
        (2, "", "stage 2 needs init, the pipeline written by stage 1"),
        (2, "codec", "stage 2 needs init"),
        (2, "codec init", "no codec: init has it"),
    ],
)
def test_a_stage_needs_what_was_before_it(stage: Any, given: str, message: str) -> None:
    options: dict[str, Any] = {"stage": stage, "data": DATA, "loop": LOOP, "out": Path("out")}
    with pytest.raises(ValueError, match=message):
        StageRun(**options, **dict.fromkeys(given.split(), Path("there")))


@pytest.mark.parametrize(("stage", "given"), [(1, "codec"), (1, "init"), (2, "init")])
def test_a_stage_with_what_it_needs(stage: Any, given: str) -> None:
    options: dict[str, Any] = {"stage": stage, "data": DATA, "loop": LOOP, "out": Path("out")}
    assert getattr(StageRun(**options, **{given: Path("there")}), given) == Path("there")


@pytest.mark.parametrize("kind", [LoopConfig, DataConfig, CodecRun, StageRun])
def test_every_option_is_frozen_named_and_described(kind: type) -> None:
    assert dataclasses.fields(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind))
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        kind(step=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        LOOP.steps = 3  # type: ignore[misc]
