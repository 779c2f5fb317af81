"""The most memory a call needs, with each way to need less, what it costs in time and changes in the maps.

    python benchmarks/memory.py --size nano --height 384 --width 512 --tile 256
    python benchmarks/memory.py --size sd2 --height 1024 --width 2048 --repeats 1

Memory on top of the weights, and in all. ``stream_offload`` is measured on an accelerator only. The
difference is the largest of any pixel of the label images, which lie in [-1, 1]; ``rms`` its root mean
square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import tyro
from measure import Options, Report, load, make_frames, peak_memory, time_call
from torch import Tensor

from stablemtl import TASKS, StableMTLPipeline


@dataclass(kw_only=True)
class MemoryOptions(Options):
    """Peak memory of a call."""

    height: int = 384
    """Height of the frames [px]."""
    width: int = 512
    """Width of the frames [px]."""
    tile: int = 512
    """Edge of the codec's tiles [px]."""
    batch_tasks: tuple[int, ...] = (7, 2, 1)
    """How many tasks go together."""


def main(options: MemoryOptions) -> Report:
    device = options.start()
    pipe = load(options.size, device, options.dtype)
    frames = make_frames(pipe, (options.height, options.width), 1, 2)
    report = Report(
        f"memory_{options.size}_{options.height}x{options.width}_{device.type}_{options.dtype}",
        f"Peak memory: {options.size}, {options.dtype}, pair of {options.height}x{options.width}, all tasks",
        options,
    )
    expected: dict[str, Tensor] | None = None
    for offload in (False, True) if device.type != "cpu" else (False,):
        if offload:
            pipe.enable_stream_offload(device)
        for tile in (0, options.tile):
            for together in options.batch_tasks:
                with peak_memory(device) as peak:
                    images = run(pipe, frames, together, tile)
                expected = images if expected is None else expected
                errors = torch.stack([images[task] - expected[task] for task in TASKS])
                timing = time_call(
                    lambda together=together, tile=tile: run(pipe, frames, together, tile),
                    options.repeats,
                    device,
                    warmup=0,
                )
                row = {
                    "batch_tasks": together,
                    "codec_tile": tile,
                    "stream_offload": offload,
                    "added_MB": round(peak.added / 1e6),
                    "peak_MB": round(peak.highest / 1e6),
                    "seconds": timing.median,
                    "difference": float(errors.abs().max()),
                    "rms": float(errors.square().mean().sqrt()),
                }
                report.rows.append(row)
                print(row, flush=True)
    report.write()
    report.picture(lambda axes: draw(axes, report))
    return report


@torch.no_grad()
def run(pipe: StableMTLPipeline, frames: list[Tensor], together: int, tile: int) -> dict[str, Tensor]:
    """Label images (1, 3, H, W) on the CPU, ``together`` tasks at a time."""
    size = (frames[0].shape[-2], frames[0].shape[-1])
    latents = [pipe.codec.encode(frame, tile=tile).to(pipe.model.dtype) for frame in frames]
    outputs = pipe.model(*latents, batch_tasks=together)
    images: dict[str, Tensor] = {}
    names = list(outputs)
    for names_here in (names[i : i + together] for i in range(0, len(names), together)):
        stacked = torch.cat([outputs.pop(name) for name in names_here])
        decoded = pipe.codec.decode(stacked, size, tile=tile).clamp(-1, 1).float().cpu()
        images.update(zip(names_here, decoded.split(1), strict=True))
    return images


def draw(axes: Any, report: Report) -> None:
    """Memory of each way."""
    names = [
        f"{row['batch_tasks']} tasks\ntile {row['codec_tile']}" + "\noffload" * row["stream_offload"]
        for row in report.rows
    ]
    axes.bar(names, [row["added_MB"] for row in report.rows])
    axes.tick_params(axis="x", labelsize=7)
    axes.set(ylabel="MB on top of the weights", title=report.title)


if __name__ == "__main__":
    main(tyro.cli(MemoryOptions))
