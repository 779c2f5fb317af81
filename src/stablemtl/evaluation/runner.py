"""Scores a model on every (dataset, task) pair of a data folder, beside what it must beat and what it cannot.

Three rows by the same metric on the same samples: the model; the best constant prediction (see
:mod:`stablemtl.evaluation.trivial`); and the codec's ceiling, the ground truth encoded and decoded again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from stablemtl.data import Dataset, Sample, open_datasets
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.predictor import PipelinePredictor, Predictor
from stablemtl.evaluation.protocols import protocol_for
from stablemtl.evaluation.report import Report, Score, Unreadable
from stablemtl.evaluation.trivial import BestConstant, constant_candidates
from stablemtl.tasks import TASKS
from stablemtl.tasks.base import choose

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with a pair's name, samples done, and samples in all."""


class _Job(NamedTuple):
    dataset: Dataset
    task: str
    predictor: Predictor


def evaluate(
    pipe: StableMTLPipeline,
    data: str | os.PathLike[str],
    *,
    split: str = "test",
    limit: int = 60,
    tasks: Collection[str] | None = None,
    single_stream: bool = False,
    motorcycle: bool = True,
    batch_size: int = 4,
    on_progress: Progress | None = None,
) -> Report:
    """Score a pipeline on held-out data, at the data's own resolution.

    Args:
        pipe: the model with its codec and encodings.
        data: data folder, see :func:`stablemtl.data.open_datasets`.
        split: ``train``, ``val`` or ``test``.
        limit: samples of each pair at most, spread evenly over the split; 0 for all.
        tasks: to score; all that the data labels and the model knows by default.
        single_stream: score the auxiliary network's own predictions (StableMTL-S).
        motorcycle: add a real stereo pair, predicted as users do: at the model's default resolution, and
            scored at the size of the pair.
        batch_size: frames computed together.
        on_progress: told after each sample.
    Returns:
        Figures of all pairs. Samples that cannot be read are listed there, and the others scored.
    Raises:
        FileNotFoundError: no such folder, or nothing of the split in it.
        ValueError: a task is unknown to the model or labelled nowhere, a number is out of range, or a
            prediction is not finite.
    """
    start = time.perf_counter()
    if limit < 0 or batch_size < 1:
        raise ValueError(
            f"limit must be 0 (all) or more and batch_size 1 or more, got {limit} and {batch_size}."
        )
    own_size = PipelinePredictor(pipe, processing_resolution=0, single_stream=single_stream)
    as_user = PipelinePredictor(pipe, processing_resolution=None, single_stream=single_stream)
    wanted = pipe.tasks.keys() if tasks is None else list(tasks)
    for task in wanted:
        choose("task", task, pipe.tasks)
    jobs = [
        _Job(dataset, task, own_size)
        for dataset in open_datasets(data, split).values()
        for task in dataset.tasks
        if task in wanted
    ]
    if motorcycle:
        jobs += [_Job(Motorcycle(), task, as_user) for task in Motorcycle.tasks if task in wanted]
    if tasks is not None:
        _check_labelled(tasks, {job.task for job in jobs}, data, split)
    scores = []
    for job in jobs:
        scores.append(score(*job, limit=limit, batch_size=batch_size, on_progress=on_progress))
    return Report(
        model=str(pipe.config.get("_name_or_path") or ""),
        single_stream=single_stream,
        split=split,
        limit=limit,
        device=str(pipe.vae.device),
        dtype=str(pipe.vae.dtype).removeprefix("torch."),
        scores=tuple(scores),
        seeds=rendering_seeds(data),
        seconds=time.perf_counter() - start,
    )


def score(
    dataset: Dataset,
    task_name: str,
    predictor: Predictor,
    *,
    limit: int = 60,
    batch_size: int = 4,
    on_progress: Progress | None = None,
) -> Score:
    """Score one (dataset, task) pair.

    Args:
        dataset: with labels of the task.
        task_name: name of the task.
        predictor: what is scored.
        limit: samples at most, spread evenly; 0 for all.
        batch_size: frames handed to ``predictor`` at once.
        on_progress: told after each sample.
    Raises:
        ValueError: a prediction is not finite; names dataset, task and frame.
    """
    start = time.perf_counter()
    task = predictor.tasks[task_name]
    protocol = protocol_for(dataset.name, task_name)
    samples = _Samples(dataset, task_name, spread(dataset.indices(task_name), limit))

    # 1. One metric for each row.
    def metric(**options: Any) -> Any:
        return task.metric(**protocol.metric_options, **options)

    higher_is_better = TASKS[task_name].spec.higher_is_better
    constant = BestConstant(
        constant_candidates(task, samples),
        metric,
        headline=protocol.headline,
        higher_is_better=higher_is_better,
    )
    rows = {"model": metric(), "ceiling": metric()}
    in_unit = protocol.aligned and task.spec.scale_known
    unaligned = {row: metric(align=False) for row in rows} if in_unit else {}

    # 2. Predict and add.
    n = 0
    for batch in _batches(samples, batch_size):
        predictions = predictor.predict(task_name, [s.image for s in batch], [s.image_next for s in batch])
        for sample, prediction in zip(batch, predictions, strict=True):
            maps = {
                "model": _finite(prediction, sample, "the model's prediction"),
                "ceiling": _finite(
                    predictor.round_trip(task_name, sample.target, sample.valid),
                    sample,
                    "the codec's round trip of the ground truth",
                ),
            }
            target, valid = sample.target[None], sample.valid[None]
            for row, values in maps.items():
                rows[row].update(values[None], target, valid)
                if in_unit:
                    unaligned[row].update(values[None], target, valid)
            constant.update(target, valid)
            n += 1
            if on_progress is not None:
                on_progress(f"{dataset.name} {task_name}", n, len(samples.indices))

    # 3. Sum up.
    constant_value, constant_figures = constant.best()
    return Score(
        dataset=dataset.name,
        task=task_name,
        headline=protocol.headline,
        higher_is_better=higher_is_better,
        metric_options=dict(protocol.metric_options),
        n=n,
        model=rows["model"].compute(),
        constant=constant_figures,
        constant_value=constant_value if n else [],
        ceiling=rows["ceiling"].compute(),
        unaligned={row: one.compute() for row, one in unaligned.items()},
        unlabelled=len(samples.unlabelled),
        unreadable=tuple(samples.unreadable.values()),
        seconds=time.perf_counter() - start,
    )


def spread(indices: Sequence[int], limit: int) -> list[int]:
    """At most ``limit`` of ``indices``, the first one and others at even distances; 0 takes all.

    >>> spread(range(10), 4)
    [0, 2, 5, 7]
    """
    count = len(indices)
    if limit == 0 or count <= limit:
        return list(indices)
    return [indices[i * count // limit] for i in range(limit)]


def rendering_seeds(data: str | os.PathLike[str]) -> dict[str, Any]:
    """Seeds in the recipes (``synth-*.json``) that ``stablemtl synth`` leaves in a data folder, by name."""
    seeds = {}
    for path in sorted(Path(data).glob("synth-*.json")):
        try:
            seeds[path.stem] = json.loads(path.read_text(encoding="utf-8"))["seed"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: no seed can be read (%s)", path.name, error)
    return seeds


class _Samples:
    """Reads samples whenever it is iterated over; leaves out what cannot be used, and remembers that."""

    def __init__(self, dataset: Dataset, task: str, indices: Sequence[int]) -> None:
        self.dataset, self.task, self.indices = dataset, task, indices
        self.unreadable: dict[int, Unreadable] = {}
        self.unlabelled: set[int] = set()

    def __iter__(self) -> Iterator[Sample]:
        for index in self.indices:
            if index in self.unreadable or index in self.unlabelled:
                continue
            try:
                sample = self.dataset.load(index, self.task)
            except (OSError, ValueError) as error:
                text = " ".join(str(error).split()) or type(error).__name__
                logger.warning("left out: %s %s, sample %d: %s", self.dataset.name, self.task, index, text)
                self.unreadable[index] = Unreadable(index=index, error=text)
                continue
            if sample.valid.any():
                yield sample
            else:
                self.unlabelled.add(index)


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _finite(values: Tensor, sample: Sample, what: str) -> Tensor:
    finite = torch.isfinite(values)
    if not finite.all():
        share = 100 * (1 - finite.float().mean().item())
        raise ValueError(
            f"{sample.dataset} {sample.task}, frame {sample.key}: {what} is not finite "
            f"({share:.3g} % of the values). Weights may be damaged, or the number type too small: "
            "try float32."
        )
    return values


def _check_labelled(
    tasks: Iterable[str], labelled: Collection[str], data: str | os.PathLike[str], split: str
) -> None:
    missing = sorted(set(tasks) - set(labelled))
    if missing:
        raise ValueError(
            f"nothing in the {split} split of {os.fspath(data)} has labels for {', '.join(missing)}; "
            f"of the tasks asked for, it has {', '.join(sorted(labelled)) or 'none'}."
        )
