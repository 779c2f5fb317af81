"""Work in processes of their own, which Ctrl-C never interrupts in the middle of a file or a rendering."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

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
    waiting = iter(tasks)
    running: dict[Future[None], Task] = {}
    try:
        while True:
            # One more than can run keeps all busy; what is handed over is still done after an interruption.
            while len(running) <= processes:
                try:
                    task = next(waiting)
                except StopIteration:
                    break
                with _interrupts_blocked():
                    running[pool.submit(work, task)] = task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [one for one in running if one in done]:  # in the order of the tasks
                yield running.pop(future), future.exception()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started in here never see Ctrl-C.

    A terminal sends it to all processes; this one decides what ends. It must not reach the renderer, which
    would give back a picture that is not complete.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and unblocks then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process() -> None:
    """Prepare a process for scenes: one thread, deaf to Ctrl-C, ends with the process that started it."""
    import cv2

    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        require_mitsuba(threads=1)
    except ImportError:
        logger.debug("no Mitsuba: only worlds that need no renderer can be made")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
