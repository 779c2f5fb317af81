"""Named runs: functions that return a configuration. Every field can be overridden on the command line."""

from __future__ import annotations

from collections.abc import Callable

from stablemtl.names import TASK_NAMES
from stablemtl.recipes.ablations import ABLATIONS, ablation
from stablemtl.recipes.full import single_task, stage1, stage2, tiny_codec
from stablemtl.recipes.nano import (
    NANO_PAIRS,
    NANO_TASK_OPTIONS,
    nano_codec,
    nano_flow,
    nano_single_task,
    nano_stage1,
    nano_stage1_fresh,
    nano_stage2,
    nano_tiny_codec,
)
from stablemtl.training.config import CodecRun, StageRun, TinyCodecRun

__all__ = [
    "ABLATIONS",
    "NANO_PAIRS",
    "NANO_TASK_OPTIONS",
    "RECIPES",
    "ablation",
    "describe",
    "nano_codec",
    "nano_flow",
    "nano_single_task",
    "nano_stage1",
    "nano_stage1_fresh",
    "nano_stage2",
    "nano_tiny_codec",
    "single_task",
    "stage1",
    "stage2",
    "tiny_codec",
]

Recipe = Callable[[], CodecRun | StageRun | TinyCodecRun]


def _single(make: Callable[[str], StageRun], task: str) -> Recipe:
    def recipe() -> StageRun:
        return make(task)

    recipe.__doc__ = (
        f"Single-task model of {task.replace('_', ' ')}, a row of the baseline that Delta_m needs."
    )
    return recipe


def _ablation(base: Callable[[], StageRun], name: str) -> Recipe:
    def recipe() -> StageRun:
        return ablation(base(), name)

    recipe.__doc__ = ABLATIONS[name].what
    return recipe


def _named(prefix: str, first: Callable[[], StageRun], second: Callable[[], StageRun]) -> dict[str, Recipe]:
    """Ablations of both stages, as ``<prefix>stage1-<ablation>`` and ``<prefix>stage2-<ablation>``."""
    stages = {1: first, 2: second}
    return {
        f"{prefix}stage{stage}-{name}": _ablation(stages[stage], name)
        for name, change in ABLATIONS.items()
        for stage in change.stages
    }


RECIPES: dict[str, Recipe] = {
    "stage1": stage1,
    "stage2": stage2,
    **{f"single-{task.replace('_', '-')}": _single(single_task, task) for task in TASK_NAMES},
    **_named("", stage1, stage2),
    "tiny-codec": tiny_codec,
    "nano-codec": nano_codec,
    "nano-flow": nano_flow,
    "nano-stage1": nano_stage1,
    "nano-stage2": nano_stage2,
    "nano-tiny-codec": nano_tiny_codec,
    **{f"nano-single-{task.replace('_', '-')}": _single(nano_single_task, task) for task in TASK_NAMES},
    **_named("nano-", nano_stage1_fresh, nano_stage2),
}
"""Name on the command line to recipe, full size first, each group in the order of use."""


def describe(name: str) -> str:
    """The first line of a recipe's docstring."""
    return (RECIPES[name].__doc__ or "").strip().splitlines()[0]
