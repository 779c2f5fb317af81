"""Flicker and memory of videos.

    python benchmarks/video.py consistency
    python benchmarks/video.py memory --tasks depth optical_flow --processing-resolution 96

``consistency``: how much maps change from frame to frame along the motion, as predicted and smoothed, on
clips of photographs that come with scikit-image, panned and zoomed by a known motion, with noise and a
changing exposure.

``memory``: peak memory of a process that predicts a long clip, beside that of a short one.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from measure import environment, load
from rich.console import Console
from rich.table import Table

from stablemtl.video import VideoMaps, VideoOptions, predict_video
from stablemtl.video.writing import VideoWriter

PHOTOGRAPHS = ("coffee", "astronaut", "motorcycle", "chelsea")
CONSTANTS = (0.0, 0.3, 0.45, 0.6, 0.75, 0.9)
_FPS = 10


@dataclass(frozen=True)
class Consistency:
    """Change along the motion, before and after smoothing."""

    out: Path = Path("benchmarks/results/video_consistency.json")
    """Receives the figures."""
    constants: tuple[float, ...] = CONSTANTS
    """Smoothing constants to compare; 0 is no smoothing."""
    photographs: tuple[str, ...] = PHOTOGRAPHS
    """Names of pictures of scikit-image; motorcycle is a stereo pair's left picture."""
    frames: int = 24
    """Of each clip."""
    noise: float = 4.0
    """Standard deviation of the sensor's noise, of 255."""
    exposure: float = 0.06
    """Standard deviation of the exposure from frame to frame, relative."""


@dataclass(frozen=True)
class Memory:
    """Peak memory of a long clip and of a short one, each in a process of its own."""

    tasks: tuple[str, ...] = ("depth", "optical_flow")
    """Maps to predict."""
    processing_resolution: int | None = None
    """Longest edge at which the network runs [px]."""
    single_stream: bool = False
    """Use the auxiliary network alone, which takes less time."""
    seconds: tuple[int, ...] = (10, 120)
    """Lengths of the clips."""
    height: int = 180
    """Of the clips [px]."""
    width: int = 320
    """Of the clips [px]."""
    out: Path = Path("benchmarks/results/video_memory.json")
    """Receives the figures."""


@dataclass(frozen=True)
class Once:
    """Predict one clip and print its peak memory; what ``memory`` starts."""

    clip: Path
    """Video file."""
    tasks: tuple[str, ...]
    """Maps to predict."""
    processing_resolution: int | None = None
    """Longest edge at which the network runs [px]."""
    single_stream: bool = False
    """Use the auxiliary network alone."""


Command = (
    Annotated[Consistency, tyro.conf.subcommand("consistency")]
    | Annotated[Memory, tyro.conf.subcommand("memory")]
    | Annotated[Once, tyro.conf.subcommand("once")]
)


# clips ------------------------------------------------------------------------------------------------------


@dataclass
class Pan:
    """A window that moves over a photograph: a clip whose motion is known."""

    photograph: np.ndarray
    """(H, W, 3) uint8."""
    size: tuple[int, int]
    """(height, width) of the frames [px]."""
    frames: int
    seed: int = 0
    noise: float = 0.0
    exposure: float = 0.0
    _gain: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._gain = np.exp(rng.normal(0.0, self.exposure, self.frames))

    def matrix(self, number: int) -> np.ndarray:
        """Takes pixels (x, y) of a frame to pixels of the photograph, (2, 3)."""
        height, width = self.photograph.shape[:2]
        turn = 2 * math.pi * number / 120
        scale = 0.62 * min(width / self.size[1], height / self.size[0]) * (1 + 0.18 * math.sin(2 * turn))
        x = width * (0.5 + 0.13 * math.cos(turn)) - scale * self.size[1] / 2
        y = height * (0.5 + 0.13 * math.sin(turn)) - scale * self.size[0] / 2
        return np.array([[scale, 0.0, x], [0.0, scale, y]])

    def frame(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8; the same on each call."""
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (self.size[1], self.size[0])
        clean = cv2.warpAffine(self.photograph, self.matrix(number), size, flags=how).astype(np.float64)
        noise = np.random.default_rng([self.seed, number]).normal(0.0, self.noise, clean.shape)
        return np.clip(np.rint(clean * self._gain[number] + noise), 0, 255).astype(np.uint8)

    def motion(self, number: int) -> np.ndarray:
        """True motion from a frame to the next, (H, W, 2) float32 [px]."""
        here, there = self.matrix(number), self.matrix(number + 1)
        x, y = np.meshgrid(np.arange(self.size[1]), np.arange(self.size[0]))
        points = np.stack([x, y], axis=-1) * here[0, 0] + here[:, 2]
        return ((points - there[:, 2]) / there[0, 0] - np.stack([x, y], axis=-1)).astype(np.float32)

    def write(self, path: Path) -> None:
        """As a video."""
        writer = VideoWriter(path, self.size, time_base=Fraction(1, _FPS), rate=Fraction(_FPS), quality=12)
        for number in range(self.frames):
            writer.add(self.frame(number), number, 1)
        writer.close()


def photograph(name: str) -> np.ndarray:
    """A picture of scikit-image, RGB."""
    import skimage.data

    if name == "motorcycle":
        return np.asarray(skimage.data.stereo_motorcycle()[0])
    return np.asarray(getattr(skimage.data, name)())


# consistency ------------------------------------------------------------------------------------------------


def consistency(options: Consistency) -> None:
    pipe = load("nano", "cpu")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="stablemtl-video-") as name:
        folder = Path(name)
        for photo in options.photographs:
            pan = Pan(
                photograph(photo),
                (180, 320),
                options.frames,
                noise=options.noise,
                exposure=options.exposure,
            )
            clip = folder / f"{photo}.mp4"
            pan.write(clip)
            rows += compare(pipe, pan, clip, folder, options.constants, photo)
    summary = summarise(rows)
    show(summary, options.constants)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(pipe.device), "summary": summary, "rows": rows}
    options.out.write_text(json.dumps(content, indent=2) + "\n")


def compare(
    pipe: Any, pan: Pan, clip: Path, folder: Path, constants: tuple[float, ...], photo: str
) -> list[dict[str, Any]]:
    """A row for each task and constant. Maps are predicted once; smoothing is repeated from them."""
    from stablemtl.video.consistency import Consistency as Change
    from stablemtl.video.motion import Motion, grey_of, motion_between, motion_size
    from stablemtl.video.smoothing import Smoother

    raw = folder / f"{clip.stem}-raw"
    predict_video(pipe, clip, raw, VideoOptions(smoothing="none", array_type="float32", batch_size=4))
    maps = VideoMaps(raw)
    frames = [pan.frame(number) for number in range(pan.frames)]
    greys = [grey_of(frame, pan.size) for frame in frames]
    measured = [motion_between(a, b) for a, b in pairwise(greys)]
    size = motion_size(pan.size)
    rows = []
    for task_name, task in pipe.tasks.items():
        spread = maps.facts["tasks"][task_name]["spread"]
        values = [maps[n][task_name].values for n in range(len(maps))]
        values = [one if one.ndim == 3 else one[:, :, None] for one in values]
        for constant in constants:
            smoother = Smoother(task.spec, constant, np.dtype(np.float32))
            by_search, by_truth = Change(), Change()
            detail, error = [], []
            # the last frame has no second one: its motion means nothing
            for n in range(len(values) - (task.spec.frames == 2)):
                motion = measured[n - 1] if n else None
                smooth = smoother.step(values[n], motion)
                by_search.add(smooth, motion, size)
                true = None
                if n:
                    forward = pan.motion(n - 1)
                    inside = inside_of(forward)
                    true = Motion(forward, forward, inside, inside)
                by_truth.add(smooth, true, size)
                if not task.spec.classes:
                    detail.append(float(np.abs(np.diff(smooth, axis=1)).mean()))
                if task_name == "optical_flow":
                    error.append(float(np.linalg.norm(smooth - pan.motion(n), axis=2).mean()))
            rows.append(
                {
                    "photograph": photo,
                    "task": task_name,
                    "constant": constant,
                    "change": by_search.change(spread),
                    "change_true_motion": by_truth.change(spread),
                    "detail": float(np.mean(detail)) if detail else None,
                    "epe_px": float(np.mean(error)) if error else None,
                }
            )
    return rows


def inside_of(flow: np.ndarray) -> np.ndarray:
    """Where following the flow stays in the picture, (H, W) bool."""
    height, width = flow.shape[:2]
    x = np.arange(width)[None] + flow[:, :, 0]
    y = np.arange(height)[:, None] + flow[:, :, 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over photographs; ``detail`` relative to no smoothing."""
    summary = []
    for task in dict.fromkeys(row["task"] for row in rows):
        for constant in dict.fromkeys(row["constant"] for row in rows):
            own = [row for row in rows if row["task"] == task and row["constant"] == constant]
            mean = {
                key: float(np.mean([row[key] for row in own])) if own[0][key] is not None else None
                for key in ("change", "change_true_motion", "detail", "epe_px")
            }
            summary.append({"task": task, "constant": constant, **mean})
    return summary


def show(summary: list[dict[str, Any]], constants: tuple[float, ...]) -> None:
    """A line for each task, a column for each constant."""
    titles = {
        "change": "mean change along the measured motion, relative to the clip's range",
        "change_true_motion": "the same along the true motion",
        "detail": "mean difference of neighbouring pixels, in the map's unit: detail that smoothing may take",
        "epe_px": "end-point error against the true motion, in px",
    }
    console = Console(width=140)
    for key, title in titles.items():
        table = Table("task", *(f"constant {c:g}" for c in constants), title=title)
        for task in dict.fromkeys(row["task"] for row in summary):
            own = [row[key] for row in summary if row["task"] == task]
            if own[0] is not None:
                table.add_row(task, *(f"{value:.4f}" for value in own))
        console.print(table)


# memory -----------------------------------------------------------------------------------------------------


def memory(options: Memory) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="stablemtl-video-") as name:
        for seconds in options.seconds:
            clip = Path(name) / f"{seconds}s.mp4"
            size = (options.height, options.width)
            Pan(photograph("coffee"), size, seconds * _FPS, noise=2.0).write(clip)
            command = [sys.executable, __file__, "once", "--clip", str(clip), "--tasks", *options.tasks]
            if options.processing_resolution is not None:
                command += ["--processing-resolution", str(options.processing_resolution)]
            command += ["--single-stream"] * options.single_stream
            start = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"seconds_of_video": seconds, **json.loads(done.stdout.splitlines()[-1])}
            rows.append({**row, "seconds_taken": round(time.perf_counter() - start, 1)})
            print(json.dumps(rows[-1]), flush=True)
    ratio = rows[-1]["peak_MB"] / rows[0]["peak_MB"]
    lengths = [row["seconds_of_video"] for row in rows]
    print(f"peak memory of {lengths[-1]} s over that of {lengths[0]} s: {ratio:.3f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    settings = asdict(options) | {"out": options.out.name}
    content = {"environment": environment(load("nano", "cpu").device), "options": settings, "rows": rows}
    options.out.write_text(json.dumps({**content, "ratio": ratio}, indent=2) + "\n")


def once(options: Once) -> None:
    import resource

    pipe = load("nano", "cpu")
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    chosen = VideoOptions(
        processing_resolution=options.processing_resolution, single_stream=options.single_stream
    )
    result = predict_video(pipe, options.clip, options.clip.with_suffix(""), chosen, tasks=options.tasks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"frames": result.frames, "loaded_MB": round(loaded, 1), "peak_MB": round(peak, 1)}))


def main(command: Command) -> None:
    if isinstance(command, Consistency):
        consistency(command)
    elif isinstance(command, Memory):
        memory(command)
    else:
        once(command)


if __name__ == "__main__":
    main(tyro.cli(Command, description=(__doc__ or "").split("\n\n")[0]))  # type: ignore[arg-type]
