"""Reads ahead, computes together what has one size, and writes one batch while the next is computed.

Memory is bounded whatever the number of pictures: those read ahead, those that wait for others of their size,
and the maps of two batches.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stablemtl.folders.jobs import Job
from stablemtl.folders.predictor import Predicted, Predictor
from stablemtl.folders.reading import Picture, ReadAhead, Reading
from stablemtl.folders.results import FileRecord, InputRecord, Result

logger = logging.getLogger(__name__)

BATCH_PIXELS = 8_000_000
"""Pictures computed together have no more pixels than this, as their maps take about 60 bytes a pixel."""


class _Stop(Exception):
    """The first failure of a run that is to stop there."""


@dataclass(frozen=True, eq=False)
class _Written:
    reading: Reading
    seconds: float
    files: Future[tuple[FileRecord, ...]]


class Worker:
    """Does jobs.

    Args:
        predictor: how to predict and write.
        out: folder of the results.
        base: folder that the jobs' names count from.
        model, weights: name and fingerprint of the model, for the results.
        batch_size: pictures of one size computed together.
        fail_fast: stop at the first picture that cannot be used.
        keep: called with each result as soon as its files are there.
    """

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        *,
        base: Path,
        model: str,
        weights: str,
        batch_size: int,
        fail_fast: bool,
        keep: Callable[[Result], None],
    ) -> None:
        self._predictor, self._out, self._base = predictor, out, base
        self._model, self._weights = model, weights
        self._options = predictor.options.fingerprint()
        self._together = batch_size if predictor.computes_together else 1
        self._fail_fast, self._keep = fail_fast, keep
        self._waiting: dict[tuple[object, ...], list[Reading]] = {}
        self._writing: deque[_Written] = deque()

    def predict(self, jobs: Sequence[Job]) -> None:
        """All jobs. If this is interrupted, what was written by then has been kept.

        Raises:
            OSError: results cannot be written.
        """
        writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        try:
            with ReadAhead(jobs, jobs_ahead=self._together) as reader:
                for batch in self._batches(reader):
                    self._do(batch, reader, writer)
            self._collect()
        except _Stop:
            pass
        finally:
            writer.shutdown(wait=True, cancel_futures=True)
            self._collect_what_is_there()

    def _batches(self, reader: ReadAhead) -> Iterator[list[Reading]]:
        """Pictures of one size together; when too many wait, those go that have waited longest."""
        waiting = self._waiting
        for reading in reader:
            problem = _problem(reading)
            if problem is not None:
                self._fail(reading, problem)
                continue
            assert reading.image is not None, "it has no problem"
            height, width = reading.image.size
            key = (height, width, reading.image_next is None)
            group = waiting.setdefault(key, [])
            group.append(reading)
            if len(group) >= min(self._together, max(1, BATCH_PIXELS // (height * width))):
                yield waiting.pop(key)
            elif sum(map(len, waiting.values())) > 2 * self._together:
                yield waiting.pop(next(iter(waiting)))
        while waiting:
            yield waiting.pop(next(iter(waiting)))

    def _do(self, batch: list[Reading], reader: ReadAhead, writer: ThreadPoolExecutor) -> None:
        start = time.perf_counter()
        try:
            predicted = self._predict(batch, reader)
        except Exception as error:  # whatever it is, it must not end the run over the other pictures
            if len(batch) == 1:
                self._fail(batch[0], one_line(error))
                return
            logger.info("%d pictures together: %s; now one after the other", len(batch), one_line(error))
            for reading in batch:
                self._do([reading], reader, writer)
            return
        seconds = (time.perf_counter() - start) / len(batch)
        self._collect()
        for reading, one in zip(batch, predicted, strict=True):
            folder = self._out / reading.job.output
            self._writing.append(
                _Written(reading, seconds, writer.submit(self._predictor.write, one, folder))
            )

    def _predict(self, batch: list[Reading], reader: ReadAhead) -> list[Predicted]:
        if self._predictor.shares_frames:
            for reading in batch:
                if reading.image_next is not None and self._is_used_again(reading.image_next, reader):
                    self._encode(reading.image_next)
        images = [reading.image.content for reading in batch if reading.image is not None]
        nexts = [None if reading.image_next is None else reading.image_next.content for reading in batch]
        predicted = self._predictor.predict(images, nexts)
        for reading, one in zip(batch, predicted, strict=True):
            records = (self._record(reading.image), self._record(reading.image_next))
            one.predictions.source["inputs"] = [record.name for record in records if record is not None]
            one.predictions.source.setdefault("model", self._model)
        return predicted

    def _is_used_again(self, picture: Picture, reader: ReadAhead) -> bool:
        waiting = (reading for group in self._waiting.values() for reading in group)
        return reader.is_named_again(picture) or any(
            picture in (reading.image, reading.image_next) for reading in waiting
        )

    def _encode(self, picture: Picture) -> None:
        """Once, for the pair that it ends and the one that it begins."""
        from stablemtl.frames import Frame

        if not isinstance(picture.content, Frame):
            picture.content = self._predictor.encode(picture.content)

    def _collect(self) -> None:
        """Wait for what is being written."""
        while self._writing:
            written = self._writing.popleft()
            try:
                files = written.files.result()
            except OSError:
                raise  # the disk is full, or not ours to write to: the next picture would not fare better
            except Exception as error:
                self._fail(written.reading, one_line(error))
                continue
            self._keep(self._result(written.reading, "ok", seconds=written.seconds, files=files))

    def _collect_what_is_there(self) -> None:
        """After an interruption."""
        for written in self._writing:
            if not written.files.cancelled() and written.files.exception() is None:
                files = written.files.result()
                self._keep(self._result(written.reading, "ok", seconds=written.seconds, files=files))
        self._writing.clear()

    def _fail(self, reading: Reading, error: str) -> None:
        self._keep(self._result(reading, "failed", error=error))
        if self._fail_fast:
            raise _Stop

    def _result(self, reading: Reading, status: Any, **more: Any) -> Result:
        job = reading.job
        height, width = (0, 0) if reading.image is None else reading.image.size
        return Result(
            name=job.name,
            status=status,
            base=self._base.as_posix(),
            output=job.output,
            height=height,
            width=width,
            model=self._model,
            weights=self._weights,
            options=self._options,
            image=self._record(reading.image),
            image_next=self._record(reading.image_next),
            **more,
        )

    def _record(self, picture: Picture | None) -> InputRecord | None:
        if picture is None:
            return None
        name = Path(os.path.relpath(picture.path, self._base)).as_posix()
        return replace(picture.record, name=name)


def one_line(error: BaseException) -> str:
    """An error for a row of a table."""
    text = " ".join(str(error).split()) or type(error).__name__
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return f"not enough memory: lower --processing-resolution or --batch-size ({text})"
    if isinstance(error, (ValueError, TypeError, OSError, RuntimeError)):
        return text
    return f"unexpected {type(error).__name__}: {text}"


def _problem(reading: Reading) -> str | None:
    """Why the pictures cannot be predicted, as far as that can be told before."""
    if reading.error is not None:
        return one_line(reading.error).replace(f"picture {reading.job.image}", "the picture")
    first, second = reading.image, reading.image_next
    if first is None or second is None or first.size == second.size:
        return None
    sizes = [f"{width}x{height} px" for height, width in (first.size, second.size)]
    return (
        f"its second frame, {second.path.name}, is {sizes[1]} (width x height), the picture {sizes[0]}: "
        "both must have the same size"
    )
