"""Latency of the exported model in ONNX Runtime and OpenVINO, against torch on the same machine.

    python benchmarks/exported.py --size nano --sizes 96x128 192x256
    python benchmarks/exported.py --size sd2 --sizes 192x256 --repeats 3 --runtimes torch openvino

``call`` is the whole call of the pipeline, from arrays to maps with their units; ``networks`` is from latents
of frames to latents of tasks. Differences are those of the tasks' latents from torch in float32. Folders are
written below ``--exports`` once and used again. At the size of Stable Diffusion 2, weights are random; torch,
the exporter and a runtime together need about 20 GB, so measure one runtime at a time there.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from measure import Options, Report, load, make_frames, peak_memory, time_call

from stablemtl import TASKS
from stablemtl.exported import export_pipeline, is_exported, load_exported

Variant = Literal["torch", "torch-bfloat16", "onnx", "openvino", "openvino-bfloat16"]


@dataclass(kw_only=True)
class ExportedOptions(Options):
    """Exported models and torch."""

    sizes: tuple[str, ...] = ("96x128", "192x256")
    """Sizes of the frames, HEIGHTxWIDTH [px]."""
    tasks: tuple[int, ...] = (7, 1)
    """How many tasks are asked for, in the order of ``stablemtl.TASKS``."""
    frames: Literal[1, 2] = 2
    """2 for a pair, 1 for a single image."""
    runtimes: tuple[Variant, ...] = ("torch", "onnx", "openvino", "openvino-bfloat16")
    """What to measure; torch is always run once, for the differences."""
    exports: Path = Path("benchmarks/results/exported")
    """Folder for the exported models."""


def main(options: ExportedOptions) -> Report:
    device = options.start()
    report = Report(
        f"exported_{options.size}",
        f"Exported models: {options.size}, {'pair' if options.frames == 2 else 'single image'}",
        options,
    )
    pipe = load(options.size, "cpu", "float32")
    for runtime in ("onnx", "openvino"):
        folder = options.exports / f"{options.size}-{runtime}"
        if any(one.split("-")[0] == runtime for one in options.runtimes) and not is_exported(folder):
            print(f"writing {folder}", flush=True)
            export_pipeline(pipe, folder, to=runtime)  # type: ignore[arg-type]
    cases = [
        (tuple(map(int, size.split("x"))), list(TASKS)[:count])
        for size in options.sizes
        for count in options.tasks
    ]
    inputs = {size: Frames(pipe, size, options.frames) for size, _ in cases}
    expected = [inputs[size].networks(pipe, tasks) for size, tasks in cases]
    for variant in options.runtimes:
        with peak_memory(device) as loading:
            measured = pipe if variant == "torch" else open_variant(options, variant, report)
        if measured is None:
            continue
        for (size, tasks), reference in zip(cases, expected, strict=True):
            frames = inputs[size]
            latents = frames.networks(measured, tasks)
            row = {
                "runtime": variant,
                "size": f"{size[0]}x{size[1]}",
                "tasks": len(tasks),
                "call_s": time_call(
                    lambda m=measured, f=frames, t=tasks: f.call(m, t), options.repeats, device
                ),
                "networks_s": time_call(
                    lambda m=measured, f=frames, t=tasks: f.networks(m, t), options.repeats, device
                ),
                "difference": max(float((latents[t].float() - reference[t]).abs().max()) for t in tasks),
                "weights_MB": round(loading.added / 1e6),
            }
            with peak_memory(device) as peak:
                frames.call(measured, tasks)
            report.rows.append(row | {"call_MB": round(peak.added / 1e6)})
            print(f"{variant}, {row['size']}, {len(tasks)} tasks: {row['call_s']} s", flush=True)
        del measured
        gc.collect()
    add_ratios(report)
    report.notes.append(
        "ratio: of torch's time for the whole call to this one's. torch's weights count as 0 MB."
    )
    report.write()
    return report


class Frames:
    """The input of one size: arrays for the call, latents for the networks."""

    def __init__(self, pipe: Any, size: tuple[int, ...], count: int) -> None:
        images = make_frames(pipe, (size[0], size[1]), 1, count)
        self.arrays = [(image[0] / 2 + 0.5).clamp(0, 1) for image in images]
        with torch.no_grad():
            self.latents = [pipe.codec.encode(image) for image in images]

    def call(self, pipe: Any, tasks: list[str]) -> Any:
        return pipe(*self.arrays, tasks=tasks, processing_resolution=0)

    @torch.no_grad()
    def networks(self, pipe: Any, tasks: list[str]) -> dict[str, torch.Tensor]:
        latents = [latent.to(pipe.model.dtype) for latent in self.latents]
        second = latents[1] if len(latents) == 2 else None
        return pipe.model(latents[0], second, tasks)


def open_variant(options: ExportedOptions, variant: str, report: Report) -> Any:
    """The pipeline to measure; None, and a note, if this machine cannot run it."""
    runtime, _, precision = variant.partition("-")
    if runtime == "torch":
        return load(options.size, "cpu", precision)
    try:
        return load_exported(
            options.exports / f"{options.size}-{runtime}",
            threads=options.threads,
            precision=precision or "float32",
        )
    except ValueError as error:
        report.notes.append(f"{variant}: not measured ({error})")
        return None


def add_ratios(report: Report) -> None:
    """How many times faster than torch each row is."""
    torch_s = {(row["size"], row["tasks"]): row["call_s"] for row in report.rows if row["runtime"] == "torch"}
    for row in report.rows:
        base = torch_s.get((row["size"], row["tasks"]))
        row["ratio"] = float("nan") if base is None else base.median / row["call_s"].median


if __name__ == "__main__":
    main(tyro.cli(ExportedOptions))
