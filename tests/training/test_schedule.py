from __future__ import annotations

import pytest

from stablemtl.training.config import LoopConfig
from stablemtl.training.schedule import published_factor


@pytest.mark.parametrize(
    ("step", "rate"),  # step from 1, as the released code counts; peak 1e-4, two micro-batches
    [(1, 5.0e-7), (101, 9.99908e-5), (10_000, 1.60273e-5), (11_000, 1.33210e-5), (20_000, 2.52143e-6)],
)
def test_published_rate(step: int, rate: float) -> None:
    config = LoopConfig(steps=20_000, accumulation=2, schedule="published")
    assert config.rate_at(step - 1) == pytest.approx(rate, rel=5e-6)


def test_the_first_step_without_accumulation_has_a_rate_of_zero() -> None:
    assert published_factor(0) == 0.0
    assert published_factor(1) == pytest.approx(0.01)
    assert published_factor(100) == 1.0


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_published_end(accumulation: int) -> None:
    assert published_factor(24_000, accumulation) > 0.01
    assert published_factor(25_000, accumulation) == pytest.approx(0.01)
    assert published_factor(60_000, accumulation) == pytest.approx(0.01)


def test_the_published_curve_does_not_look_at_the_run() -> None:
    a = LoopConfig(steps=10, schedule="published", warmup_steps=3, final_ratio=0.5)
    b = LoopConfig(steps=99, schedule="published")
    assert [a.rate_at(step) for step in range(300)] == [b.rate_at(step) for step in range(300)]
