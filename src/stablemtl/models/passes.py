"""Which tasks go through which network together, and which frames they see. Nothing here computes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Self

SecondFrame = Literal["duplicate", "zero", "average"]
"""What tasks of one frame see as the second one."""


@dataclass(frozen=True)
class Passes:
    """The passes of a multi-stream call, each a list of tasks that are computed in one batch."""

    others: list[str]
    """Tasks that some requested task attends to; a single one does not need its own stream."""
    auxiliary: list[list[str]]
    """Passes of the auxiliary network, for ``others``."""
    main: list[list[str]]
    """Passes of the main network, for the requested tasks."""

    @classmethod
    def of(cls, every: Sequence[str], chosen: Sequence[str], batch_tasks: int | None) -> Self:
        """The passes for ``chosen`` of ``every`` task, at most ``batch_tasks`` of them in one; None: all."""
        others = [task for task in every if list(chosen) != [task]]
        return cls(others, chunks(others, batch_tasks), chunks(chosen, batch_tasks))


def chunks(tasks: Sequence[str], limit: int | None) -> list[list[str]]:
    """Consecutive pieces of at most ``limit`` tasks; None for one piece."""
    size = limit or len(tasks)
    return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]


def distinct_inputs(tasks: Sequence[str], pair_tasks: Collection[str]) -> tuple[list[bool], list[int]]:
    """The inputs that tasks share: whether each shows both frames, and which of them each task takes.

    Args:
        tasks: of one pass.
        pair_tasks: those that see both frames; empty if there is nothing to tell them from the others.
    """
    seen = [task in pair_tasks for task in tasks]
    distinct = list(dict.fromkeys(seen))
    return distinct, [distinct.index(both) for both in seen]
