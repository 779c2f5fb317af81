"""The seven tasks. To add one: a file in this folder, a line in ``_BUILDERS``, a test file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from stablemtl.names import choose
from stablemtl.tasks import albedo, depth, normal, optical_flow, scene_flow, semantic, shading
from stablemtl.tasks.base import Metric, Task, TaskSpec

__all__ = ["TASKS", "Metric", "Task", "TaskSpec", "build_task", "build_tasks"]

_BUILDERS: dict[str, Callable[..., Task]] = {
    "semantic": semantic.build,
    "normal": normal.build,
    "depth": depth.build,
    "optical_flow": optical_flow.build,
    "scene_flow": scene_flow.build,
    "shading": shading.build,
    "albedo": albedo.build,
}


def build_task(name: str, **options: Any) -> Task:
    """The task of that name with an encoding of your choice.

    >>> build_task("depth", encoding="log", near_m=0.5, far_m=80.0).spec.unit
    'm'

    Args:
        name: a key of ``TASKS``.
        options: parameters of the encoding, as in :attr:`Task.options`; the published ones where left out.
    Raises:
        ValueError: unknown name, unknown option, or a value that makes no sense.
    """
    builder = choose("task", name, _BUILDERS)
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            choices = f"choose from {', '.join(known)}" if known else "it has none"
            raise ValueError(f"unknown option {option!r} of task {name!r}; {choices}")
    return builder(**options)


def build_tasks(options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Task]:
    """All tasks in the published order, some with other encodings.

    Args:
        options: task name -> parameters of its encoding, as in :attr:`Task.options`.
    Raises:
        ValueError: unknown name, unknown option, or a value that makes no sense.
    """
    options = options or {}
    for name in options:
        choose("task", name, _BUILDERS)
    return {name: build_task(name, **options.get(name, {})) for name in _BUILDERS}


TASKS: dict[str, Task] = build_tasks()
"""The tasks by name, in the published order and with the published encodings."""
