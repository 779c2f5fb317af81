"""Predict the seven maps of an image, or of two consecutive frames, and write them to a folder.

Writes a colour picture (.png) and the values (.npz) of each map, depth and shading as 16-bit PNG as well,
optical flow in pixels as .flo, and a contact sheet of everything.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import torch

    from stablemtl.outputs import Predictions


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Options of ``stablemtl predict``."""

    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """Image file (PNG, JPEG, WebP, TIFF, ...)."""
    next: Annotated[Path | None, tyro.conf.arg(metavar="IMAGE2")] = None
    """The frame after IMAGE, of the same size; motion needs it."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Maps wanted, such as: depth normal. All the model knows if left out."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id (owner/name)."""
    out: Path = Path("maps")
    """Folder to write to; made if missing, other files in it stay."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the network; float16 needs a GPU."""
    single_stream: bool = False
    """Use the auxiliary network alone: faster, less accurate."""
    processing_resolution: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Longest edge the network runs at, in px; 0 for the image's own size. The model's choice if left out."""
    match_input_resolution: bool = True
    """Write maps of the image's size; if off, of the size processed: smaller files for a large photo."""


def run(config: PredictConfig) -> int:
    """Predict, write, and print what was written."""
    times = {}
    start = time.perf_counter()
    import torch
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.images import read_pixels
    from stablemtl.pipeline import StableMTLPipeline

    # 1. Read the images first: a wrong path must not cost the loading of a large model.
    image = read_pixels(config.image, name="IMAGE")
    image_next = None if config.next is None else read_pixels(config.next, name="--next")
    if config.processing_resolution is not None and config.processing_resolution < 0:
        raise ValueError(f"--processing-resolution must be 0 or more, got {config.processing_resolution}.")
    if config.out.exists() and not config.out.is_dir():
        raise ValueError(f"--out {config.out} is a file. Name a folder.")

    # 2. Load.
    diffusers_logging.disable_progress_bar()
    device = pick_device(config.device)
    if config.dtype == "float16" and device == "cpu":
        raise ValueError("--dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    dtype: torch.dtype = getattr(torch, config.dtype)
    pipe = StableMTLPipeline.from_pretrained(config.model, torch_dtype=dtype, device=device)
    times["load"] = time.perf_counter() - start

    # 3. Predict.
    start = time.perf_counter()
    maps = pipe(
        image,
        image_next,
        tasks=config.tasks or None,
        processing_resolution=config.processing_resolution,
        match_input_resolution=config.match_input_resolution,
        single_stream=config.single_stream,
    )
    times["predict"] = time.perf_counter() - start

    # 4. Write.
    start = time.perf_counter()
    maps.save(config.out)
    times["write"] = time.perf_counter() - start
    _report(maps, config.out, times, device)
    return 0


def pick_device(name: str) -> str:
    """``auto`` resolved to the best device here; anything else as it is."""
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _report(maps: Predictions, out: Path, times: dict[str, float], device: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table("task", "shape", "unit", "range", "file")
    for task, prediction in maps.items():
        shape = " x ".join(map(str, prediction.values.shape))
        file = str(out / f"{task}.npz")
        table.add_row(*(Text(cell) for cell in (task, shape, prediction.unit, prediction.range_text, file)))
    console.print(table)
    notes: dict[str, list[str]] = {}
    for task, prediction in maps.items():
        if prediction.note:
            notes.setdefault(prediction.note, []).append(task)
    for note, tasks in notes.items():
        console.print(Text(f"{', '.join(tasks)}: {note}"))
    console.print(Text(f"pictures and contact_sheet.png in {out}"))
    timing = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in times.items())
    console.print(Text(f"{timing} ({device})"))
