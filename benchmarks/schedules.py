"""The published schedule against ours, on the same modules: time, passes, arithmetic, memory, difference.

    python benchmarks/schedules.py --size nano --height 96 --width 128
    python benchmarks/schedules.py --size sd2 --height 192 --width 256 --tasks 7 1 --text count --repeats 3
    python benchmarks/schedules.py --size sd2 --height 64 --width 64 --tasks 7 --repeats 1 --reference

Both go from frames on the device to label images there. ``call`` is the whole call of the pipeline, from
arrays to maps with their units. Memory is what a run needs on top of the weights. With ``--reference`` the
same images are computed in double precision at the end, which tells rounding from mistakes: the difference of
each schedule from them, and of both from each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro
from measure import Options, Report, count_operations, load, make_frames, meta_twin, peak_memory, time_call
from published import Images, PublishedSchedule, TextEncoder, count_passes, shared_schedule

from stablemtl import TASKS, StableMTLPipeline


@dataclass(kw_only=True)
class ScheduleOptions(Options):
    """Published schedule against ours."""

    height: int = 96
    """Height of the frames [px]."""
    width: int = 128
    """Width of the frames [px]."""
    batch: int = 1
    """Inputs computed together."""
    frames: tuple[Literal[1, 2], ...] = (2, 1)
    """2 for a pair, 1 for a single image."""
    tasks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    """How many tasks are asked for, in the order of ``stablemtl.TASKS``."""
    text: Literal["skip", "count"] = "skip"
    """count: the published schedule also encodes its prompts, with a text encoder of full size (sd2 only)."""
    reference: bool = False
    """Compare both with double precision as well (sd2: 19 GB)."""


def main(options: ScheduleOptions) -> Report:
    device = options.start()
    if options.text == "count" and options.size != "sd2":
        raise SystemExit("--text count needs --size sd2: nano has no text encoder.")
    pipe = load(options.size, device, options.dtype)
    text = None
    if options.text == "count":
        text = TextEncoder(device, pipe.model.dtype)
        pipe.model.set_tokens({task: text(task) for task in pipe.model.tasks})
    published = PublishedSchedule(pipe, text)
    twin = meta_twin(pipe)
    report = Report(
        f"schedules_{options.size}_{options.height}x{options.width}_{device.type}_{options.dtype}",
        f"Published schedule and ours: {options.size}, {options.dtype}, {options.batch} x "
        f"{options.height}x{options.width}",
        options,
    )
    compared = []
    for frames in options.frames:
        images = make_frames(pipe, (options.height, options.width), options.batch, frames)
        first, second = images[0], images[1] if frames == 2 else None
        for count in options.tasks:
            tasks = list(TASKS)[:count]
            row, outputs = compare(options, device, published, twin, (pipe, first, second, tasks))
            report.rows.append(row)
            compared.append((first, second, outputs))
            print(f"{frames} frames, {count} tasks: {report.rows[-1]['ratio']:.2f} times", flush=True)
    if options.reference:
        add_reference(report, pipe, compared)
    report.notes.append(
        f"largest difference of any pixel: {max(row['difference'] for row in report.rows):.2g}"
    )
    if text is None:
        report.notes.append("The published schedule's prompt encodings are not counted.")
    report.write(TABLE + (REFERENCE if options.reference else ()))
    report.picture(lambda axes: draw(axes, report))
    return report


TABLE = (
    *("frames", "tasks", "published_s", "ours_s", "ratio", "call_s", "published_passes", "ours_passes"),
    *("published_GFLOP", "ours_GFLOP", "arithmetic", "published_MB", "ours_MB", "difference"),
)
REFERENCE = ("published_from_double", "ours_from_double")


def compare(
    options: ScheduleOptions, device: torch.device, published: PublishedSchedule, twin: Any, inputs: Any
) -> tuple[dict[str, Any], dict[str, Images]]:
    """One row, and the images of both schedules."""
    pipe, first, second, tasks = inputs
    calls = {
        "published": lambda: published(first, second, tasks),
        "ours": lambda: shared_schedule(pipe, first, second, tasks),
    }
    row: dict[str, Any] = {"frames": 1 if second is None else 2, "tasks": len(tasks)}
    outputs: dict[str, Images] = {}
    for name, call in calls.items():
        passes = count_passes(pipe, published.text, call)
        row[f"{name}_counts"] = passes
        row[f"{name}_passes"] = "/".join(map(str, passes.values()))
        with peak_memory(device) as peak:
            outputs[name] = call()
        row[f"{name}_MB"] = round(peak.added / 1e6)
    # Runs take turns, so that a machine that slows down slows down both.
    runs: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.repeats):
        for name, call in calls.items():
            runs[name] += time_call(call, 1, device, warmup=0).runs
    arrays = [
        None if image is None else [one.float().cpu() / 2 + 0.5 for one in image] for image in (first, second)
    ]
    whole = {"processing_resolution": 0, "batch_size": options.batch}
    row["call_s"] = time_call(lambda: pipe(*arrays, tasks, **whole), options.repeats, device).median
    for name in calls:
        row[f"{name}_runs_s"] = runs[name]
        row[f"{name}_s"] = sorted(runs[name])[len(runs[name]) // 2]
    row["ratio"] = row["published_s"] / row["ours_s"]
    shadow = [None if image is None else torch.empty_like(image, device="meta") for image in (first, second)]
    theirs = PublishedSchedule(twin)
    row["published_GFLOP"] = sum(count_operations(lambda: theirs(*shadow, tasks)).values())
    row["ours_GFLOP"] = sum(count_operations(lambda: shared_schedule(twin, *shadow, tasks)).values())
    row["arithmetic"] = row["published_GFLOP"] / row["ours_GFLOP"]
    row["difference"] = largest_difference(outputs["published"], outputs["ours"])
    return row, outputs


def add_reference(report: Report, pipe: StableMTLPipeline, compared: list[Any]) -> None:
    """How far the images of each row are from those of double precision; the pipeline is converted."""
    pipe.to(torch.float64)
    for row, (first, second, outputs) in zip(report.rows, compared, strict=True):
        tasks = list(outputs["ours"])
        frames = [None if image is None else image.double() for image in (first, second)]
        with torch.no_grad():
            exact = shared_schedule(pipe, *frames, tasks)
        for name, column in zip(("published", "ours"), REFERENCE, strict=True):
            row[column] = largest_difference(outputs[name], exact)


def largest_difference(a: Images, b: Images) -> float:
    """Of any pixel of any task."""
    return max(float((a[task].double() - b[task].double()).abs().max()) for task in a)


def draw(axes: Any, report: Report) -> None:
    """Seconds against the number of tasks."""
    for frames, style in ((2, "-o"), (1, "--s")):
        rows = sorted((row for row in report.rows if row["frames"] == frames), key=lambda row: row["tasks"])
        for name, colour in (("published", "tab:red"), ("ours", "tab:blue")):
            label = f"{name}, {'pair' if frames == 2 else 'one image'}"
            if rows:
                xs, ys = [row["tasks"] for row in rows], [row[f"{name}_s"] for row in rows]
                axes.plot(xs, ys, style, color=colour, label=label)
    axes.set(xlabel="tasks asked for", ylabel="seconds", ylim=(0, None), title=report.title)
    axes.grid(alpha=0.3)
    axes.legend()


if __name__ == "__main__":
    main(tyro.cli(ScheduleOptions))
