"""Find what is wrong with the data before training does.

Counts frames, looks for missing and damaged files, and tells from the pixels whether labels are in the unit,
the axes and the sign that they should be in. The exit status is 1 if there are errors.

The JSON of --json has the fields of stablemtl.data.doctor.Report: root, splits (dataset, split, frames,
labelled, ...), findings (severity, check, dataset, split, message, about, examples, count), healthy, ...
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from stablemtl.data.doctor import Finding, Report


_STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Options of ``stablemtl data check``."""

    root: Annotated[Path, tyro.conf.Positional]
    """Data folder, or the folder of a single dataset."""
    deep: bool = False
    """Read every file, and not a sample; takes long on full datasets."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 20
    """Frames to read for each task of a split, evenly spread."""
    datasets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Datasets to check, such as: hypersim vkitti2. All that are there if left out."""
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Processes that read files; 0 for as many as are worth it."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the whole report here as well; - prints it on stdout, instead of tables."""


def run(config: CheckConfig) -> int:
    """Check with a progress bar, then print what is there and what was found."""
    from stablemtl.commands.json_document import print_json
    from stablemtl.data.doctor import check_data

    if config.samples < 1:
        raise ValueError(f"--samples must be 1 or more, got {config.samples}.")
    if config.workers < 0:
        raise ValueError(f"--workers must be 0 or more, got {config.workers}.")
    if config.json is not None and config.json.is_dir():
        raise ValueError(f"--json {config.json} is a folder. Name a file.")
    with _Bar() as bar:
        report = check_data(
            config.root,
            deep=config.deep,
            samples=config.samples,
            datasets=config.datasets,
            workers=config.workers or None,
            on_progress=bar.advance,
        )
    if config.json == _STDOUT:
        print_json(report.to_dict())
        return 0 if report.healthy else 1
    if config.json is not None:
        report.save(config.json)
    _print(report, config.json)
    return 0 if report.healthy else 1


class _Bar:
    """A progress bar with a line for each step, where stderr is a terminal."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, step: str, done: int, total: int) -> None:
        """``done`` of ``total`` frames; a step that comes again, as for the next split, starts again."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._tasks[step], completed=done, total=total)


def _print(report: Report, json: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    _print_splits(report, console)
    for finding in report.findings:
        _print_finding(finding, console)
    counts = ", ".join(
        f"{report.count(severity)} {severity}{'' if report.count(severity) == 1 else 's'}"
        for severity in ("error", "warning", "note")
    )
    console.print(Text(counts))
    speed = f"{report.seconds_per_thousand:.1f} s per 1,000 samples"
    workers = f"{report.workers} process{'' if report.workers == 1 else 'es'}"
    console.print(Text(f"{report.samples:,} samples in {report.seconds:.1f} s, {speed} ({workers})"))
    if not report.deep:
        read = sum(split.looked_at for split in report.splits)
        frames = sum(split.frames for split in report.splits)
        if read < frames:
            console.print(Text(f"read {read:,} of {frames:,} frames; --deep reads them all"))
    if json is not None:
        console.print(Text(f"all findings in {json}"))


def _print_splits(report: Report, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("dataset", "split", "used as")
    for column in ("frames", "official", "read"):
        table.add_column(column, justify="right")
    table.add_column("labels")
    for split in report.splits:
        labels = ", ".join(
            task if count == split.frames else f"{task} ({count:,})" for task, count in split.labelled.items()
        )
        official = "-" if split.official is None else f"{split.official:,}"
        cells = (split.dataset, split.split, ", ".join(split.parts), f"{split.frames:,}", official)
        table.add_row(*(Text(cell) for cell in (*cells, f"{split.looked_at:,}", labels)))
    console.print(table)


def _print_finding(finding: Finding, console: Console) -> None:
    from rich.text import Text

    style = {"error": "bold red", "warning": "yellow", "note": "dim"}[finding.severity]
    place = " ".join(part for part in (finding.dataset, finding.split) if part)
    text = Text.assemble((f"{finding.severity:<7}", style), f" {finding.check}  ")
    text.append(f"{place}: {finding.message}" if place else finding.message)
    if finding.count > 1:
        text.append(f" ({finding.count:,})")
    console.print(text)
    more = ["..."] if finding.examples and finding.count > len(finding.examples) else []
    for example in [*finding.examples, *more]:
        console.print(Text(f"{'':10}{example}", style="dim"))
