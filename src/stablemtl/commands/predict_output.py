"""What ``stablemtl predict`` prints: tables and progress for people, one JSON document for programs.

The document has ``kind`` (``image``, ``images`` or ``video``), ``stablemtl`` (version), ``model``,
``device``, ``out``, and by kind:

``image``
    ``inputs`` (one or two paths), ``maps`` (task -> shape, dtype, unit, convention, scale_known, shift_known,
    range, valid_share, ..., as in maps.json), ``consistency`` (of --confidence: name -> unit, convention,
    median, percentile_90), ``files`` (name, bytes and sha256 of each in ``out``),
    ``seconds`` (load, predict, write).
``images``
    ``pictures``, ``ok``, ``skipped``, ``failed`` (how many), ``table`` (path of results.parquet),
    ``seconds``, ``results`` (the rows of that table, see ``stablemtl.folders.Result``).
``video``
    what ``VideoResult`` says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.table import Table

    from stablemtl.commands.predict import PredictConfig
    from stablemtl.confidence import ConsistencyMap
    from stablemtl.folders import Predicted, Result, Summary
    from stablemtl.folders.results import FileRecord


def head(config: PredictConfig, kind: str, device: str) -> dict[str, Any]:
    """What every document begins with."""
    from stablemtl import __version__

    return {
        "kind": kind,
        "stablemtl": __version__,
        "model": config.model,
        "device": device,
        "out": str(config.out),
    }


def one_document(
    config: PredictConfig,
    predicted: Predicted,
    files: Sequence[FileRecord],
    times: Mapping[str, float],
    device: str,
) -> dict[str, Any]:
    """The document of one image."""
    from stablemtl.map_files.sidecar import describe_map

    return {
        **head(config, "image", device),
        "inputs": predicted.predictions.source["inputs"],
        "maps": {task: describe_map(one) for task, one in predicted.predictions.items()},
        "consistency": {
            name: {"unit": one.unit, "convention": one.convention, **_quantiles(one)}
            for name, one in predicted.consistency.items()
        },
        "files": [asdict(file) for file in files],
        "seconds": dict(times),
    }


def folder_document(config: PredictConfig, summary: Summary, seconds: float, device: str) -> dict[str, Any]:
    """The document of several images."""
    return {
        **head(config, "images", device),
        "pictures": summary.pictures,
        **{status: summary.count(status) for status in ("ok", "skipped", "failed")},
        "table": str(summary.table),
        "seconds": seconds,
        "results": [result.to_dict() for result in summary.results],
    }


def print_maps(
    predicted: Predicted, files: Sequence[FileRecord], out: Path, times: Mapping[str, float], device: str
) -> None:
    """A table of the maps of one image."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    maps = predicted.predictions
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table("task", "shape", "unit", "range", "file")
    for task, prediction in maps.items():
        shape = " x ".join(map(str, prediction.values.shape))
        file = _file_of(task, [file.name for file in files])
        file = str(out / file) if file else ""
        table.add_row(*(Text(cell) for cell in (task, shape, prediction.unit, prediction.range_text, file)))
    console.print(table)
    notes: dict[str, list[str]] = {}
    for task, prediction in maps.items():
        if prediction.note:
            notes.setdefault(prediction.note, []).append(task)
    for note, tasks in notes.items():
        console.print(Text(f"{', '.join(tasks)}: {note}"))
    if predicted.consistency:
        console.print(_consistency_table(predicted))
    for name, reason in predicted.left_out.items():
        console.print(Text(f"{name} left out: {reason}"))
    console.print(Text(f"{len(files)} files in {out}"))
    timing = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in times.items())
    console.print(Text(f"{timing} ({device})"))


def _consistency_table(predicted: Predicted) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("consistency", "unit", "median", "90 % of pixels below", "file")
    for name, one in predicted.consistency.items():
        numbers = [f"{value:.3g}" for value in _quantiles(one).values()]
        table.add_row(*map(Text, (name, one.unit, *numbers, f"{name}_consistency.npz")))
    return table


def _quantiles(one: ConsistencyMap) -> dict[str, float]:
    """Median and 90th percentile of a map that may be valid nowhere."""
    import numpy as np

    seen = one.values[one.valid]
    low, high = np.quantile(seen, (0.5, 0.9)) if seen.size else (float("nan"),) * 2
    return {"median": float(low), "percentile_90": float(high)}


def _file_of(task: str, names: Sequence[str]) -> str:
    """The file that has most of a map in it."""
    wanted = (f"{task}.npz", f"{task}.flo", f"{task}_16bit.png", "maps.exr", f"{task}.png")
    return next((name for name in wanted if name in names), "")


def print_summary(summary: Summary, out: Path, seconds: float, device: str) -> None:
    """How many there are on stdout, then what failed on stderr."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=True)
    done, skipped = summary.count("ok"), summary.count("skipped")
    parts = [f"{done} of {summary.pictures} images predicted"]
    if skipped:
        parts.append(f"{skipped} were finished already")
    if summary.failures:
        parts.append(f"{len(summary.failures)} failed")
    left = summary.pictures - len(summary.results)
    if left:
        parts.append(f"{left} not tried")
    console.print(Text(f"{', '.join(parts)}; {seconds:.1f} s ({device})"))
    console.print(Text(f"maps in {out}, a row for each image in {summary.table}"))
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for result in summary.failures:
        errors.print(Text(f"failed: {result.name}: {result.error}"))


class ImageProgress:
    """Progress over images on stderr: a bar on a terminal, elsewhere a line for each."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=not self._terminal)
        self._bar = self._progress.add_task("images", total=total)
        self.finished = 0
        """Images whose maps are there."""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, result: Result, done: int, total: int) -> None:
        """One more."""
        self.finished += result.finished
        self._progress.update(self._bar, completed=done)
        if not self._terminal and result.status != "skipped":
            what = "failed" if result.status == "failed" else f"{result.seconds:.1f} s"
            print(f"{done}/{total} {result.name}: {what}", file=sys.stderr)
