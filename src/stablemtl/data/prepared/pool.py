"""Blocks of prepared samples made by several processes, each of which reads for itself."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from stablemtl.data.prepared.block import Job, OnError, make_block
from stablemtl.data.prepared.layout import Block
from stablemtl.processes import run_calls, start_process

_POLL_S = 0.2


class Made(NamedTuple):
    """A finished block."""

    job: int
    block: Block
    seconds: float
    """Time that its process took."""


def make_blocks(
    jobs: Sequence[Job],
    todo: Sequence[tuple[int, int]],
    *,
    workers: int = 1,
    on_error: OnError = "raise",
    on_progress: Callable[[int], object] | None = None,
) -> Generator[Made, None, None]:
    """Make blocks, yielding each when it is done. Closing the generator ends the work within a sample.

    Args:
        jobs: splits to prepare.
        todo: (place in ``jobs``, number of the block).
        workers: processes; 1 works in this one. More are spawned: a script that asks for them needs the usual
            ``if __name__ == "__main__":``.
        on_error: see ``make_block``.
        on_progress: told how many samples are done, now and then.
    Raises:
        SampleError: a sample cannot be read, and ``on_error`` is ``raise``.
        ChildProcessError: a process ended without a word.
    """
    report = on_progress or (lambda done: None)
    workers = min(workers, len(todo))
    return (_in_processes if workers > 1 else _here)(jobs, todo, workers, on_error, report)


def _here(
    jobs: Sequence[Job],
    todo: Sequence[tuple[int, int]],
    workers: int,
    on_error: OnError,
    report: Callable[[int], object],
) -> Generator[Made, None, None]:
    done = 0

    def on_sample() -> None:
        nonlocal done
        done += 1
        report(done)

    for job, number in todo:
        start = time.perf_counter()
        block = make_block(jobs[job], number, on_error=on_error, on_sample=on_sample)
        yield Made(job, block, time.perf_counter() - start)


def _in_processes(
    jobs: Sequence[Job],
    todo: Sequence[tuple[int, int]],
    workers: int,
    on_error: OnError,
    report: Callable[[int], object],
) -> Generator[Made, None, None]:
    # Spawned, not forked: HDF5, OpenCV and torch have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_process, initargs=(tuple(jobs), counter, stop)
    )
    calls = ((job, number, on_error) for job, number in todo)
    try:
        for done in run_calls(pool, _make, calls, processes=workers, poll_s=_POLL_S):
            report(counter.value)
            # What is finished first: a failure ends the run.
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process that prepared samples was ended from outside, perhaps for want of memory. What is "
            "finished is kept: run again, with fewer --workers or a smaller --samples-per-shard."
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker(NamedTuple):
    """What a process was given when it started."""

    jobs: tuple[Job, ...]
    counter: Any
    stop: Any


_worker: _Worker | None = None


class _Stopped(Exception):
    """The run has ended; nobody waits for this block."""


def _make(job: int, number: int, on_error: OnError) -> Made:
    worker = _worker
    assert worker is not None, "set by _start_process"

    def on_sample() -> None:
        with worker.counter.get_lock():
            worker.counter.value += 1
        if worker.stop.is_set():
            raise _Stopped

    if worker.stop.is_set():
        raise _Stopped
    start = time.perf_counter()
    block = make_block(worker.jobs[job], number, on_error=on_error, on_sample=on_sample)
    return Made(job, block, time.perf_counter() - start)


def _start_process(jobs: tuple[Job, ...], counter: Any, stop: Any) -> None:
    import torch

    global _worker
    _worker = _Worker(jobs, counter, stop)
    start_process()
    torch.set_num_threads(1)
