"""What mirror images and consistency maps are worth on labelled data.

    stablemtl synth --out data/minibench --count 100 --bench
    python benchmarks/confidence.py --data data/minibench

Two tables:

``confidence_averaging``: each task's error with and without the mean over mirror images.

``confidence_ranking``: whether a map points at the pixels that are wrong.

- ``spearman``: rank correlation of map and error within an image, 0 for a map that says nothing; mean over
  images.
- ``ause``: pixels are taken away, those with the largest value of the map first, and the mean error of the
  rest is followed. The area between this curve and that of an oracle, which takes away the largest errors
  first, as a share of the area between oracle and no order: 0 is the oracle, 1 is random, above 1 worse than
  random; mean over images.
- ``images``: rank correlation of the means of map and error over images: whether it points at the images that
  are wrong.

The map ``size`` is a control that costs nothing: how long the predicted motion is, how far the depth, how
bright the colour. A map that ranks no better than it adds nothing.

Source: sparsification, Ilg et al., ECCV 2018, arXiv 1802.07095, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from measure import Options, Report, load
from numpy.typing import NDArray
from scipy.stats import rankdata

from stablemtl import StableMTLPipeline
from stablemtl.confidence import ConsistencyMap, cross_task, predict_with_flips
from stablemtl.data.sample import Sample
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import intervals
from stablemtl.evaluation.runner import Job, open_benchmarks
from stablemtl.evaluation.samples import spread
from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks.base import Metric

CROSS_TASK = {
    "normal_depth": ("normal", "depth"),
    "flow_scene_flow": ("optical_flow", "scene_flow"),
    "albedo_shading": ("albedo", "shading"),
    "flow_image": ("optical_flow",),
}
"""Name of each check -> the tasks whose errors it may point at."""

Floats = NDArray[np.float64]


PARTNERS = {
    "normal": ("depth",),
    "depth": ("normal",),
    "optical_flow": ("scene_flow", "depth"),
    "scene_flow": ("optical_flow", "depth"),
    "shading": ("albedo",),
    "albedo": ("shading",),
}
"""Task -> those that it is held against."""


@dataclass(kw_only=True)
class ConfidenceOptions(Options):
    """Mirror images and consistency maps against true errors."""

    data: Path = Path("data/minibench")
    """Data folder; each dataset's test part is taken, at its own size."""
    limit: int = 25
    """Images of each dataset and task, spread evenly; 0 for all."""
    flips: tuple[str, ...] = ("horizontal",)
    """Mirror images that are averaged."""


@dataclass
class Averaging:
    """One task of one dataset, without mirror images and with."""

    metrics: tuple[Metric, Metric]
    errors: list[tuple[float, float]] = field(default_factory=list)
    """Mean error over the pixels of each image."""

    def row(self, benchmark: Benchmark, fit: str) -> dict[str, Any]:
        before, after = (metric.compute()[benchmark.headline] for metric in self.metrics)
        errors = np.array(self.errors)  # (N, 2)
        change = intervals(errors, lambda sums: {"change": 100 * (sums[1] / sums[0] - 1)})
        low, high = change.get("change", (math.nan, math.nan))
        return {
            "dataset": benchmark.dataset,
            "task": benchmark.task,
            "fit": fit,
            "figure": benchmark.headline,
            "image": before,
            "with flips": after,
            "change %": 100 * (after / before - 1),
            "error change %": 100 * float(errors[:, 1].sum() / errors[:, 0].sum() - 1),
            "95 %": f"{low:+.2f} to {high:+.2f}",
            "images better %": 100 * float((errors[:, 1] < errors[:, 0]).mean()),
            "images": len(errors),
        }


@dataclass
class Ranking:
    """One map against the errors of one task."""

    spearman: list[float] = field(default_factory=list)
    ause: list[float] = field(default_factory=list)
    means: list[tuple[float, float]] = field(default_factory=list)

    def add(self, values: Floats, errors: Floats) -> None:
        """Values of the map and errors at the pixels of an image that have both, (N,)."""
        if len(values) < 2:
            return
        self.spearman.append(rank_correlation(values, errors))
        self.ause.append(ause(values, errors))
        self.means.append((float(values.mean()), float(errors.mean())))

    def row(self, dataset: str, name: str, task: str) -> dict[str, Any]:
        pairs = np.array(self.means)
        figures = {"spearman": self.spearman, "ause": self.ause}
        row: dict[str, Any] = {"dataset": dataset, "map": name, "error of": task}
        for figure, values in figures.items():
            known = [value for value in values if math.isfinite(value)]
            row[figure] = float(np.mean(known)) if known else math.nan
            row[f"{figure} se"] = (
                float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else 0.0
            )
        row["images"] = rank_correlation(pairs[:, 0], pairs[:, 1])
        row["count"] = len(self.means)
        return row


def main(options: ConfidenceOptions) -> list[Report]:
    device = options.start()
    pipe = load(options.size, device, options.dtype)
    averaging = Report(
        "confidence_averaging", f"Mean over mirror images ({', '.join(options.flips)})", options
    )
    ranking = Report("confidence_ranking", "Do consistency maps point at errors?", options)
    jobs, failures = open_benchmarks(options.data, protocol="native")
    for failure in failures:
        averaging.notes.append(f"left out: {failure.dataset}: {failure.error}")
    cache: dict[tuple[str, str], Prepared] = {}
    for job in jobs:
        rows, rankings = measure(pipe, job, options, cache)
        averaging.rows += rows
        ranking.rows += rankings
    averaging.notes.append(
        "fit: as the benchmark aligns predictions to each label; 'none' scores metres or px as they are. "
        "'error change' is that of the mean error over pixels, with a 95 % interval over images."
    )
    ranking.notes.append(
        "se: standard error over images. Spreads of depth are divided by the depth, as its errors are. "
        "Cross-task maps assume 60 degrees along the longer side."
    )
    for report in (averaging, ranking):
        report.write()
    return [averaging, ranking]


@dataclass
class Prepared:
    """What is predicted of one frame or pair."""

    alone: Predictions
    mean: Predictions
    spread: dict[str, ConsistencyMap]
    cross: dict[str, ConsistencyMap]


def measure(
    pipe: StableMTLPipeline, job: Job, options: ConfidenceOptions, cache: dict[tuple[str, str], Prepared]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of both tables for one dataset and task."""
    benchmark, task = job.benchmark, pipe.tasks[job.benchmark.task]
    fits = {benchmark.alignment if benchmark.aligned else "none": benchmark.aligned}
    if benchmark.in_own_unit and benchmark.aligned and task.spec.scale_known:
        fits["none"] = False
    averages = {
        fit: Averaging((benchmark.metric(task, align=align), benchmark.metric(task, align=align)))
        for fit, align in fits.items()
    }
    judge = benchmark.metric(task)
    rankings: dict[str, Ranking] = {}
    indices = spread(job.dataset.indices(benchmark.task), options.limit)
    for sample in (job.dataset.load(index, benchmark.task) for index in indices):
        found = cache.get((sample.dataset, sample.key)) or prepare(
            pipe, sample, job.dataset.tasks, options.flips
        )
        cache[sample.dataset, sample.key] = found
        target, valid = sample.target[None], sample.valid[None]
        versions = [as_tensor(maps[benchmark.task]) for maps in (found.alone, found.mean)]
        for average in averages.values():
            for metric, version in zip(average.metrics, versions, strict=True):
                metric.update(version, target, valid)
            errors = [
                metric.errors(version, target, valid).nanmean().item()
                for metric, version in zip(average.metrics, versions, strict=True)
            ]
            average.errors.append((errors[0], errors[1]))
        for name, one, version in maps_for(found, benchmark.task):
            wrong = judge.errors(versions[version], target, valid)[0, 0].numpy()
            both = one.valid & np.isfinite(wrong)
            rankings.setdefault(name, Ranking()).add(one.values[both].astype(np.float64), wrong[both])
    print(f"{benchmark.name}: {len(indices)} images", flush=True)
    return (
        [average.row(benchmark, fit) for fit, average in averages.items()],
        [one.row(benchmark.dataset, name, benchmark.task) for name, one in rankings.items() if one.means],
    )


class Recorder:
    """A pipeline that keeps what it gave last: the image's own maps are the first version."""

    def __init__(self, pipe: StableMTLPipeline) -> None:
        self.pipe, self.tasks = pipe, pipe.tasks
        self.versions: list[Predictions] = []

    def __call__(self, image: Any, image_next: Any = None, tasks: Any = None, **options: Any) -> Any:
        self.versions = self.pipe(image, image_next, tasks, **options)
        return self.versions


def prepare(
    pipe: StableMTLPipeline, sample: Sample, labelled: Sequence[str], flips: tuple[str, ...]
) -> Prepared:
    """The labelled tasks and those that they are held against, at the frame's own size."""
    tasks = list(dict.fromkeys(t for task in labelled for t in (task, *PARTNERS.get(task, ()))))
    frames = (sample.image, sample.image_next)
    recorder = Recorder(pipe)
    mean, apart = predict_with_flips(recorder, *frames, tasks, flips=flips, processing_resolution=0)
    alone = recorder.versions[0]
    return Prepared(alone, mean, apart, cross_task(alone, *frames))


def maps_for(found: Prepared, task: str) -> Iterator[tuple[str, ConsistencyMap, int]]:
    """Name, map, and whose errors it is held against: 0 those of the image alone, 1 of the mean."""
    spread = found.spread[task]
    if task == "depth":  # whose errors are relative
        depth = found.mean[task].values
        spread = ConsistencyMap.of(
            spread.name, spread.values / depth, spread.valid, "relative", spread.convention
        )
    yield spread.name, spread, 1
    own = found.alone[task]
    if own.values.dtype.kind == "f" and own.unit != "unit vector":
        size = np.linalg.norm(own.values.reshape(*own.size, -1), axis=-1)
        yield "size", ConsistencyMap.of("size", size, own.valid, own.unit, "how large the values are"), 0
    for name, one in found.cross.items():
        if task in CROSS_TASK[name]:
            yield name, one, 0


def as_tensor(prediction: Prediction) -> torch.Tensor:
    """(1, C, H, W)."""
    values = torch.from_numpy(prediction.values)
    return values[None, None] if values.ndim == 2 else values.permute(2, 0, 1)[None]


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's; nan if one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def ause(values: Floats, errors: Floats) -> float:
    """See this file's head; nan where all errors are alike. Equal values are in random order."""
    shuffled = np.random.default_rng(0).permutation(len(values))
    values, errors = values[shuffled], errors[shuffled]
    by_map, oracle = (_area(errors[np.argsort(key, kind="stable")]) for key in (values, errors))
    room = float(errors.mean()) - oracle
    return (by_map - oracle) / room if room > 1e-12 else math.nan


def _area(errors: Floats) -> float:
    """Mean, over all shares taken away, of the mean error of those that are left, the first ones."""
    return float((np.cumsum(errors) / np.arange(1, len(errors) + 1)).mean())


if __name__ == "__main__":
    main(tyro.cli(ConfidenceOptions))
