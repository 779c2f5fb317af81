"""Score a model on labelled held-out data, beside the best constant prediction and the codec's ceiling.

Every (dataset, task) pair in the data folder is scored at the data's own resolution, by the published metrics
with their alignment; a real stereo pair that comes with scikit-image is added. Prints a table and writes all
figures as JSON. The exit status is 1 if samples could not be read; the others are scored all the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import torch

    from stablemtl.evaluation.report import Report


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of ``stablemtl evaluate``."""

    data: Path
    """Data folder with hypersim, vkitti2, FlyingThings3D_subset or FlyingChairs_release in it."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id (owner/name)."""
    split: Literal["train", "val", "test"] = "test"
    """Part of the data; datasets with one held-out part use it for val and test."""
    limit: int = 60
    """Samples of each pair at most, spread evenly; 0 for all."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Tasks to score, such as: depth normal. All that are labelled if left out."""
    single_stream: bool = False
    """Score the auxiliary network alone."""
    motorcycle: bool = True
    """Add the real stereo pair, at the model's default resolution."""
    out: Path = Path("report.json")
    """JSON file with all figures; the table goes to a Markdown file beside it."""
    batch_size: int = 4
    """Frames computed together."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the network; float16 needs a GPU."""


def run(config: EvaluateConfig) -> int:
    """Evaluate, print the table, write the JSON; 1 if samples had to be left out."""
    # 1. What is wrong with the arguments must not cost the loading of a large model.
    if not config.data.is_dir():
        raise FileNotFoundError(f"--data: there is no folder {config.data}.")
    if config.out.is_dir():
        raise ValueError(f"--out {config.out} is a folder. Name a file, such as {config.out}/report.json.")
    for option, value, least in (("--limit", config.limit, 0), ("--batch-size", config.batch_size, 1)):
        if value < least:
            raise ValueError(f"{option} must be {least} or more, got {value}.")

    import torch
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.commands.predict import pick_device
    from stablemtl.pipeline import StableMTLPipeline
    from stablemtl.writers import staged_file

    # 2. Load.
    diffusers_logging.disable_progress_bar()
    device = pick_device(config.device)
    if config.dtype == "float16" and device == "cpu":
        raise ValueError("--dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    dtype: torch.dtype = getattr(torch, config.dtype)
    pipe = StableMTLPipeline.from_pretrained(config.model, torch_dtype=dtype, device=device)

    # 3. Evaluate with a progress bar on stderr, so that stdout has the table only.
    from rich.console import Console
    from rich.progress import Progress

    from stablemtl.evaluation import evaluate

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bars = {}

        def show(pair: str, done: int, total: int) -> None:
            if pair not in bars:
                bars[pair] = progress.add_task(pair, total=total)
            progress.update(bars[pair], completed=done)

        report = evaluate(
            pipe,
            config.data,
            split=config.split,
            limit=config.limit,
            tasks=config.tasks or None,
            single_stream=config.single_stream,
            motorcycle=config.motorcycle,
            batch_size=config.batch_size,
            on_progress=show,
        )

    # 4. Write first, then print.
    report.save(config.out)
    with staged_file(config.out.with_suffix(".md")) as beside:
        beside.write_text(report.markdown(), encoding="utf-8")
    _print(report, config.out)
    return 0 if report.complete else 1


def _print(report: Report, out: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(report.table())
    console.print(Text("constant: best constant prediction; ceiling: ground truth through the codec;"))
    console.print(Text("gain: model over constant; not aligned: model in the task's own unit, without a fit"))
    console.print(Text(f"all figures in {out}; {report.seconds:.1f} s ({report.device}, {report.dtype})"))
    errors = Console(stderr=True, highlight=False)
    for score in report.scores:
        pair = f"{score.dataset} {score.task}"
        for sample in score.unreadable:
            errors.print(Text(f"left out: {pair}, sample {sample.index}: {sample.error}"))
        if score.n == 0:
            errors.print(Text(f"{pair}: no sample could be scored"))
    count = sum(len(score.unreadable) for score in report.scores)
    if count:
        errors.print(Text(f"{count} sample{'' if count == 1 else 's'} could not be read"))
