"""Keep decoded samples of training size, which load many times faster than the downloads.

The new folder is a data folder like the one it was made from: ``stablemtl train ... --data.root`` takes it.
Interrupted in any way, the same command goes on. With --verify, nothing is made: every file that is there is
compared with its checksum, and the exit status is 1 if one differs. With --json, one document is printed
instead of the table.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from stablemtl.data.prepared.writing import PreparedSplit

Part = Literal["train", "val", "test"]


def _workers() -> int:
    return min(8, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Options of ``stablemtl data prepare``."""

    root: Annotated[Path, tyro.conf.Positional] = Path("data")
    """Data folder with the downloads."""
    out: Path | None = None
    """Folder to write to; the folder ``prepared`` in the data folder if left out."""
    size: tuple[int, int] | Literal["published"] = (96, 128)
    """Height and width of the samples [px], as --data.size in training; or the published size of each
    dataset."""
    datasets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Datasets to prepare, such as: hypersim vkitti2. All that are there if left out."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Labels to keep, such as: depth normal. All if left out."""
    parts: tuple[Part, ...] = ("train", "val", "test")
    """Parts of the data; further ones can be added by a later run."""
    workers: int = field(default_factory=_workers)
    """Processes that read."""
    label_dtype: Literal["float16", "float32"] = "float16"
    """float32 keeps labels exactly, at twice the size."""
    samples_per_shard: int = 128
    """Frames of a dataset that share a file; a process keeps so many in memory."""
    compression: Literal["none", "lz4", "zstd"] = "none"
    """Smaller files that take longer to read."""
    on_error: Literal["raise", "skip"] = "raise"
    """What becomes of a sample that cannot be read: stop there, or leave it out and list it."""
    overwrite: bool = False
    """Make anew what was made with other options or from other data."""
    verify: bool = False
    """Make nothing; compare what is there with its checksums."""
    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""


def run(config: PrepareConfig) -> int:
    """Prepare or verify, and print what is there."""
    out = config.root / "prepared" if config.out is None else config.out
    return _verify(config, out) if config.verify else _prepare(config, out)


def _prepare(config: PrepareConfig, out: Path) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stablemtl.commands.json_document import print_json
    from stablemtl.data.prepared.writing import prepare

    start = time.perf_counter()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("samples", total=None)
        results = prepare(
            config.root,
            out,
            size=config.size,
            datasets=config.datasets,
            tasks=config.tasks,
            parts=config.parts,
            label_dtype=config.label_dtype,
            samples_per_shard=config.samples_per_shard,
            compression=config.compression,
            workers=config.workers,
            on_error=config.on_error,
            overwrite=config.overwrite,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    seconds = time.perf_counter() - start
    if config.json:
        print_json(_document(config, results, out, seconds))
    else:
        _print(results, out, seconds)
    _print_skipped(results)
    return 0


def _document(
    config: PrepareConfig, results: Sequence[PreparedSplit], out: Path, seconds: float
) -> dict[str, Any]:
    """What is there, by split."""
    from stablemtl import __version__

    return {
        "stablemtl": __version__,
        "root": str(config.root),
        "out": str(out),
        "splits": [{**asdict(one), "folder": str(one.folder)} for one in results],
        **{total: sum(getattr(one, total) for one in results) for total in ("samples", "new", "bytes")},
        "skipped": sum(len(one.skipped) for one in results),
        "seconds": seconds,
    }


def _print(results: Sequence[PreparedSplit], out: Path, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table("dataset", "parts", "samples", "new", "frames", "MB", "s per 1000 new")
    for one in results:
        pace = f"{1000 * one.seconds / one.new:.1f}" if one.new else "-"
        counts = (f"{one.samples}", f"{one.new}", f"{one.frames}", f"{one.bytes / 1e6:.1f}", pace)
        table.add_row(*(Text(cell) for cell in (one.dataset, ", ".join(one.parts), *counts)))
    console.print(table)
    samples, new = sum(one.samples for one in results), sum(one.new for one in results)
    pace = f" ({1000 * seconds / new:.1f} s per thousand)" if new else ""
    size = f"{sum(one.bytes for one in results)} bytes"
    console.print(Text(f"{samples} samples, {size}, in {out}; {new} of them new in {seconds:.1f} s{pace}"))


def _print_skipped(results: Sequence[PreparedSplit]) -> None:
    """What was left out, on stderr."""
    from rich.console import Console
    from rich.text import Text

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    skipped = [(one, sample) for one in results for sample in one.skipped]
    for one, sample in skipped:
        errors.print(Text(f"left out, {one.split} split: {sample.error}"))
    if skipped:
        errors.print(Text(f"samples that could not be read: {len(skipped)}; --on-error raise tries again"))


def _verify(config: PrepareConfig, out: Path) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from stablemtl import __version__
    from stablemtl.commands.json_document import print_json
    from stablemtl.data.prepared.layout import HEADER
    from stablemtl.data.prepared.reading import AGAIN, verify_prepared

    start = time.perf_counter()
    folders = sorted(path.parent for path in out.rglob(HEADER))
    if not folders:
        raise FileNotFoundError(f"no prepared samples in {out}. Give the --out that they were written to.")
    problems: list[str] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        total = sum(path.stat().st_size for folder in folders for path in folder.rglob("*.arrow"))
        bar = progress.add_task("checksums", total=total)
        for folder in folders:
            problems += verify_prepared(folder, on_progress=lambda read: progress.advance(bar, read))
    if config.json:
        document = {
            "stablemtl": __version__,
            "out": str(out),
            "folders": [str(folder) for folder in folders],
            "bytes": total,
            "problems": problems,
            "seconds": time.perf_counter() - start,
        }
        print_json(document)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"found: {len(problems)}. {AGAIN}", file=sys.stderr)
        return 1
    if not config.json:
        names = ", ".join(str(folder) for folder in folders)
        print(f"{names}: every file has its checksum ({total} bytes)")
    return 0
