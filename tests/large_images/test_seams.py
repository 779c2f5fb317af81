"""The measure of seams."""

from __future__ import annotations

import numpy as np
import pytest

from stablemtl.large_images import seam_error


def test_a_slope_has_no_seams() -> None:
    values = np.linspace(0, 1, 12)[:, None] + np.linspace(0, 3, 20)
    assert seam_error(values, [4], [7, 14]) == pytest.approx(0, abs=1e-12)


def test_a_step_at_a_border() -> None:
    values = np.tile(np.linspace(0, 1, 11), (4, 1))
    values[:, 5:] += 1  # jumps of 0.1, and 1.1 at the border; range 2
    assert seam_error(values, [], [5]) == pytest.approx(1.0 / 2)
    assert seam_error(values, [], [3]) == pytest.approx((0.1 - (8 * 0.1 + 1.1) / 9) / 2)
    assert seam_error(values.T, [5], []) == pytest.approx(1.0 / 2)


def test_channels_are_averaged() -> None:
    values = np.zeros((4, 6, 2))
    values[:, 3:, 0] = 1
    assert seam_error(values, [], [3]) == pytest.approx(0.5)


def test_changes_of_class() -> None:
    ids = np.zeros((4, 6), dtype=np.int64)
    ids[:3, 2:] = 7
    assert seam_error(ids, [], [2]) == pytest.approx(0.75)


def test_places_without_a_value_do_not_count() -> None:
    values = np.tile(np.linspace(0, 1, 11), (4, 1))
    values[0, 5] = np.nan
    assert seam_error(values, [], [5]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("values", "columns"), [(np.ones((4, 5)), [2]), (np.arange(20.0).reshape(4, 5), [])])
def test_nothing_to_measure(values, columns) -> None:
    assert seam_error(values, [], columns) == 0
