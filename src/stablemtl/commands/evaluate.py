"""Score a model on labelled held-out data, beside the best constant prediction and the codec's ceiling.

    --protocol paper      the eight numbers of the paper's Table 2, computed as published, with Delta_m
    --protocol standard   the same test sets as the field reports them, at the full size of the labels
    --protocol native     any labelled data at their own size, and a real stereo pair
    --protocol auto       the paper's for its test sets, native for other data

Prints tables and writes all figures as JSON, a report as HTML, the tables as Markdown, and each image's
figures as Parquet. The exit status is 1 if a dataset or a sample could not be read; the others are scored all
the same. For several processes: accelerate launch -m stablemtl evaluate ... (on CPUs torchrun
--nproc-per-node N -m ...). With --predictions, files that any tool has written are scored. With --pictures
instead of --data, photographs without labels are checked for what must hold whatever they show. With --json,
one JSON document is printed instead of the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from stablemtl.commands.evaluate_checks import check_options, json_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.progress import Progress

    from stablemtl.evaluation.ranks import Ranks
    from stablemtl.evaluation.report import Report
    from stablemtl.pipeline import StableMTLPipeline

    Progressed = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of ``stablemtl evaluate``."""

    data: Path | None = None
    """Data folder, with the datasets in the folders of their downloads: kitti_depth, diode, vkitti2, ... Not
    needed for --predictions of the motorcycle, nor for --pictures."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id (owner/name)."""
    predictions: Path | None = None
    """Score the files of this folder instead of a model, DIR/<dataset>/<task>/<frame>.npy and the like: see
    docs/evaluation.md."""
    pictures: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="")] = ()
    """Instead of --data: photographs to check without labels; skimage for those of scikit-image."""
    sequence: bool = False
    """The pictures are frames that follow each other: check the motion from each to the next too."""
    field_of_view: float = 60.0
    """Of the longer side of the pictures [degrees], for normals against depth."""
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
    """JSON file, with .html, .md and .parquet beside it; or a folder, for those and for pictures."""
    cases: int = 4
    """Worst and best images of each benchmark to draw, where --out is a folder; 8 at most."""
    batch_size: int = 4
    """Frames computed together."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the network; float16 needs a GPU."""
    json: bool = False
    """Print JSON instead of tables: what the JSON file holds, and the row of the paper's table."""


def run(config: EvaluateConfig) -> int:
    """Evaluate, write the files, print the tables; 1 if something had to be left out."""
    # 1. What is wrong with the arguments must not cost the loading of a large model.
    out = json_file(config.out)
    check_options(config)
    if config.pictures:
        return _run_pictures(config, out)

    from stablemtl.commands.evaluate_output import (
        draw_cases,
        print_failures,
        print_report,
        report_document,
        write_report,
    )
    from stablemtl.commands.json_document import print_json
    from stablemtl.evaluation import read_report, summarize
    from stablemtl.evaluation.ranks import Alone, Launched, launched

    baseline = None if config.baseline is None else read_report(config.baseline)

    # 2. Load, on each of the processes if there are several.
    ranks: Ranks = Alone()
    device = None
    if launched():
        ranks = several = Launched(cpu=config.device == "cpu")
        device = several.device
    pipe = _load(config, device) if config.predictions is None else None

    # 3. Evaluate with a progress bar on stderr, so that stdout has the tables only.
    with _progress(shown=ranks.rank == 0) as progress:
        report = _evaluate(config, pipe, ranks, _bars(progress))
    if isinstance(ranks, Launched):
        ranks.close()
    if ranks.rank > 0:
        return 0  # launchers end all processes when one fails, and the first one has yet to write

    # 4. Write first, then print.
    summary = summarize(report, baseline)
    sheets = {}
    if out.parent == config.out and config.cases:
        sheets = draw_cases(report, config, pipe, out.parent / "cases")
    write_report(report, out, summary=summary, baseline=baseline, sheets=sheets)
    if config.json:
        print_json(report_document(report, summary, out))
    else:
        print_report(report, summary, out)
    print_failures(report)
    return 0 if report.complete else 1


def _run_pictures(config: EvaluateConfig, out: Path) -> int:
    """The checks without labels."""
    from stablemtl.commands.evaluate_output import checks_document, print_checks, write_checks
    from stablemtl.commands.json_document import print_json
    from stablemtl.evaluation.pictures import examine_pictures, read_pictures

    pictures = read_pictures(config.pictures, sequence=config.sequence)
    found = examine_pictures(_load(config, None), pictures, field_of_view_deg=config.field_of_view)
    write_checks(found, config, out)
    if config.json:
        print_json({**checks_document(found, config), "out": str(out)})
    else:
        print_checks(found, out)
    return 0


def _evaluate(
    config: EvaluateConfig, pipe: StableMTLPipeline | None, ranks: Ranks, on_progress: Progressed
) -> Report:
    """Score the model, or the files of ``--predictions`` where there is none."""
    from stablemtl.evaluation import evaluate
    from stablemtl.evaluation.prediction_scores import evaluate_predictions

    if pipe is None:
        assert config.predictions is not None
        return evaluate_predictions(
            config.predictions,
            config.data,
            protocol=config.protocol,
            split=config.split,
            limit=config.limit,
            tasks=config.tasks or None,
            motorcycle=config.motorcycle,
            ranks=ranks,
            on_progress=on_progress,
        )
    assert config.data is not None
    return evaluate(
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
        on_progress=on_progress,
    )


def _load(config: EvaluateConfig, device: str | None) -> StableMTLPipeline:
    import torch
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.commands.predict import pick_device
    from stablemtl.pipeline import StableMTLPipeline

    where = pick_device(config.device) if device is None else device
    if config.dtype == "float16" and where == "cpu":
        raise ValueError("--dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    diffusers_logging.disable_progress_bar()
    dtype: torch.dtype = getattr(torch, config.dtype)
    return StableMTLPipeline.from_pretrained(config.model, torch_dtype=dtype, device=where)


def _progress(*, shown: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not (shown and console.is_terminal))


def _bars(progress: Progress) -> Progressed:
    bars = {}

    def show(benchmark: str, done: int, total: int) -> None:
        if benchmark not in bars:
            bars[benchmark] = progress.add_task(benchmark, total=total)
        progress.update(bars[benchmark], completed=done)

    return show
