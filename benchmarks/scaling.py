"""How cost follows the number of tasks, the pixels and the batch, against the arithmetic counted.

    python benchmarks/scaling.py --size nano
    python benchmarks/scaling.py --size sd2 --height 192 --width 256 --scales 0.5 1 1.5 --batches 1 2

The base point is one pair, all tasks, at the given size. Encoding, networks and decoding are timed apart. At
every other point each is expected to take the base's time times the ratio of operations counted; ``off`` is
how far the sum is from that. Where it is more than the tolerance, ``why`` names the part that differs most,
with the operations per second it reached there and at the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import tyro
from measure import Options, Report, count_operations, load, make_frames, meta_twin, peak_memory, time_call
from published import decode_latents, encode_frames
from torch import Tensor

from stablemtl import TASKS, StableMTLPipeline

PARTS = ("encode", "networks", "decode")


@dataclass(kw_only=True)
class ScalingOptions(Options):
    """Cost against tasks, pixels and batch."""

    height: int = 96
    """Height of the base frames [px]."""
    width: int = 128
    """Width of the base frames [px]."""
    tasks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    """How many tasks are asked for."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """Edges of the frames, relative to the base."""
    batches: tuple[int, ...] = (1, 2, 4)
    """Pairs computed together."""
    tolerance: float = 0.2
    """Deviation that asks for a reason."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is computed."""

    tasks: int
    size: tuple[int, int]
    batch: int = 1


def main(options: ScalingOptions) -> Report:
    device = options.start()
    pipe = load(options.size, device, options.dtype)
    twin = meta_twin(pipe)
    base = Point(tasks=len(TASKS), size=(options.height, options.width))
    sizes = [scaled(base.size, scale) for scale in options.scales]
    sweeps = {
        "tasks": [Point(tasks=count, size=base.size) for count in options.tasks],
        "pixels": [Point(tasks=base.tasks, size=size) for size in sizes],
        "batch": [Point(tasks=base.tasks, size=base.size, batch=batch) for batch in options.batches],
    }
    report = Report(
        f"scaling_{options.size}_{options.height}x{options.width}_{device.type}_{options.dtype}",
        f"Cost against the arithmetic counted: {options.size}, {options.dtype}, pairs",
        options,
    )
    points = dict.fromkeys([base, *(point for sweep in sweeps.values() for point in sweep)])
    measured = {point: measure(options, device, pipe, twin, point) for point in points}
    for name, sweep in sweeps.items():
        for point in sweep:
            report.rows.append({"sweep": name, **row_of(point, measured[point], measured[base], options)})
    report.notes.append(f"base: {base.tasks} tasks, {base.size[0]}x{base.size[1]}, one pair")
    report.write([column for column in report.rows[0] if not column.endswith("_runs")])
    report.picture(lambda axes: draw(axes, report))
    return report


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """``size`` times ``scale``, in whole cells of 8 px; unchanged for a scale of one."""
    if scale == 1:
        return size
    height, width = (max(8, round(edge * scale / 8) * 8) for edge in size)
    return height, width


def measure(
    options: ScalingOptions,
    device: torch.device,
    pipe: StableMTLPipeline,
    twin: StableMTLPipeline,
    point: Point,
) -> dict[str, Any]:
    """Seconds and operations of each part."""
    first, second = make_frames(pipe, point.size, point.batch, 2)
    tasks = list(TASKS)[: point.tasks]

    def parts_of(on: StableMTLPipeline, frame: Tensor, frame_next: Tensor) -> dict[str, Any]:
        with torch.no_grad():
            latents = encode_frames(on, frame, frame_next)
            outputs = on.model(*latents, tasks=tasks)
        return {
            "encode": lambda: encode_frames(on, frame, frame_next),
            "networks": lambda: on.model(*latents, tasks=tasks),
            "decode": lambda: decode_latents(on, outputs, point.size),
        }

    with torch.no_grad():
        calls = parts_of(pipe, first, second)
        seconds = {name: time_call(call, options.repeats, device) for name, call in calls.items()}
        with peak_memory(device) as peak:
            for call in calls.values():
                call()
        shadow = parts_of(
            twin, torch.empty_like(first, device="meta"), torch.empty_like(second, device="meta")
        )
        gflop = {name: sum(count_operations(call).values()) for name, call in shadow.items()}
    print(f"{point}: {sum(t.median for t in seconds.values()):.3f} s", flush=True)
    return {"seconds": seconds, "gflop": gflop, "added_MB": round(peak.added / 1e6)}


def row_of(
    point: Point, here: dict[str, Any], base: dict[str, Any], options: ScalingOptions
) -> dict[str, Any]:
    """One row: measured, counted, and how far they are apart."""
    seconds = {part: here["seconds"][part].median for part in PARTS}
    rates = {
        part: base["gflop"][part] / base["seconds"][part].median for part in PARTS
    }  # GFLOP/s at the base
    expected = {part: here["gflop"][part] / rates[part] for part in PARTS}
    off = sum(seconds.values()) / sum(expected.values()) - 1
    why = ""
    if abs(off) > options.tolerance:
        part = max(PARTS, key=lambda name: abs(seconds[name] - expected[name]))
        rate = here["gflop"][part] / seconds[part]
        why = f"{part}: {rate:.0f} GFLOP/s, {rates[part]:.0f} at the base"
    return {
        "tasks": point.tasks,
        "size": f"{point.size[0]}x{point.size[1]}",
        "batch": point.batch,
        "seconds": sum(seconds.values()),
        **{f"{part}_s": seconds[part] for part in PARTS},
        **{f"{part}_runs": here["seconds"][part].runs for part in PARTS},
        "GFLOP": sum(here["gflop"].values()),
        "GFLOP/s": sum(here["gflop"].values()) / sum(seconds.values()),
        "added_MB": here["added_MB"],
        "expected_s": sum(expected.values()),
        "off_%": round(100 * off),
        "why": why,
    }


def draw(axes: Any, report: Report) -> None:
    """Measured seconds against those the operations let expect."""
    for sweep, marker in (("tasks", "o"), ("pixels", "s"), ("batch", "^")):
        rows = [row for row in report.rows if row["sweep"] == sweep]
        axes.plot([row["expected_s"] for row in rows], [row["seconds"] for row in rows], marker, label=sweep)
    limit = max(row["expected_s"] for row in report.rows)
    axes.plot([0, limit], [0, limit], color="grey", linewidth=1)
    axes.fill_between([0, limit], [0, 0.8 * limit], [0, 1.2 * limit], color="grey", alpha=0.15, label="20 %")
    axes.set(
        xlabel="seconds expected from the operations counted", ylabel="seconds measured", title=report.title
    )
    axes.legend()


if __name__ == "__main__":
    main(tyro.cli(ScalingOptions))
