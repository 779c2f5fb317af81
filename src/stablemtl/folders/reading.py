"""Pictures read ahead by threads, each once, with a bound on what is held in memory."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stablemtl.folders.jobs import Job
from stablemtl.folders.results import InputRecord, describe_input

if TYPE_CHECKING:
    from stablemtl.frames import FrameSource

AHEAD_BYTES = 256 * 2**20
"""Pictures are read ahead as long as they take no more memory than this together [bytes]."""


@dataclass(kw_only=True, eq=False)
class Picture:
    """A picture that was read."""

    path: Path
    content: FrameSource
    """Its pixels; or its latent, once it was encoded to be used again."""
    record: InputRecord
    size: tuple[int, int]
    """(height, width) [px]."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A job with its pictures, or why they could not be read."""

    job: Job
    image: Picture | None = None
    image_next: Picture | None = None
    error: Exception | None = None


class ReadAhead:
    """Gives the jobs in their order, with their pictures. A context: leaving it ends the threads.

    A picture that the next jobs name again, as the frames of a sequence are, is not read twice.

    Args:
        jobs: what to read for.
        threads: pictures read at the same time.
        jobs_ahead: at most so many jobs are read for before they are asked for.
    """

    def __init__(self, jobs: Iterable[Job], *, threads: int = 2, jobs_ahead: int = 4) -> None:
        self._waiting = iter(jobs)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._jobs_ahead = jobs_ahead
        self._submitted: deque[Job] = deque()
        self._futures: dict[Path, Future[Picture]] = {}
        self._bytes: dict[Path, int] = {}
        self._next: Job | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Reading]:
        while True:
            self._fill()
            if not self._submitted:
                return
            job = self._submitted.popleft()
            yield self._read(job)

    def is_named_again(self, picture: Picture) -> bool:
        """Whether one of the next jobs, as far as they were read for, takes this picture too."""
        return self._waits_for(picture.path)

    def _waits_for(self, path: Path) -> bool:
        return any(path in (job.image, job.image_next) for job in self._submitted)

    def _fill(self) -> None:
        while len(self._submitted) <= self._jobs_ahead:
            if self._next is None:
                self._next = next(self._waiting, None)
            if self._next is None:
                return
            paths = [path for path in _paths(self._next) if path not in self._futures]
            sizes = {path: _decoded_bytes(path) for path in paths}
            if self._submitted and sum(sizes.values()) + sum(self._bytes.values()) > AHEAD_BYTES:
                return
            self._bytes |= sizes
            self._futures |= {path: self._pool.submit(_read_picture, path) for path in paths}
            self._submitted.append(self._next)
            self._next = None

    def _read(self, job: Job) -> Reading:
        pictures: list[Picture] = []
        problem: Exception | None = None
        for path in _paths(job):
            try:
                pictures.append(self._futures[path].result())
            except Exception as error:  # whatever a decoder raises, it is about this picture
                problem = problem or error
        for path in set(_paths(job)):
            if not self._waits_for(path):
                del self._futures[path], self._bytes[path]
        if problem is not None:
            return Reading(job=job, error=problem)
        return Reading(job=job, image=pictures[0], image_next=pictures[1] if len(pictures) > 1 else None)


def _paths(job: Job) -> list[Path]:
    return [path for path in (job.image, job.image_next) if path is not None]


def _read_picture(path: Path) -> Picture:
    from stablemtl.images import read_pixels

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    record = describe_input(path, path.as_posix())
    pixels = read_pixels(path, name="picture")  # (H, W, 1 or 3)
    return Picture(path=path, content=pixels, record=record, size=(pixels.shape[0], pixels.shape[1]))


def _decoded_bytes(path: Path) -> int:
    """About what the picture takes once it is read, from its head; 0 if that cannot be told."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return picture.width * picture.height * max(3, len(picture.getbands()))
    except Exception:  # reading it says what is wrong
        return 0
