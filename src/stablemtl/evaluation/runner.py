"""Scores a model on every benchmark of a data folder."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stablemtl.data.catalog import PARTS, DatasetInfo, datasets_in
from stablemtl.data.prepared import open_prepared
from stablemtl.data.sample import Dataset, EmptySplitError
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.predictor import PipelinePredictor
from stablemtl.evaluation.protocols import PAPER, benchmarks_of, native_benchmark
from stablemtl.evaluation.ranks import Alone, Ranks
from stablemtl.evaluation.report import Failure, Report
from stablemtl.evaluation.scoring import Progress, score
from stablemtl.names import choose
from stablemtl.tasks import TASKS

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

NATIVE_LIMIT = 60
"""Samples of each benchmark of the ``native`` protocol, unless told otherwise; other protocols take all."""

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A benchmark and the dataset to compute it on, opened as it asks."""

    benchmark: Benchmark
    dataset: Dataset


def evaluate(
    pipe: StableMTLPipeline,
    data: str | os.PathLike[str],
    *,
    protocol: str = "auto",
    split: str = "test",
    limit: int | None = None,
    tasks: Collection[str] | None = None,
    single_stream: bool = False,
    motorcycle: bool = True,
    batch_size: int = 4,
    ranks: Ranks | None = None,
    resamples: int = RESAMPLES,
    on_progress: Progress | None = None,
) -> Report:
    """Score a pipeline on labelled data.

    Args:
        pipe: the model with its codec and encodings.
        data: data folder, see :func:`stablemtl.data.datasets_in`.
        protocol: ``paper``, ``standard`` or ``native``, see :mod:`stablemtl.evaluation.protocols`; ``auto``
            is the paper's for the datasets that it evaluates on, native for others.
        split: ``train``, ``val`` or ``test``.
        limit: samples of each benchmark at most, spread evenly; 0 for all. All by default, but 60 in the
            native protocol.
        tasks: to score; all that the data labels and the model knows by default.
        single_stream: score the auxiliary network's own predictions (StableMTL-S).
        motorcycle: with the native protocol, add a real stereo pair, predicted as users do: at the model's
            default resolution, and scored at the size of the pair.
        batch_size: frames computed together.
        ranks: the processes that share the work, all of which call this; one by default.
        resamples: draws for the confidence intervals.
        on_progress: told after each sample.
    Returns:
        Figures of all benchmarks. Samples and datasets that cannot be read are listed there, and the others
        scored.
    Raises:
        FileNotFoundError: no such folder, or nothing of the split and protocol in it.
        ValueError: a task is unknown to the model or labelled nowhere, a number is out of range, or a
            prediction is not finite.
    """
    start = time.perf_counter()
    if (limit is not None and limit < 0) or batch_size < 1:
        raise ValueError(
            f"limit must be 0 (all) or more and batch_size 1 or more, got {limit} and {batch_size}."
        )
    for task in tasks or ():
        choose("task", task, pipe.tasks)
    ranks = ranks or Alone()
    predictor = PipelinePredictor(pipe, single_stream=single_stream)
    wanted = list(pipe.tasks) if tasks is None else list(tasks)
    jobs, failures = open_benchmarks(data, protocol=protocol, split=split, tasks=wanted)
    if motorcycle and protocol in ("auto", "native"):
        pair = Motorcycle()
        jobs += [Job(native_benchmark(pair.name, t), pair) for t in pair.tasks if t in wanted]
    if tasks is not None and not failures:
        _check_labelled(tasks, {job.benchmark.task for job in jobs}, data, split)
    scores = [
        score(
            job.dataset,
            job.benchmark,
            predictor,
            limit=limit_of(job.benchmark, limit),
            batch_size=batch_size,
            ranks=ranks,
            resamples=resamples,
            on_progress=on_progress,
        )
        for job in jobs
    ]
    return Report(
        model=str(pipe.config.get("_name_or_path") or ""),
        single_stream=single_stream,
        split=split,
        limit=limit,
        device=str(pipe.vae.device),
        dtype=str(pipe.vae.dtype).removeprefix("torch."),
        scores=tuple(scores),
        protocol=protocol,
        failures=tuple(failures),
        seeds=rendering_seeds(data),
        bootstrap={"resamples": resamples, "seed": SEED, "level": LEVEL},
        processes=ranks.count,
        seconds=time.perf_counter() - start,
    )


def open_benchmarks(
    data: str | os.PathLike[str],
    *,
    protocol: str = "auto",
    split: str = "test",
    tasks: Collection[str] = tuple(TASKS),
) -> tuple[list[Job], list[Failure]]:
    """The benchmarks that a data folder allows, and the datasets in it that cannot be opened.

    Args:
        data, protocol, split, tasks: as in :func:`evaluate`.
    Raises:
        FileNotFoundError: no such folder, or nothing of the split and protocol in it.
        ValueError: no such protocol or split.
    """
    if split not in PARTS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(PARTS)}.")
    evaluated = {benchmark.dataset for benchmark in PAPER}
    benchmarks_of(protocol, "", ())  # an unknown protocol is told of before anything is opened
    jobs: list[Job] = []
    failures: list[Failure] = []
    present = datasets_in(data)
    for name, info in present.items():
        if split not in info.splits or (protocol in ("paper", "standard") and name not in evaluated):
            continue
        try:
            jobs += _open(Path(data), info, protocol, split, tasks)
        except EmptySplitError as error:
            if name in evaluated:
                failures.append(_failure(name, error))
            else:
                logger.warning("left out: %s", error)
        except (OSError, ValueError) as error:
            failures.append(_failure(name, error))
    if not jobs and not failures:
        what = f"of the protocol {protocol} " if protocol in ("paper", "standard") else ""
        has = f" It has {', '.join(present)}." if present else ""
        raise FileNotFoundError(
            f"no dataset {what}with a {split} split and the tasks asked for in {os.fspath(data)}.{has}"
        )
    return jobs, failures


def _open(data: Path, info: DatasetInfo, protocol: str, split: str, tasks: Collection[str]) -> list[Job]:
    path, part = data / info.folder, info.splits[split]
    prepared = info.build is open_prepared
    if prepared and protocol in ("paper", "standard"):
        raise ValueError(
            f"{path} holds prepared samples, which have lost their size: the protocol {protocol!r} needs the "
            "download. Give its data folder, or choose --protocol native."
        )
    plain = info.build(path, part)
    chosen = benchmarks_of("native" if prepared else protocol, info.name, tuple(plain.tasks))
    jobs = []
    for benchmark in chosen:
        if benchmark.task in tasks:
            build: Any = info.build  # takes options where the benchmark has some
            dataset = build(path, part, **benchmark.reader) if benchmark.reader else plain
            jobs.append(Job(benchmark, dataset))
    return jobs


def limit_of(benchmark: Benchmark, limit: int | None) -> int:
    """``limit``, or the default of the benchmark's protocol for None."""
    if limit is not None:
        return limit
    return NATIVE_LIMIT if benchmark.protocol == "native" else 0


def rendering_seeds(data: str | os.PathLike[str]) -> dict[str, Any]:
    """Seeds in the recipes (``synth-*.json``) that ``stablemtl synth`` leaves in a data folder, by name."""
    seeds = {}
    for path in sorted(Path(data).glob("synth-*.json")):
        try:
            seeds[path.stem] = json.loads(path.read_text(encoding="utf-8"))["seed"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: no seed can be read (%s)", path.name, error)
    return seeds


def _failure(name: str, error: Exception) -> Failure:
    text = " ".join(str(error).split()) or type(error).__name__
    logger.warning("left out: %s: %s", name, text)
    return Failure(dataset=name, error=text)


def _check_labelled(
    tasks: Collection[str], labelled: Collection[str], data: str | os.PathLike[str], split: str
) -> None:
    missing = sorted(set(tasks) - set(labelled))
    if missing:
        raise ValueError(
            f"nothing in the {split} split of {os.fspath(data)} has labels for {', '.join(missing)}; "
            f"of the tasks asked for, it has {', '.join(sorted(labelled)) or 'none'}."
        )
