"""Work in processes of their own, which Ctrl-C never interrupts in the middle of a file or a rendering."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from stablemtl.processes import run_calls, start_process
from stablemtl.synth.render import require_mitsuba

Task = TypeVar("Task")

logger = logging.getLogger(__name__)


def in_processes(
    work: Callable[[Task], None], tasks: Iterable[Task], processes: int
) -> Generator[tuple[Task, BaseException | None], None, None]:
    """Call ``work`` with every task, yielding each task when it is done, with what it raised.

    Closing the generator ends the run after the tasks at work. Processes are spawned: a script that calls
    this needs the usual ``if __name__ == "__main__":``.
    """
    # Spawned, not forked: the renderer's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_process)
    try:
        # What is handed over is still done after an interruption.
        for done in run_calls(pool, work, ((task,) for task in tasks), processes=processes):
            for future, (task,) in done.items():
                yield task, future.exception()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    """One thread, also for the renderer, which would give back half a picture if Ctrl-C reached it."""
    start_process()
    try:
        require_mitsuba(threads=1)
    except ImportError:
        logger.debug("no Mitsuba: only worlds that need no renderer can be made")
