"""Confidence intervals over images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stablemtl.evaluation.bootstrap import intervals, quantiles, resampled_sums


def mean(sums: np.ndarray) -> dict[str, float]:
    """Sum and count to a mean."""
    return {"mean": float(sums[0] / sums[1])}


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    """400 values of deviation 2: the mean has a deviation of 0.1, the interval is 1.96 of it to each side."""
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    states = np.stack([values, np.ones(400)], axis=1)
    low, high = intervals(states, mean, resamples=2000)["mean"]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_the_same_seed_gives_the_same_draws() -> None:
    states = np.arange(12.0).reshape(6, 2)
    first, again, other = (list(resampled_sums(states, resamples=5, seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_predictions_get_the_same_draws() -> None:
    """So a constant difference stays constant in every draw."""
    one = np.random.default_rng(0).random((9, 1))
    states = [np.hstack([one + shift, np.ones((9, 1))]) for shift in (0.0, 0.25)]
    draws = [[mean(sums)["mean"] for sums in resampled_sums(s, resamples=50)] for s in states]
    assert np.subtract(draws[1], draws[0]) == pytest.approx(np.full(50, 0.25))


def test_every_draw_has_as_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemtl.evaluation.bootstrap._AT_ONCE", 21)  # three draws at a time
    sums = list(resampled_sums(np.ones((7, 1)), resamples=10))
    assert [value.tolist() for value in sums] == [[7.0]] * 10


def test_one_image_has_no_interval() -> None:
    assert intervals(np.ones((1, 2)), mean) == {}
    assert intervals(np.zeros((0, 0)), mean) == {}


def test_a_figure_that_a_draw_lacks_has_no_interval() -> None:
    assert all(map(math.isnan, quantiles([1.0, math.nan])))
    assert quantiles([1.0, 2.0, 3.0], level=0.5) == (1.5, 2.5)
