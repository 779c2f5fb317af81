"""Names to choose from, without what they stand for: light to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_Option = TypeVar("_Option")

TASK_NAMES = ("semantic", "normal", "depth", "optical_flow", "scene_flow", "shading", "albedo")
"""The keys of :data:`stablemtl.tasks.TASKS`, in its order."""


def choose(kind: str, name: str, choices: Mapping[str, _Option]) -> _Option:
    """``choices[name]``, or an error that lists the choices.

    Raises:
        ValueError: ``name`` is not a key of ``choices``.
    """
    if name not in choices:
        raise ValueError(f"unknown {kind} {name!r}; choose from {', '.join(sorted(choices))}")
    return choices[name]
