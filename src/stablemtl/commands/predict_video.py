"""``stablemtl predict`` of a video."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

    from stablemtl.commands.predict import PredictConfig
    from stablemtl.video import VideoOptions, VideoProgress, VideoResult

_LINE_EVERY_S = 10.0


def predict_one_video(config: PredictConfig) -> int:
    """Predict every frame, write videos and arrays, and print what was written."""
    from stablemtl.commands.json_document import print_json
    from stablemtl.commands.predict_output import head

    start = time.perf_counter()
    options = video_options(config)
    source = config.inputs[0].expanduser()
    if not source.exists():
        raise FileNotFoundError(f"there is no video {source}. Check the name and the folder.")

    from stablemtl.commands.predict_model import load_model
    from stablemtl.video import predict_video

    model = load_model(config)
    with FrameProgress() as progress:
        result = predict_video(
            model.pipe,
            source,
            config.out,
            options,
            tasks=tuple(dict.fromkeys(config.tasks)) or None,
            progress=progress.advance,
        )
    seconds = time.perf_counter() - start
    if config.json:
        document = {**head(config, "video", model.device), "input": str(source)}
        print_json({**document, **_facts(result), "seconds": seconds})
    else:
        _print(result, seconds, model.device)
    return 0


def video_options(config: PredictConfig) -> VideoOptions:
    """What ``predict_video`` needs of the options.

    Raises:
        ValueError: a number out of range.
    """
    from stablemtl.video import VideoOptions

    return VideoOptions(
        **asdict(config.video),
        processing_resolution=config.processing_resolution,
        match_input_resolution=config.match_input_resolution,
        single_stream=config.single_stream,
        batch_size=config.batch_size or 1,
        batch_tasks=config.batch_tasks,
        codec_tile=config.codec_tile,
        resume=not config.overwrite,
    )


def _facts(result: VideoResult) -> dict[str, Any]:
    return {
        "frames": result.frames,
        "resumed": result.resumed,
        "files": {name: str(path) for name, path in result.files.items()},
        "ranges": dict(result.ranges),
        "change": {task: dict(change) for task, change in result.change.items()},
        "notes": list(result.notes),
    }


def _print(result: VideoResult, seconds: float, device: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table("video", "range of the colours", "change, as predicted", "as written")
    for name, path in result.files.items():
        if name in ("video", "side_by_side"):
            continue
        limits = result.ranges.get(name)
        change = result.change.get(name, {})
        shares = [change.get(key) for key in ("as_predicted", "as_written")]
        cells = ["-" if share is None else f"{share:.2%}" for share in shares]
        range_text = "-" if limits is None else f"{limits[0]:.3g} to {limits[1]:.3g}"
        table.add_row(*map(Text, (str(path), range_text, *cells)))
    console.print(table)
    console.print(Text("change: from frame to frame along the motion, as a share of the range"))
    for note in result.notes:
        console.print(Text(note))
    resumed = f", {result.resumed} of them by an earlier run" if result.resumed else ""
    console.print(Text(f"{result.frames} frames{resumed}; all files in {result.folder}"))
    console.print(Text(f"{seconds:.1f} s ({device})"))


class FrameProgress:
    """Progress over frames on stderr: a bar for each video on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed} frames"),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._terminal = console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=not self._terminal)
        self._bars: dict[str, TaskID] = {}
        self._next_line = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, at: VideoProgress) -> None:
        """One frame more."""
        is_new = at.stage not in self._bars
        if is_new:
            self._bars[at.stage] = self._progress.add_task(at.stage, total=at.total)
        self._progress.update(self._bars[at.stage], completed=at.done, total=at.total)
        if not self._terminal and (is_new or time.monotonic() >= self._next_line):
            of = "" if at.total is None else f" of {at.total}"
            print(f"{at.stage}: frame {at.done}{of}", file=sys.stderr)
            self._next_line = time.monotonic() + _LINE_EVERY_S
