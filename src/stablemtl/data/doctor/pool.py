"""Runs the examination of frames, in this process or in several."""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from stablemtl.data.catalog import DatasetInfo
from stablemtl.data.doctor.examine import examine
from stablemtl.data.doctor.findings import Observation
from stablemtl.data.doctor.opening import open_split
from stablemtl.data.sample import Dataset

FRAMES_PER_WORKER = 200
"""Fewer frames are not worth another process, which takes seconds to start."""

CHUNK = 4
"""Frames that a process takes at a time."""

logger = logging.getLogger(__name__)

Seen = tuple[list[Observation], int]
"""What was seen of a frame, and how many samples were loaded."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """How a process opens a split."""

    info: DatasetInfo
    folder: Path
    split: str

    def open(self) -> Dataset:
        """The dataset; it has been opened before, in the first process."""
        dataset = open_split(self.info, self.folder, self.split).dataset
        if dataset is None:
            raise OSError(
                f"{self.info.name} ({self.split} split) in {self.folder} changed while it was read."
            )
        return dataset


@dataclass(frozen=True, kw_only=True)
class Job:
    """A frame to examine."""

    place: int
    """Which of the places."""
    index: int
    tasks: tuple[str, ...]


def choose_processes(workers: int | None, jobs: int, places: Sequence[Place]) -> int:
    """How many processes read: as many as wanted, or as are worth it."""
    wanted = max(1, min(os.cpu_count() or 1, jobs // FRAMES_PER_WORKER)) if workers is None else workers
    if wanted == 1:
        return 1
    try:
        pickle.dumps(places)
    except Exception as error:  # classes defined in a function, for one
        logger.warning("one process reads: a dataset cannot be sent to others (%s)", error)
        return 1
    return wanted


def run_jobs(
    jobs: Sequence[Job], places: Sequence[Place], datasets: Sequence[Dataset], processes: int
) -> Iterator[Seen]:
    """What is seen of every job, in their order.

    Args:
        jobs: to do.
        places: how to open the splits.
        datasets: the same, open, for this process.
        processes: 1 works here.
    Raises:
        OSError: a process died.
    """
    if processes == 1:
        with _one_thread_and_silent_decoders():
            for job in jobs:
                yield examine(datasets[job.place], job.index, job.tasks, places[job.place].folder)
        return
    # Fresh processes: forking one in which torch runs threads may lock up.
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(places,)
    )
    try:
        yield from pool.map(_work, jobs, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise OSError(
            "a process that read files died, of a damaged file or for lack of memory. Use fewer workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_places: list[Place] = []
_open: dict[int, Dataset] = {}


def _start_worker(places: Sequence[Place]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends them
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    _places[:] = places
    _open.clear()


def _work(job: Job) -> Seen:
    if job.place not in _open:
        _open[job.place] = _places[job.place].open()
    return examine(_open[job.place], job.index, job.tasks, _places[job.place].folder)


@contextmanager
def _one_thread_and_silent_decoders() -> Iterator[None]:
    """Small arrays lose by threads, and OpenCV would print what the report says."""
    messages = cv2.utils.logging
    threads, level, decoders = torch.get_num_threads(), messages.getLogLevel(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    messages.setLogLevel(messages.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(decoders)
        messages.setLogLevel(level)
