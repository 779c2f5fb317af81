"""Score a model on labelled held-out data, beside the best constant prediction and the codec's ceiling.

    --protocol paper      the eight numbers of the paper's Table 2, computed as published, with Delta_m
    --protocol standard   the same test sets as the field reports them, at the full size of the labels
    --protocol native     any labelled data at their own size, and a real stereo pair
    --protocol auto       the paper's for its test sets, native for other data

Prints tables and writes all figures as JSON, the tables as Markdown, and each image's figures as Parquet. The
exit status is 1 if a dataset or a sample could not be read; the others are scored all the same. For several
processes: accelerate launch -m stablemtl evaluate ... (on CPUs torchrun --nproc-per-node N -m ...)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.progress import Progress

    from stablemtl.evaluation.ranks import Ranks
    from stablemtl.evaluation.report import Report
    from stablemtl.evaluation.summary import Summary
    from stablemtl.pipeline import StableMTLPipeline


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of ``stablemtl evaluate``."""

    data: Path
    """Data folder, with the datasets in the folders of their downloads: kitti_depth, diode, vkitti2, ..."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id (owner/name)."""
    protocol: Literal["auto", "paper", "standard", "native"] = "auto"
    """How to score; see above."""
    split: Literal["train", "val", "test"] = "test"
    """Part of the data; datasets with one held-out part use it for val and test."""
    limit: int | None = None
    """Samples of each benchmark at most, spread evenly; 0 for all. If left out, all, but 60 under native."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Tasks to score, such as: depth normal. All that are labelled if left out."""
    baseline: Path | None = None
    """Report (JSON) that Delta_m is relative to; the paper's single-task models if left out."""
    single_stream: bool = False
    """Score the auxiliary network alone."""
    motorcycle: bool = True
    """With auto and native, add the real stereo pair, at the model's default resolution."""
    out: Path = Path("report.json")
    """JSON file, with .md and .parquet beside it; or a folder, for report.json and so on and for pictures."""
    cases: int = 4
    """Worst and best images of each benchmark to draw, where --out is a folder; 8 at most."""
    batch_size: int = 4
    """Frames computed together."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the network; float16 needs a GPU."""


def run(config: EvaluateConfig) -> int:
    """Evaluate, write the files, print the tables; 1 if something had to be left out."""
    # 1. What is wrong with the arguments must not cost the loading of a large model.
    out = _json_file(config.out)
    _check(config)

    from diffusers.utils import logging as diffusers_logging

    from stablemtl.evaluation import evaluate, read_report, summarize
    from stablemtl.evaluation.ranks import Alone, Launched, launched

    baseline = None if config.baseline is None else read_report(config.baseline)

    # 2. Load, on each of the processes if there are several.
    diffusers_logging.disable_progress_bar()
    ranks: Ranks = Alone()
    device = None
    if launched():
        ranks = several = Launched(cpu=config.device == "cpu")
        device = several.device
    pipe = _load(config, device)

    # 3. Evaluate with a progress bar on stderr, so that stdout has the tables only.
    with _progress(shown=ranks.rank == 0) as progress:
        report = evaluate(
            pipe,
            config.data,
            protocol=config.protocol,
            split=config.split,
            limit=config.limit,
            tasks=config.tasks or None,
            single_stream=config.single_stream,
            motorcycle=config.motorcycle,
            batch_size=config.batch_size,
            ranks=ranks,
            on_progress=_bars(progress),
        )
    if isinstance(ranks, Launched):
        ranks.close()
    summary = summarize(report, baseline)
    status = 0 if report.complete else 1
    if ranks.rank > 0:
        return status

    # 4. Write first, then print.
    from stablemtl.writers import staged_file

    with staged_file(out.with_suffix(".md")) as beside:
        tables = [report.markdown()] + ([] if summary is None else [summary.markdown()])
        beside.write_text("\n".join(tables), encoding="utf-8")
    report.save_records(out.with_suffix(".parquet"))
    if out.parent == config.out and config.cases:
        _draw(report, pipe, config, out.parent / "cases")
    report.save(out)
    _print(report, summary, out)
    return status


def _json_file(out: Path) -> Path:
    """Where the JSON goes."""
    if out.suffix == ".json" and not out.is_dir():
        return out
    if out.suffix and not out.is_dir():
        raise ValueError(
            f"--out must be a JSON file or a folder, got {out}. Write {out.with_suffix('.json')}."
        )
    if out.is_file():
        raise ValueError(f"--out {out} is a file without the ending .json. Name another.")
    return out / "report.json"


def _check(config: EvaluateConfig) -> None:
    if not config.data.is_dir():
        raise FileNotFoundError(f"--data: there is no folder {config.data}.")
    if config.baseline is not None and not config.baseline.is_file():
        raise FileNotFoundError(f"--baseline: there is no file {config.baseline}.")
    for option, value, least in (
        ("--limit", config.limit or 0, 0),
        ("--batch-size", config.batch_size, 1),
        ("--cases", config.cases, 0),
    ):
        if value < least:
            raise ValueError(f"{option} must be {least} or more, got {value}.")


def _load(config: EvaluateConfig, device: str | None) -> StableMTLPipeline:
    import torch

    from stablemtl.commands.predict import pick_device
    from stablemtl.pipeline import StableMTLPipeline

    where = pick_device(config.device) if device is None else device
    if config.dtype == "float16" and where == "cpu":
        raise ValueError("--dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    dtype: torch.dtype = getattr(torch, config.dtype)
    return StableMTLPipeline.from_pretrained(config.model, torch_dtype=dtype, device=where)


def _progress(*, shown: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not (shown and console.is_terminal))


def _bars(progress: Progress) -> Callable[[str, int, int], None]:
    bars = {}

    def show(benchmark: str, done: int, total: int) -> None:
        if benchmark not in bars:
            bars[benchmark] = progress.add_task(benchmark, total=total)
        progress.update(bars[benchmark], completed=done)

    return show


def _draw(report: Report, pipe: StableMTLPipeline, config: EvaluateConfig, folder: Path) -> None:
    """Sheets of the worst and the best images of each benchmark."""
    from stablemtl.evaluation.cases import case_sheet
    from stablemtl.evaluation.predictor import PipelinePredictor
    from stablemtl.evaluation.runner import open_benchmarks
    from stablemtl.writers import write_picture

    jobs, _ = open_benchmarks(config.data, protocol=config.protocol, split=config.split)
    datasets = {job.benchmark.name: job.dataset for job in jobs}
    predictor = PipelinePredictor(pipe, single_stream=config.single_stream)
    for score in report.scores:
        if score.benchmark.name not in datasets or score.n < 2:
            continue
        for kind, cases in (("worst", score.worst), ("best", score.best)):
            sheet = case_sheet(
                datasets[score.benchmark.name], score.benchmark, predictor, cases[: config.cases]
            )
            write_picture(folder / f"{score.benchmark.name.replace(' ', '-')}-{kind}.png", sheet)


def _print(report: Report, summary: Summary | None, out: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(report.table())
    console.print(Text("constant: best constant prediction; ceiling: ground truth through the codec;"))
    console.print(Text("gain: model over constant; not aligned: model in the task's own unit, without a fit"))
    if summary is not None:
        console.print(summary.table())
        console.print(Text(f"Delta_m: against {summary.baseline}"))
        for note in summary.notes:
            console.print(Text(note))
    console.print(Text(f"all figures in {out}; {report.seconds:.1f} s ({report.device}, {report.dtype})"))
    _print_failures(report)


def _print_failures(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    errors = Console(stderr=True, highlight=False)
    for failure in report.failures:
        errors.print(Text(f"left out: {failure.dataset}: {failure.error}"))
    for score in report.scores:
        for sample in score.unreadable:
            errors.print(Text(f"left out: {score.benchmark.name}, sample {sample.index}: {sample.error}"))
        if score.n == 0:
            errors.print(Text(f"{score.benchmark.name}: no sample could be scored"))
    count = sum(len(score.unreadable) for score in report.scores)
    if count:
        errors.print(Text(f"{count} sample{'' if count == 1 else 's'} could not be read"))
