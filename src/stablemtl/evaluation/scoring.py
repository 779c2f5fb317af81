"""Scores one benchmark, on one process or shared by several, whatever the batch and the order.

Three roles by the same metric on the same samples: the model; the best constant prediction (see
:mod:`stablemtl.evaluation.trivial`); and the codec's ceiling, the ground truth encoded and decoded again.
What is kept of an image are the sums that it adds to the metric: some hundred bytes to a few kilobytes,
whatever its size. They are added in the order of the dataset, so that figures do not depend on who scored
what when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from stablemtl.data.sample import Dataset
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import RESAMPLES
from stablemtl.evaluation.frames import Frame
from stablemtl.evaluation.predictor import Predictor
from stablemtl.evaluation.profiles import BINS, ProfileSums
from stablemtl.evaluation.ranks import Alone, Ranks, share
from stablemtl.evaluation.records import ImageRecord
from stablemtl.evaluation.samples import Samples, batches, spread
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.summing import Part, sum_up
from stablemtl.evaluation.trivial import Constants, candidates, mean_of, state_of

Progress = Callable[[str, int, int], None]
"""Called with a benchmark's name, samples done, and samples in all."""


def score(
    dataset: Dataset,
    benchmark: Benchmark,
    predictor: Predictor,
    *,
    limit: int = 0,
    batch_size: int = 4,
    ranks: Ranks | None = None,
    resamples: int = RESAMPLES,
    on_progress: Progress | None = None,
) -> Score:
    """Score one benchmark.

    Args:
        dataset: with labels of the benchmark's task, opened with the benchmark's options.
        benchmark: what to compute.
        predictor: what is scored.
        limit: samples at most, spread evenly; 0 for all.
        batch_size: frames handed to ``predictor`` at once.
        ranks: the processes that share the work, all of which call this; one by default.
        resamples: draws for the confidence intervals.
        on_progress: told after each sample.
    Returns:
        The same on every process.
    Raises:
        ValueError: a prediction is not finite or of another size; names dataset, task and frame.
    """
    start = time.perf_counter()
    ranks = ranks or Alone()
    task = predictor.tasks[benchmark.task]
    indices = spread(dataset.indices(benchmark.task), limit)
    samples = Samples(dataset, benchmark, task.spec, indices[ranks.rank :: ranks.count])
    fits = (True, False) if benchmark.in_own_unit and benchmark.aligned and task.spec.scale_known else (True,)

    # 1. The constants worth trying; some are means over all images.
    @cache
    def mean() -> Tensor | None:
        return _mean_target(samples, ranks)

    constants = {
        fit: Constants(task, benchmark, candidates(task.spec, mean, fitted=fit), align=fit) for fit in fits
    }

    # 2. Predict and score this process' samples.
    def work() -> Part:
        told = None
        if on_progress is not None:
            told = _sharing(on_progress, benchmark.name, len(indices), ranks)
        return _score_part(samples, benchmark, predictor, constants, batch_size, told)

    parts = share(ranks, work)

    # 3. Sum up those of all.
    found = sum_up(benchmark, task, constants, parts, resamples=resamples)
    return replace(found, seconds=time.perf_counter() - start)


def _score_part(
    samples: Samples,
    benchmark: Benchmark,
    predictor: Predictor,
    constants: Mapping[bool, Constants],
    batch_size: int,
    on_progress: Callable[[int], None] | None,
) -> Part:
    task = predictor.tasks[benchmark.task]
    metrics = {fit: benchmark.metric(task, align=fit) for fit in constants}
    part = Part(constants={fit: [] for fit in constants})
    bins = BINS.get(benchmark.task)
    profile = None if bins is None else ProfileSums(bins)
    for batch in batches(samples, batch_size):
        frames = [frame.sample for frame in batch]
        predictions = predictor.predict(frames, resolution=batch[0].resolution)
        for frame, prediction in zip(batch, predictions, strict=True):
            maps = {"model": _checked(prediction, frame, "the model's prediction")}
            decoded = predictor.round_trip(frame.sample, resolution=frame.resolution)
            if decoded is not None:
                maps["ceiling"] = _checked(decoded, frame, "the codec's round trip of the ground truth")
            valid = frame.sample.valid
            states = {
                fit: {role: state_of(metric, pred, frame.target, valid) for role, pred in maps.items()}
                for fit, metric in metrics.items()
            }
            for fit, tried in constants.items():
                part.constants[fit].append(tried.states(frame.target, valid))
            if profile is not None:
                profile.add(metrics[True], maps["model"][None], frame.target[None], valid[None])
            part.records.append(
                ImageRecord(
                    index=frame.index,
                    key=frame.sample.key,
                    pixels=int(valid.sum()),
                    states=states[True],
                    unaligned=states.get(False, {}),
                )
            )
            if on_progress is not None:
                on_progress(len(part.records))
    part.profile = None if profile is None else profile.sums
    part.unreadable, part.unlabelled = list(samples.unreadable.values()), len(samples.unlabelled)
    return part


def _mean_target(samples: Samples, ranks: Ranks) -> Tensor | None:
    """Mean over the images of all processes of the mean over valid pixels, (C,) float64."""

    def work() -> list[tuple[int, list[float]]]:
        return [(frame.index, mean_of(frame.target, frame.sample.valid).tolist()) for frame in samples]

    means = sorted(mean for part in share(ranks, work) for mean in part)
    if not means:
        return None
    return torch.tensor([mean for _, mean in means], dtype=torch.float64).mean(dim=0)


def _checked(values: Tensor, frame: Frame, what: str) -> Tensor:
    """A prediction in the unit of the target, if it can be scored."""
    place = f"{frame.sample.dataset} {frame.sample.task}, frame {frame.sample.key}: {what}"
    if values.shape != frame.target.shape:
        raise ValueError(
            f"{place} must be {tuple(frame.target.shape)} like the label, got {tuple(values.shape)}."
        )
    finite = torch.isfinite(values)
    if not finite.all():
        share_bad = 100 * (1 - finite.float().mean().item())
        raise ValueError(
            f"{place} is not finite ({share_bad:.3g} % of the values). Weights may be damaged, or the number "
            "type too small: try float32."
        )
    return frame.in_target_unit(values)


def _sharing(on_progress: Progress, name: str, total: int, ranks: Ranks) -> Callable[[int], None]:
    """Tells of all processes what one of them knows: that they work equally fast."""
    return lambda done: on_progress(name, min(total, done * ranks.count), total)
