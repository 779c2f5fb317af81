"""How processes share an evaluation: each scores a part of the samples, all know all of the results."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Ranks(Protocol):
    """The processes of a run, seen from one of them."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def gather(self, items: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other, on each of them. To be called by all."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0
    count: int = 1

    def gather(self, items: list[Any]) -> list[Any]:
        """The list itself."""
        return items


class Launched:
    """The processes that ``accelerate launch`` or ``torchrun`` started.

    Args:
        cpu: compute on the CPU although there is a GPU.
    """

    def __init__(self, *, cpu: bool = False) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=cpu)
        self.rank: int = self._state.process_index
        self.count: int = self._state.num_processes

    @property
    def device(self) -> str:
        """Where this process computes."""
        return str(self._state.device)

    def gather(self, items: list[Any]) -> list[Any]:
        """See :class:`Ranks`."""
        from accelerate.utils import gather_object

        gathered: list[Any] = gather_object(items)
        return gathered

    def close(self) -> None:
        """Part from the others; nothing can be gathered afterwards."""
        self._state.destroy_process_group()


def launched() -> bool:
    """Whether this is one of several processes of a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@dataclass(frozen=True)
class _Outcome:
    """What a process has done, or what went wrong there."""

    rank: int
    result: Any = None
    error: str | None = None


def share(ranks: Ranks, work: Callable[[], Result]) -> list[Result]:
    """Do ``work`` on every process, and give the results of all to all, in the order of the ranks.

    What goes wrong on one process is raised on all of them: none waits for one that is gone.

    Raises:
        Exception: what ``work`` raised here.
        ValueError: ``work`` raised an error on another process.
    """
    failure: Exception | None = None
    try:
        mine = _Outcome(ranks.rank, work())
    except Exception as error:
        failure, mine = error, _Outcome(ranks.rank, error=f"{type(error).__name__}: {error}")
    outcomes: list[_Outcome] = sorted(ranks.gather([mine]), key=lambda outcome: outcome.rank)
    if failure is not None:
        raise failure
    for outcome in outcomes:
        if outcome.error is not None:
            raise ValueError(f"process {outcome.rank}: {outcome.error}")
    return [outcome.result for outcome in outcomes]
