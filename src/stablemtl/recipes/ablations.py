"""The paper's ablations: each is a name and one line of difference from a recipe of stage 1 or stage 2.

Source: StableMTL (arXiv 2506.08013), tables 3, 4 and 5, figures 5 and 6, and the text of section 4.2. Tables
3 to 5 were run with two heads; here the ablations differ from their stage in what they ablate alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from stablemtl.names import TASK_NAMES, choose
from stablemtl.recipes.full import BASE
from stablemtl.training.adaptive import AdaptiveConfig
from stablemtl.training.config import StageRun


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A change of a run."""

    what: str
    """One line: what differs, and where the paper has it."""
    stages: tuple[int, ...]
    """Stages that it changes; a change of stage 1 needs its own stage 1 and stage 2 after it."""
    change: Callable[[StageRun], StageRun]
    """The run with the difference."""


def ablation(run: StageRun, name: str) -> StageRun:
    """``run`` with the difference of an ablation, in folders of its own.

    Raises:
        ValueError: unknown ablation, or one of another stage.
    """
    chosen = choose("ablation", name, ABLATIONS)
    if run.stage not in chosen.stages:
        raise ValueError(
            f"{name} is an ablation of stage {chosen.stages[0]}, got a run of stage {run.stage}."
        )
    folder = run.out.name.removesuffix("-fresh")
    changed = replace(chosen.change(run), out=run.out.with_name(f"{folder}-{name}"))
    if run.stage == 2 and 1 in chosen.stages and run.init is not None:
        first = run.init.parent
        changed = replace(changed, init=first.with_name(f"{first.name}-{name}") / run.init.name)
    return changed


def _attention(**fields: Any) -> Callable[[StageRun], StageRun]:
    def change(run: StageRun) -> StageRun:
        assert run.task_attention is not None, "stage 2 has one"
        return replace(run, task_attention=replace(run.task_attention, **fields))

    return change


def _without(dataset: str, tasks: Collection[str]) -> Callable[[StageRun], StageRun]:
    """Tasks that no longer learn from a dataset; the weights of the others stay in proportion."""

    def change(run: StageRun) -> StageRun:
        pairs = run.data.pairs
        if pairs is None:
            from stablemtl.data import STABLEMTL_PAIRS  # takes long to import

            pairs = STABLEMTL_PAIRS
        kept = tuple(pair for pair in pairs if not (pair[0] == dataset and pair[1] in tasks))
        return replace(run, data=replace(run.data, pairs=kept))

    return change


def _tasks(names: tuple[str, ...]) -> Callable[[StageRun], StageRun]:
    return lambda run: replace(run, tasks=names)


def _accumulate(run: StageRun) -> StageRun:
    """Tasks can only meet in a step of several micro-batches."""
    loop = run.loop
    if loop.accumulation == 1:
        loop = replace(loop, accumulation=2, batch_size=max(1, loop.batch_size // 2))
    return replace(run, loop=loop, data=replace(run.data, isolated=False))


def _base_of(run: StageRun) -> str | None:
    """The base model that stage 1 started from; none for small models, which start from random weights."""
    return BASE if run.data.size is None else None


_FLOWS, _GEOMETRY = ("optical_flow", "scene_flow"), ("normal", "depth")

ABLATIONS: dict[str, Ablation] = {
    "no-isolation": Ablation(
        what="Tasks meet in one optimizer step (figure 5: -2.54 Delta_m).",
        stages=(1,),
        change=_accumulate,
    ),
    "second-frame-average": Ablation(
        what="The average of both frames instead of the frame twice (section 4.2: -4.11 Delta_m).",
        stages=(1,),
        change=lambda run: replace(run, second_frame="average"),
    ),
    "second-frame-zero": Ablation(
        what="Zeros instead of the repeated frame (section 4.2: -2.72 Delta_m).",
        stages=(1,),
        change=lambda run: replace(run, second_frame="zero"),
    ),
    "flows-without-vkitti2": Ablation(
        what="Flows from the other datasets only (table 3, row 2).",
        stages=(1, 2),
        change=_without("vkitti2", _FLOWS),
    ),
    "flows-without-flyingthings3d": Ablation(
        what="Flows without FlyingThings3D (table 3, row 3).",
        stages=(1, 2),
        change=_without("flyingthings3d", _FLOWS),
    ),
    "geometry-without-vkitti2": Ablation(
        what="Normals and depth from Hypersim only (table 3, row 4).",
        stages=(1, 2),
        change=_without("vkitti2", _GEOMETRY),
    ),
    "geometry-without-hypersim": Ablation(
        what="Normals and depth from Virtual KITTI 2 only (table 3, row 5).",
        stages=(1, 2),
        change=_without("hypersim", _GEOMETRY),
    ),
    **{
        f"tasks{count}": Ablation(
            what=f"The first {count} tasks alone, a growing set (figure 6; the order is ours).",
            stages=(1, 2),
            change=_tasks(TASK_NAMES[:count]),
        )
        for count in range(2, len(TASK_NAMES))
    },
    "shared-projections": Ablation(
        what="One set of query, key and value projections for all tasks (table 4).",
        stages=(2,),
        change=_attention(shared_projections=True),
    ),
    "no-single-stream-init": Ablation(
        what="The main UNet starts where stage 1 started, not where it ended (table 4).",
        stages=(2,),
        change=lambda run: replace(run, main_from="start", base=_base_of(run)),
    ),
    **{
        f"heads{count}": Ablation(
            what=f"Task attention with {count} head{'s' if count > 1 else ''} (section 4.2).",
            stages=(2,),
            change=_attention(heads=count),
        )
        for count in (1, 2, 8)
    },
    **{
        f"rho{round(100 * rho):02d}": Ablation(
            what=f"A task is hidden with probability {rho} (table 5).",
            stages=(2,),
            change=_attention(mask_probability=rho),
        )
        for rho in (0.0, 0.2, 0.6, 0.8)
    },
    **{
        f"mask-{name}": Ablation(
            what=f"What is hidden: {what} (table 5).", stages=(2,), change=_attention(masking=masking)
        )
        for name, masking, what in (
            ("random-k", "random_k", "a random number of tasks"),
            ("argmax", "highest", "the task with the highest attention"),
            ("uniform", "uniform", "a task drawn evenly"),
        )
    },
    "mask-per-location": Ablation(
        what="Masks drawn for every token, as the paper writes it; the released code draws one per block.",
        stages=(2,),
        change=_attention(mask_granularity="location"),
    ),
    "adaptive": Ablation(
        what="Tasks that learn slowly get more steps: not in the paper, its stated future work.",
        stages=(1, 2),
        change=lambda run: replace(run, adaptive=AdaptiveConfig()),
    ),
}
"""Name to change. Without multi-stream (table 4) is stage 1 itself."""
