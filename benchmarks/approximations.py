"""What each optimisation saves, and what it costs in accuracy.

    python benchmarks/approximations.py --data minibench
    python benchmarks/approximations.py --data minibench --samples 20 --only bfloat16 single_stream
    python benchmarks/approximations.py --data minibench --compile --tiny-codec my-tiny-codec
    python benchmarks/approximations.py --size sd2 --device cuda --tiny-codec FOLDER --only fast

Each option is switched on in a pipeline of its own and compared with the exact one, in the same process and
by turns. Three tables: time and memory; the difference of each task's map from the exact one, in the map's
unit (for classes 0 or 1, so that the mean is the share of pixels that changed); and the score of each
benchmark in the data folder. Without ``--data`` there are no scores, and maps are those of a real stereo
pair. Options that this machine cannot do are listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from measure import Options, Report, load, peak_memory, time_call
from torch import Tensor, nn

from stablemtl import StableMTLPipeline
from stablemtl.data.sample import Sample
from stablemtl.evaluation import evaluate
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.runner import open_benchmarks
from stablemtl.evaluation.scores import Score

EXACT = "exact"


@dataclass(kw_only=True)
class ApproximationOptions(Options):
    """Savings and their accuracy."""

    data: Path | None = None
    """Data folder to score on, such as MiniBench; none leaves out the scores."""
    samples: int = 0
    """Samples of each benchmark; 0 for all."""
    frames: int = 8
    """Pairs of the data whose maps are compared."""
    height: int = 96
    """Height of the frames that are timed [px]."""
    width: int = 128
    """Width of the frames that are timed [px]."""
    only: tuple[str, ...] = ()
    """Names of the options to measure; all by default."""
    compile: bool = False
    """Measure torch.compile as well: minutes for each size of the data, so only time and differences."""
    tiny_codec: str = ""
    """Folder or hub id of a tiny codec for the model's latents."""


def variants(options: ApproximationOptions) -> dict[str, dict[str, Any]]:
    """Option -> arguments of ``optimize``."""
    found: dict[str, dict[str, Any]] = {
        "as loaded": {},
        "fast": {"mode": "fast"},
        "bfloat16": {"mode": "fast", "dtype": torch.bfloat16},
        "float16": {"mode": "fast", "dtype": torch.float16},
        "int8 weights": {"mode": "fast", "dtype": None, "int8": "weights"},
        "int8 dynamic": {"mode": "fast", "dtype": None, "int8": "dynamic"},
        "single_stream": {"mode": "fast", "dtype": None, "single_stream": True},
    }
    if options.compile:
        found["compile"] = {"mode": "exact", "compile": True}
        found["compile, any size"] = {"mode": "exact", "compile": True, "compile_sizes": "any"}
    if options.tiny_codec:
        for parts in ("both", "encoder", "decoder"):
            choices = {"tiny_codec": options.tiny_codec, "tiny_codec_parts": parts}
            found[f"tiny_codec, {parts}"] = {"mode": "fast", "dtype": None, **choices}
    dtype = getattr(torch, options.dtype)
    for choices in found.values():
        if choices.get("dtype", ...) is None:  # one change at a time
            choices["dtype"] = dtype
        if choices.get("mode") == "fast" and "compile" not in choices:
            choices["compile"] = False
    if unknown := sorted(set(options.only) - set(found)):
        raise SystemExit(f"--only: unknown {', '.join(unknown)}; choose from {', '.join(found)}.")
    return {name: found[name] for name in options.only or found}


def main(options: ApproximationOptions) -> tuple[Report, Report, Report]:
    device = options.start()
    name = f"approximations_{options.size}_{device.type}_{options.dtype}"
    title = f"{options.size}, {options.dtype}, {options.height}x{options.width}, pair, all tasks"
    costs = Report(f"{name}_costs", f"Time and memory: {title}", options)
    maps = Report(f"{name}_maps", f"Difference from the exact maps: {options.size}", options)
    scores = Report(f"{name}_scores", f"Scores: {options.size}, {options.samples or 'all'} samples", options)

    pairs = list(islice(frames(options), options.frames))
    exact = load(options.size, device, options.dtype).optimize(EXACT, compile=False)
    costs.notes.append(exact.optimizations.describe())
    expected = predict(exact, pairs)
    expected_scores = score(exact, options)
    with peak_memory(device) as peak:
        timed(exact, options)()
    costs.rows.append(cost(EXACT, exact, peak.added, None))
    scores.rows += [figures(EXACT, one, one) for one in expected_scores.values()]
    for option, choices in variants(options).items():
        pipe = load(options.size, device, options.dtype)
        try:
            if choices:
                pipe.optimize(**choices)
        except (ImportError, OSError, ValueError) as error:
            costs.notes.append(f"{option}: left out. {error}")
            continue
        first = time_call(timed(pipe, options), 1, device, warmup=0).median  # compiles, if that is on
        with peak_memory(device) as peak:
            timed(pipe, options)()
        runs = by_turns(timed(exact, options), timed(pipe, options), options.repeats, device)
        costs.rows.append(cost(option, pipe, peak.added, runs) | {"first_s": first})
        units = {task: one.spec.unit for task, one in pipe.tasks.items()}
        maps.rows += differences(option, units, expected, predict(pipe, pairs))
        if not choices.get("compile"):
            theirs = score(pipe, options, single_stream=choices.get("single_stream", False))
            scores.rows += [figures(option, one, expected_scores[key]) for key, one in theirs.items()]
        print(f"{option}: {costs.rows[-1]['ratio']:.2f} times as fast", flush=True)
    costs.write(("option", "seconds", "ratio", "lowest", "highest", "first_s", "weights_MB", "added_MB"))
    for report in (maps, scores):
        if report.rows:
            report.write()
    return costs, maps, scores


# time and memory --------------------------------------------------------------------------------------------


def timed(pipe: StableMTLPipeline, options: ApproximationOptions) -> Any:
    """The call that is timed: arrays in, maps with their units out."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, max(2, options.height // 8), max(2, options.width // 8), generator=generator)
    size = (options.height, options.width)
    first, second = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return lambda: pipe(first, second, processing_resolution=0)


def by_turns(exact: Any, other: Any, repeats: int, device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of both, one after the other: a machine that slows down slows down both."""
    runs: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, seconds in zip((exact, other), runs, strict=True):
            seconds += time_call(call, 1, device, warmup=0).runs
    return runs


def cost(
    option: str, pipe: StableMTLPipeline, added: int, runs: tuple[list[float], list[float]] | None
) -> dict[str, Any]:
    """A row of the first table; ``ratio`` says how many times as fast as the exact pipeline."""
    row: dict[str, Any] = {"option": option}
    if runs is not None:
        exact, other = (sorted(seconds) for seconds in runs)
        ratios = sorted(a / b for a, b in zip(*runs, strict=True))
        row |= {"seconds": other[len(other) // 2], "exact_seconds": exact[len(exact) // 2]}
        row |= {"ratio": ratios[len(ratios) // 2], "lowest": ratios[0], "highest": ratios[-1]}
    row |= {"weights_MB": weight_bytes(pipe) / 1e6, "added_MB": added / 1e6}
    return row


def weight_bytes(pipe: StableMTLPipeline) -> int:
    """Bytes of the weights of networks and codec, also where they are stored as integers with scales."""

    def size(x: Tensor) -> int:
        flatten = getattr(x, "__tensor_flatten__", None)
        if flatten is None:
            return x.numel() * x.element_size()
        return sum(size(getattr(x, name)) for name in flatten()[0])

    parts: list[nn.Module] = [pipe.model, pipe.vae]
    return sum(size(weight.detach()) for part in parts for weight in part.parameters())


# maps -------------------------------------------------------------------------------------------------------


def frames(options: ApproximationOptions) -> Iterator[Sample]:
    """Pairs to compare the maps of, spread over the data sets that have some."""
    sources: list[Any] = [Motorcycle()]
    if options.data is not None:
        jobs, _ = open_benchmarks(options.data, tasks=("optical_flow",))
        sources = [job.dataset for job in jobs] or sources
    for source in sources:
        indices = source.indices("optical_flow")
        count = min(len(indices), -(-options.frames // len(sources)))
        for i in range(count):
            yield source.load(indices[i * len(indices) // count], "optical_flow")


def predict(pipe: StableMTLPipeline, pairs: list[Sample]) -> dict[str, list[np.ndarray]]:
    """Task -> the maps of all pairs, at the model's own resolution."""
    found: dict[str, list[np.ndarray]] = {task: [] for task in pipe.tasks}
    for pair in pairs:
        for task, one in pipe(pair.image, pair.image_next).items():
            found[task].append(one.values)
    return found


def differences(option: str, units: dict[str, str], expected: Any, found: Any) -> list[dict[str, Any]]:
    """Rows of the second table."""
    rows = []
    for task in found:
        pairs = list(zip(expected[task], found[task], strict=True))
        classes = pairs[0][0].dtype.kind in "iu"
        errors = [np.abs(a - b) if not classes else (a != b) for a, b in pairs]
        flat = np.concatenate([error.ravel().astype(np.float64) for error in errors])
        row: dict[str, Any] = {"option": option, "task": task, "unit": "changed" if classes else units[task]}
        row |= {
            "mean": float(flat.mean()),
            "99_%": float(np.quantile(flat, 0.99)),
            "largest": float(flat.max()),
        }
        rows.append(row)
    return rows


# scores -----------------------------------------------------------------------------------------------------


def score(
    pipe: StableMTLPipeline, options: ApproximationOptions, *, single_stream: bool = False
) -> dict[str, Score]:
    """Name of a benchmark -> its score."""
    if options.data is None:
        return {}
    report = evaluate(
        pipe,
        options.data,
        limit=options.samples,
        single_stream=single_stream,
        motorcycle=False,
        resamples=100,
    )
    return {one.benchmark.name: one for one in report.scores}


def figures(option: str, found: Score, expected: Score) -> dict[str, Any]:
    """A row of the third table: the headline, and the codec's ceiling of it."""
    name = found.headline
    value, exact = found.model[name], expected.model[name]
    return {
        "option": option,
        "benchmark": found.benchmark.name,
        "figure": name,
        "n": found.n,
        "score": value,
        "exact": exact,
        "change_%": 100 * (value - exact) / exact if exact else float("nan"),
        "ceiling": found.ceiling.get(name, float("nan")),
        "exact_ceiling": expected.ceiling.get(name, float("nan")),
    }


if __name__ == "__main__":
    main(tyro.cli(ApproximationOptions))
