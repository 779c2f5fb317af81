"""Our figures against those of the published metric functions on random maps; see ``published_metrics``."""

from __future__ import annotations

from typing import Any

import pytest

from stablemtl.tasks import TASKS

METRIC_OPTIONS: dict[str, dict[str, Any]] = {"depth.diode": {"min_depth_m": 0.6, "max_depth_m": 350.0}}


@pytest.mark.parametrize("one_by_one", [False, True], ids=["batch", "single images"])
def test_figures_equal_the_published_ones(published_case: Any, one_by_one: bool) -> None:
    metric = TASKS[published_case.task].metric(**METRIC_OPTIONS.get(published_case.name, {}))
    arguments = (published_case.pred, published_case.target, published_case.valid)
    for chunk in zip(*(a.split(1) for a in arguments), strict=True) if one_by_one else [arguments]:
        metric.update(*chunk)
    ours = metric.compute()
    expected = published_case.expected
    assert {name: ours[name] for name in expected} == pytest.approx(expected, rel=1e-4)
