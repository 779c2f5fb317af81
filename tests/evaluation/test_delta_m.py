"""Delta_m by hand, and what it refuses; ``test_published.py`` has the paper's tables."""

from __future__ import annotations

import math

import pytest

from stablemtl.evaluation import delta_m

FULL = {"semantic": 55.0, "normal": 20.0, "depth": [8.0, 22.0], "albedo": 0.2}
SINGLE = {"semantic": 50.0, "normal": 25.0, "depth": [10.0, 20.0], "albedo": 0.25}


def test_by_hand() -> None:
    # semantic +10 %; depth: +20 % and -10 %, hence +5 % as one task
    result = delta_m({"semantic": 0.55, "depth": (8, 22)}, {"semantic": 0.5, "depth": (10, 20)})
    assert result == pytest.approx((10 + 5) / 2)


def test_order_of_tasks_does_not_matter() -> None:
    backwards = dict(reversed(FULL.items()))
    assert delta_m(backwards, SINGLE) == pytest.approx(delta_m(FULL, SINGLE))
    assert delta_m(FULL, SINGLE) == pytest.approx((10 + 20 + 5 + 20) / 4)


def test_missing_tasks_are_named() -> None:
    full = {"semantic": 1.0, "normal": 2.0, "albedo": 3.0}
    with pytest.raises(ValueError, match="metrics lacks normal, albedo: Delta_m compares the same tasks"):
        delta_m({"semantic": 1.0}, full)
    with pytest.raises(ValueError, match="baseline lacks normal, albedo"):
        delta_m(full, {"semantic": 1.0})
    with pytest.raises(ValueError, match="baseline must hold at least one task, got none"):
        delta_m({}, {})


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(ValueError, match="unknown task 'normals'; choose from albedo, depth, normal"):
        delta_m({"normals": 1.0}, {"normals": 1.0})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_baseline_must_be_above_zero(value: float) -> None:
    with pytest.raises(ValueError, match=rf"baseline\['depth'\] must be finite and above 0, got {value}"):
        delta_m({"depth": [1.0, 1.0]}, {"depth": [1.0, value]})


def test_figures_must_be_finite() -> None:
    with pytest.raises(ValueError, match=r"metrics\['shading'\] must be finite, got nan"):
        delta_m({"shading": math.nan}, {"shading": 1.0})


def test_test_sets_must_match() -> None:
    with pytest.raises(
        ValueError, match=r"metrics\['depth'\] and baseline\['depth'\] must list the same test sets"
    ):
        delta_m({"depth": 1.0}, {"depth": [1.0, 2.0]})
    with pytest.raises(ValueError, match="a task must have at least one figure, got an empty list"):
        delta_m({"depth": []}, {"depth": []})
