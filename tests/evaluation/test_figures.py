"""What figures are: their unit, their direction, and that none of the tables lacks it."""

from __future__ import annotations

import pytest

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.figures import figure_facts, with_unit
from stablemtl.evaluation.protocols import NATIVE, PAPER, STANDARD
from stablemtl.tasks import TASKS


@pytest.mark.parametrize("benchmark", [*PAPER, *STANDARD, *NATIVE], ids=lambda b: f"{b.protocol} {b.name}")
def test_every_figure_of_a_table_is_explained(benchmark: Benchmark) -> None:
    figures = benchmark.metric().compute()
    for name in (benchmark.headline, *benchmark.also):
        assert name in figures
        assert figure_facts(benchmark.task, name).meaning


@pytest.mark.parametrize("task", TASKS)
def test_headlines_have_the_direction_of_the_task(task: str) -> None:
    spec = TASKS[task].spec
    assert figure_facts(task, spec.headline).higher_is_better is spec.higher_is_better


def test_figures_of_one_name_differ_by_task() -> None:
    assert with_unit("depth", "rmse") == "rmse [m]"
    assert with_unit("albedo", "rmse") == "rmse"
    assert figure_facts("optical_flow", "fl_all").better == "lower"
    assert figure_facts("scene_flow", "acc_strict").better == "higher"


def test_unknown_figures() -> None:
    assert figure_facts("depth", "speed").better == ""
    assert with_unit("heat", "kelvin") == "kelvin"
