from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from stablemtl.data import CATALOG, PUBLISHED_SIZES, STABLEMTL_PAIRS
from stablemtl.recipes import (
    ABLATIONS,
    NANO_PAIRS,
    NANO_TASK_OPTIONS,
    RECIPES,
    ablation,
    describe,
    nano_stage1_fresh,
    nano_stage2,
    single_task,
    stage1,
    stage2,
)
from stablemtl.tasks import TASKS, build_tasks
from stablemtl.training.config import CodecRun, LoopConfig, StageRun, TinyCodecRun


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    recipe = RECIPES[name]
    run = recipe()
    assert run == recipe()
    if not isinstance(run, TinyCodecRun):  # it takes its model's encodings
        assert set(build_tasks(run.task_options)) == set(TASKS)
    assert {*(run.data.task_weights or ()), *(run.data.tasks or ())} <= set(TASKS)
    assert describe(name).endswith(".")
    assert len(describe(name)) < 100
    if run.data.size is not None:
        assert run.data.size[0] % 4 == run.data.size[1] % 4 == 0  # whole latent cells


def test_recipes_write_to_folders_of_their_own() -> None:
    assert len({recipe().out for recipe in RECIPES.values()}) == len(RECIPES)


def test_each_run_starts_where_another_ends() -> None:
    written = {recipe().out / "pipeline" for recipe in RECIPES.values()} | {Path("runs/nano-codec/codec")}
    for name, recipe in RECIPES.items():
        run = recipe()
        if isinstance(run, StageRun) and run.base is None:
            assert (run.codec or run.init) in written, name


def test_new_models_have_the_encodings_that_the_codec_was_trained_with() -> None:
    runs = [recipe() for recipe in RECIPES.values()]
    new = [run for run in runs if isinstance(run, CodecRun) or (isinstance(run, StageRun) and run.codec)]
    assert len(new) > 1
    assert all(run.task_options == NANO_TASK_OPTIONS for run in new)


def test_nano_encodings_have_units() -> None:
    tasks = build_tasks(NANO_TASK_OPTIONS)
    assert [tasks[name].spec.unit for name in ("depth", "optical_flow", "scene_flow")] == ["m", "px", "m"]
    assert all(tasks[name].spec.scale_known for name in ("depth", "optical_flow", "scene_flow"))


@pytest.mark.parametrize("pairs", [NANO_PAIRS, STABLEMTL_PAIRS], ids=["nano", "published"])
def test_pairs_are_labelled_and_cover_all_tasks(pairs: Any) -> None:
    labels = {name: info.build.tasks for name, info in CATALOG.items() if "train" in info.splits}  # type: ignore[attr-defined]
    assert all(task in labels[name] and weight > 0 for name, task, weight in pairs)
    assert {name for name, _, _ in pairs} == set(labels)
    assert {task for _, task, _ in pairs} == set(TASKS)
    assert len({(name, task) for name, task, _ in pairs}) == len(pairs)


def test_published_numbers() -> None:
    first, second = stage1(), stage2()
    for run, steps in ((first, 20_000), (second, 11_000)):
        loop = run.loop
        assert (loop.steps, loop.batch_size * loop.accumulation) == (steps, 32)
        assert (loop.optimizer, loop.learning_rate, loop.betas, loop.eps) == (
            "adam",
            1e-4,
            (0.9, 0.999),
            1e-8,
        )
        assert (loop.weight_decay, loop.gradient_clip, loop.schedule) == (0.0, 5.0, "published")
        assert loop.rate_at(10_000 - 1) == pytest.approx(1.60273e-5, rel=1e-5)
        assert run.data.size is None
        assert run.data.isolated
        assert not run.balance_losses
        assert run.tasks == tuple(TASKS)
    assert set(PUBLISHED_SIZES) == {"hypersim", "vkitti2", "flyingthings3d"}
    assert second.task_attention is not None
    assert (second.task_attention.heads, second.task_attention.mask_probability) == (4, 0.4)


def difference(a: Any, b: Any, name: str = "") -> dict[str, Any]:
    """Fields of nested dataclasses that differ, by their dotted names."""
    if type(a) is type(b) and hasattr(a, "__dataclass_fields__"):
        found: dict[str, Any] = {}
        for field in fields(a):
            found |= difference(
                getattr(a, field.name), getattr(b, field.name), f"{name}.{field.name}".lstrip(".")
            )
        return found
    return {} if a == b else {name: b}


@pytest.mark.parametrize("name", ABLATIONS)
@pytest.mark.parametrize("bases", [(stage1, stage2), (nano_stage1_fresh, nano_stage2)], ids=["full", "nano"])
def test_an_ablation_changes_what_it_names_and_its_folders(name: str, bases: Any) -> None:
    allowed = {
        "no-isolation": {"data.isolated", "loop.accumulation", "loop.batch_size"},
        "second-frame": {"second_frame"},
        "flows": {"data.pairs"},
        "geometry": {"data.pairs"},
        "tasks": {"tasks"},
        "shared": {"task_attention.shared_projections"},
        "no-single-stream-init": {"main_from", "base"},
        "heads": {"task_attention.heads"},
        "rho": {"task_attention.mask_probability"},
        "mask-per": {"task_attention.mask_granularity"},
        "mask-": {"task_attention.masking"},
        "adaptive": {"adaptive"},
    }
    expected = next(fields for prefix, fields in allowed.items() if name.startswith(prefix))
    for stage in ABLATIONS[name].stages:
        base = bases[stage - 1]()
        changed = ablation(base, name)
        assert changed.out.name == f"{base.out.name.removesuffix('-fresh')}-{name}"
        differing = set(difference(base, changed)) - {"out"}
        if stage == 2:
            own_first = 1 in ABLATIONS[name].stages
            assert ("init" in differing) == own_first
            differing -= {"init"}
        assert differing
        assert differing <= expected


def test_datasets_that_are_removed() -> None:
    run = ablation(stage1(), "flows-without-vkitti2")
    left = [
        pair
        for pair in STABLEMTL_PAIRS
        if pair[:2] not in {("vkitti2", "optical_flow"), ("vkitti2", "scene_flow")}
    ]
    assert list(run.data.pairs or ()) == left
    run = ablation(stage1(), "geometry-without-hypersim")
    assert {pair[:2] for pair in STABLEMTL_PAIRS} - {pair[:2] for pair in run.data.pairs or ()} == {
        ("hypersim", "depth"),
        ("hypersim", "normal"),
    }


def test_tasks_that_meet_in_a_step_need_several_micro_batches() -> None:
    run = ablation(replace(stage1(), loop=LoopConfig(steps=1, batch_size=8)), "no-isolation")
    assert (run.loop.batch_size, run.loop.accumulation, run.data.isolated) == (4, 2, False)
    assert ablation(stage1(), "no-isolation").loop == stage1().loop


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown ablation 'heads3'; choose from adaptive, "):
        ablation(stage2(), "heads3")
    with pytest.raises(ValueError, match="heads1 is an ablation of stage 2, got a run of stage 1"):
        ablation(stage1(), "heads1")
    with pytest.raises(ValueError, match="unknown task 'normals'"):
        single_task("normals")
