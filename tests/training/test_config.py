from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stablemtl.training.config import CodecRun, DataConfig, LoopConfig, StageRun

LOOP = LoopConfig(steps=10)
DATA = DataConfig(root=Path("data"))


def loop(**options: Any) -> LoopConfig:
    """97 steps after the warm-up: the decay takes 96 of them, from step 4 to step 100."""
    return LoopConfig(
        **{"steps": 101, "learning_rate": 8.0, "warmup_steps": 4, "final_ratio": 0.25} | options
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


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_the_last_step_has_the_final_ratio(schedule: Any) -> None:
    for steps in (6, 7, 50, 101):
        config = loop(schedule=schedule, steps=steps)
        rates = [config.rate_at(step) for step in range(4, steps)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == 8.0
        assert rates[-1] == pytest.approx(2.0)
        assert rates[-2] > 2.0


def test_rate_without_warm_up_or_with_nothing_else() -> None:
    assert loop(warmup_steps=0).rate_at(0) == 8.0
    assert loop(warmup_steps=0).rate_at(50) == pytest.approx(8 * 0.625)
    assert loop(warmup_steps=0, steps=1).rate_at(0) == 8.0
    assert loop(steps=5).rate_at(4) == 8.0
    assert loop(steps=4).rate_at(3) == 8.0
    assert loop(steps=2).rate_at(1) == 4.0
    assert loop(final_ratio=1.0).rate_at(77) == 8.0


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "accumulation", "log_every", "checkpoint_every", "keep_last"]
)
def test_counts_are_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        loop(**{name: 0})


@pytest.mark.parametrize("options", [{"learning_rate": 0.0}, {"final_ratio": 0.0}, {"final_ratio": 1.5}])
def test_rates_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"learning_rate must be positive and final_ratio in \(0, 1\], got"):
        loop(**options)


@pytest.mark.parametrize("name", ["warmup_steps", "preview_every", "seed"])
def test_counts_that_may_be_zero(name: str) -> None:
    loop(**{name: 0})
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        loop(**{name: -1})


@pytest.mark.parametrize("options", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"eps": 0.0}])
def test_averages_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"betas must be in \[0, 1\) and eps positive, got"):
        loop(**options)


def test_moving_average_out_of_range() -> None:
    with pytest.raises(
        ValueError, match=r"ema must be in \[0, 1\), got 1.0; 0.9999 averages over about 10,000"
    ):
        loop(ema=1.0)


@pytest.mark.parametrize("name", ["optimizer", "schedule", "mixed_precision"])
def test_unknown_choice(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'other'"):
        loop(**{name: "other"})


def test_variants_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="variants must be at least 1, got 0"):
        DataConfig(root=Path("data"), variants=0)


@pytest.mark.parametrize(
    ("stage", "given", "message"),
    [
        (1, "", r"stage 1 needs either codec .*, base .* or init .*, got none"),
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
