from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stablemtl.data import DATASETS, FlyingChairs, FlyingThings3D, Hypersim, VirtualKITTI2
from stablemtl.recipes import NANO_PAIRS, NANO_TASK_OPTIONS, RECIPES, nano_stage2
from stablemtl.tasks import TASKS, build_tasks
from stablemtl.training.config import CodecRun, StageRun

RECIPE = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@RECIPE
def test_recipe(recipe: Callable[[], Any]) -> None:
    run = recipe()
    assert isinstance(run, CodecRun | StageRun)
    assert run == recipe()
    assert set(build_tasks(run.task_options)) == set(TASKS)
    assert {*(run.data.task_weights or ()), *(run.data.tasks or ())} <= set(TASKS)
    assert (recipe.__doc__ or "").splitlines()[0].endswith(".")


@RECIPE
def test_sizes_fill_whole_latent_cells(recipe: Callable[[], Any]) -> None:
    height, width = recipe().data.size
    assert height % 4 == width % 4 == 0


def test_names_are_those_of_the_functions() -> None:
    assert [name.replace("-", "_") for name in RECIPES] == [recipe.__name__ for recipe in RECIPES.values()]


def test_each_run_starts_where_one_before_it_ends() -> None:
    written: set[Any] = set()
    for recipe in RECIPES.values():
        run = recipe()
        if isinstance(run, CodecRun):
            written.add(run.out / "codec")
        else:
            assert (run.codec or run.init) in written
            assert run.out / "pipeline" not in written
            written.add(run.out / "pipeline")


def test_new_models_have_the_encodings_that_the_codec_was_trained_with() -> None:
    runs = [recipe() for recipe in RECIPES.values()]
    new = [run for run in runs if isinstance(run, CodecRun) or run.codec is not None]
    assert len(new) > 1
    assert all(run.task_options == NANO_TASK_OPTIONS for run in new)
    assert all(run.tasks == tuple(TASKS) for run in new if isinstance(run, StageRun))
    assert nano_stage2().task_attention is not None


def test_nano_encodings_have_units() -> None:
    tasks = build_tasks(NANO_TASK_OPTIONS)
    assert [tasks[name].spec.unit for name in ("depth", "optical_flow", "scene_flow")] == ["m", "px", "m"]
    assert all(tasks[name].spec.scale_known for name in ("depth", "optical_flow", "scene_flow"))


def test_nano_pairs_are_labelled_and_cover_all_tasks() -> None:
    labels = {
        name: kind.tasks
        for name, kind in {
            "hypersim": Hypersim,
            "vkitti2": VirtualKITTI2,
            "flyingthings3d": FlyingThings3D,
            "flyingchairs": FlyingChairs,
        }.items()
    }
    assert set(labels) == set(DATASETS)
    assert all(task in labels[name] and weight > 0 for name, task, weight in NANO_PAIRS)
    assert {task for _, task, _ in NANO_PAIRS} == set(TASKS)
    assert len({(name, task) for name, task, _ in NANO_PAIRS}) == len(NANO_PAIRS)
