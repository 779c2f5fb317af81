"""Many pictures to many folders of maps, going on where an earlier run ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from stablemtl.folders.jobs import Job
from stablemtl.folders.predictor import Predictor
from stablemtl.folders.results import Books, Result, are_there, is_unchanged, open_books
from stablemtl.folders.work import Worker

OnResult: TypeAlias = "Callable[[Result, int, int], None]"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a run."""

    results: tuple[Result, ...]
    """Those of this run's pictures, in their order; fewer than pictures if the run was stopped."""
    pictures: int
    """How many there were, those finished earlier included."""
    table: Path
    """``results.parquet``."""

    def count(self, status: str) -> int:
        """How many pictures have this status."""
        return sum(result.status == status for result in self.results)

    @property
    def failures(self) -> tuple[Result, ...]:
        """Pictures that could not be predicted."""
        return tuple(result for result in self.results if not result.finished)


def predict_folder(
    predictor: Predictor,
    jobs: Sequence[Job],
    out: Path,
    *,
    base: Path,
    model: str,
    weights: str,
    batch_size: int = 4,
    overwrite: bool = False,
    fail_fast: bool = False,
    on_result: OnResult | None = None,
) -> Summary:
    """Predict the jobs and write each one's maps to its folder below ``out``.

    A job is skipped if the books say that an earlier run has finished it from the same pictures, with the
    same model and options, and its files are there with their sizes. A picture that cannot be used is a row
    with its error, and does not stop the others.

    Args:
        predictor: how to predict and write.
        jobs: what to predict.
        out: folder of the results; made if missing.
        base: folder that the jobs' names count from.
        model: what the model is called.
        weights: what tells its files from others, see ``model_fingerprint``.
        batch_size: pictures of one size computed together.
        overwrite: predict again what is finished.
        fail_fast: stop at the first picture that cannot be used.
        on_result: called after each picture with its result, and with how many of how many are done.
    Raises:
        BlockingIOError: another run writes into ``out``.
        OSError: results cannot be written; what is finished is kept, and the same call goes on from there.
        ValueError: ``batch_size`` below 1, or ``out`` has results of other pictures under the same names.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
    done: dict[str, Result] = {}

    def report(result: Result) -> None:
        done[result.output] = result
        if on_result is not None:
            on_result(result, len(done), len(jobs))

    with open_books(out) as books:
        options = predictor.options.fingerprint()
        todo = []
        for job in jobs:
            _remove_leftovers(out / job.output)
            earlier = books.results.get(job.output)
            if earlier is not None and not overwrite:
                _check_owner(job, earlier, base, out)
                if is_finished(job, earlier, out, weights=weights, options=options):
                    continue
            todo.append(job)
        for result in _skipped(jobs, todo, books):
            report(result)

        def keep(result: Result) -> None:
            before = books.results.get(result.output)
            books.record(result)
            if before is not None and result.finished:
                _remove_old(before, result, out)
            report(result)

        worker = Worker(
            predictor,
            out,
            base=base,
            model=model,
            weights=weights,
            batch_size=batch_size,
            fail_fast=fail_fast,
            keep=keep,
        )
        try:
            worker.predict(todo)
        finally:
            table = books.save(order=[job.output for job in jobs])
    ordered = tuple(done[job.output] for job in jobs if job.output in done)
    return Summary(results=ordered, pictures=len(jobs), table=table)


def is_finished(job: Job, earlier: Result, out: Path, *, weights: str, options: str) -> bool:
    """Whether the job need not be done: ``earlier`` is its result, and the files are there."""
    return (
        earlier.finished
        and (earlier.weights, earlier.options) == (weights, options)
        and are_there(out / job.output, earlier.files)
        and is_unchanged(job.image, earlier.image)
        and is_unchanged(job.image_next, earlier.image_next)
    )


def _check_owner(job: Job, earlier: Result, base: Path, out: Path) -> None:
    """Refuses to write over the maps of a picture from another folder."""
    if earlier.finished and earlier.base != base.as_posix() and not is_unchanged(job.image, earlier.image):
        raise ValueError(
            f"{out / job.output} has the maps of {earlier.base}/{earlier.name}, and {job.image} is another "
            "picture. Choose another --out, or add --overwrite."
        )


def _skipped(jobs: Sequence[Job], todo: Sequence[Job], books: Books) -> list[Result]:
    to_do = {job.output for job in todo}
    found = []
    for job in jobs:
        if job.output not in to_do:
            books.results[job.output] = replace(books.results[job.output], status="skipped")
            found.append(books.results[job.output])
    return found


def _remove_leftovers(folder: Path) -> None:
    """Delete what a killed run has left beside ``folder``: half-written results under another name."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}-[0-9a-f]{{8}}")
    if folder.parent.is_dir():
        for path in folder.parent.glob(".*-*"):
            if pattern.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _remove_old(before: Result, now: Result, out: Path) -> None:
    """Delete files of the earlier result that the new one does not have, if they were not changed since."""
    kept = {file.name for file in now.files}
    for file in before.files:
        path = out / now.output / file.name
        if file.name not in kept and path.is_file() and path.stat().st_size == file.bytes:
            path.unlink()
