"""Processes that Ctrl-C never interrupts in the middle of a file; the one that started them decides.

A terminal sends Ctrl-C to all processes. These do not see it, and end with the process that started them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_calls(
    pool: ProcessPoolExecutor,
    work: Callable[..., Result],
    calls: Iterable[tuple[Any, ...]],
    *,
    processes: int,
    poll_s: float | None = None,
) -> Generator[dict[Future[Result], tuple[Any, ...]], None, None]:
    """Hand calls to a pool, one more than can run, which keeps all busy. The caller shuts it down.

    Args:
        pool: its processes begin with ``start_process``.
        work: called in the pool.
        calls: the arguments of each call, taken when there is room for it.
        processes: how many the pool has.
        poll_s: yield at the latest after this time [s]; ``None`` waits until a call is done.
    Yields:
        The calls that are done, with their futures, in the order of ``calls``; none after ``poll_s``.
    """
    waiting = iter(calls)
    running: dict[Future[Result], tuple[Any, ...]] = {}
    while True:
        while len(running) <= processes and (call := next(waiting, None)) is not None:
            with interrupts_blocked():
                running[pool.submit(work, *call)] = call
        if not running:
            return
        done, _ = wait(running, timeout=poll_s, return_when=FIRST_COMPLETED)
        yield {future: running.pop(future) for future in [one for one in running if one in done]}


def start_process() -> None:
    """Prepare a new process: OpenCV on one thread, deaf to Ctrl-C, ends with the process that started it."""
    import cv2

    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes started in here never see Ctrl-C, not even before ``start_process``."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and unblocks then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
