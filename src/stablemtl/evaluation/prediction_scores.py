"""Scores a folder of predictions on every benchmark that it has files for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from pathlib import Path

from stablemtl.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.prediction_files import FilePredictor, Predicted, check_names
from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.ranks import Alone, Ranks
from stablemtl.evaluation.report import Failure, Report
from stablemtl.evaluation.runner import Job, limit_of, open_benchmarks, rendering_seeds
from stablemtl.evaluation.scoring import Progress, score
from stablemtl.names import choose
from stablemtl.tasks import TASKS

logger = logging.getLogger(__name__)


def evaluate_predictions(
    folder: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    *,
    protocol: str = "auto",
    split: str = "test",
    limit: int | None = None,
    tasks: Collection[str] | None = None,
    motorcycle: bool = True,
    ranks: Ranks | None = None,
    resamples: int = RESAMPLES,
    on_progress: Progress | None = None,
) -> Report:
    """Score files that any tool has written, see :mod:`stablemtl.evaluation.prediction_files`.

    Benchmarks that the folder has no folder for are left out; frames without a file are listed in the report,
    and the others scored.

    Args:
        folder: of the predictions.
        data: data folder; None for the motorcycle alone.
        protocol, split, limit, tasks, motorcycle, ranks, resamples, on_progress: as in
            :func:`stablemtl.evaluation.evaluate`.
    Raises:
        FileNotFoundError: no such folder, or nothing in it can be scored.
        ValueError: an unknown task, a file of another shape or type than its label, or one with a value that
            is not finite.
    """
    start = time.perf_counter()
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be 0 (all) or more, got {limit}.")
    for task in tasks or ():
        choose("task", task, TASKS)
    wanted = list(TASKS) if tasks is None else list(tasks)
    files = FilePredictor(folder)
    jobs: list[Job] = []
    failures: list[Failure] = []
    if data is not None:
        jobs, failures = open_benchmarks(data, protocol=protocol, split=split, tasks=wanted)
    if motorcycle and protocol in ("auto", "native"):
        pair = Motorcycle()
        jobs += [Job(native_benchmark(pair.name, task), pair) for task in pair.tasks if task in wanted]
    failures = [failure for failure in failures if (files.folder / failure.dataset).is_dir()]
    broken = {failure.dataset for failure in failures}
    for name in check_names(files.folder, [job.benchmark for job in jobs]):
        if name not in broken:
            logger.warning("%s: not scored: the data, the protocol or the tasks do not have it", name)
    chosen = [job for job in jobs if files.has(job.benchmark)]
    if not chosen and not failures:
        places = dict.fromkeys(f"{job.benchmark.dataset}/{job.benchmark.task}" for job in jobs)
        raise FileNotFoundError(
            f"{folder} has no predictions of what is to be scored. It must have one of the folders "
            f"{', '.join(places)}."
        )
    scores = [
        score(
            Predicted(job.dataset, files.of(job.benchmark)),
            job.benchmark,
            files.of(job.benchmark),
            limit=limit_of(job.benchmark, limit),
            batch_size=1,
            ranks=ranks,
            resamples=resamples,
            on_progress=on_progress,
        )
        for job in chosen
    ]
    return Report(
        model=files.name,
        single_stream=False,
        split=split,
        limit=limit,
        device="files",
        dtype="as stored",
        scores=tuple(scores),
        protocol=protocol,
        failures=tuple(failures),
        seeds={} if data is None else rendering_seeds(Path(data)),
        bootstrap={"resamples": resamples, "seed": SEED, "level": LEVEL},
        processes=(ranks or Alone()).count,
        seconds=time.perf_counter() - start,
    )
