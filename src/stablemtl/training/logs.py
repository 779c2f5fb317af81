"""What a run tells: ``train.jsonl``, trackers, a progress bar."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

PROJECT = "stablemtl"


class Log:
    """Lines of JSON: mean loss and gradient norm by label since the last line, and the same for trackers.

    Args:
        path: the file.
        accelerator: its main process writes; its trackers get the figures.
        start: steps done before; later lines of the file belong to steps that will be done again.
    """

    def __init__(self, path: Path, accelerator: Accelerator, start: int) -> None:
        self.path, self.accelerator = path, accelerator
        self.sums: dict[str, list[float]] = {}
        self.skipped: dict[str, int] = {}
        self.step, self.began, self.since = start, time.perf_counter(), start
        if accelerator.is_main_process and path.exists():
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= start]
            beside = path.with_name(f"{path.name}.part")
            beside.write_text("".join(line + "\n" for line in kept))
            beside.replace(path)

    def add(self, step: int, label: str, loss: float, norm: float) -> None:
        """A step, from 0, that changed the parameters."""
        entry = self.sums.setdefault(label, [0.0, 0.0, 0.0])
        for i, value in enumerate((1.0, loss, norm)):
            entry[i] += value
        self.step = step + 1

    def skip(self, step: int, label: str) -> None:
        """A step, from 0, that changed nothing."""
        self.skipped[label] = self.skipped.get(label, 0) + 1
        self.step = step + 1

    def flush(self, rate: float) -> None:
        """A line of what was added since the last one; ``rate`` is the latest learning rate."""
        seconds = time.perf_counter() - self.began
        line: dict[str, Any] = {
            "step": self.step,
            "loss": {label: round(s / n, 6) for label, (n, s, _) in sorted(self.sums.items())},
            "gradient_norm": {label: round(g / n, 4) for label, (n, _, g) in sorted(self.sums.items())},
            "learning_rate": rate,
            "steps_per_second": round((self.step - self.since) / max(seconds, 1e-9), 3),
        }
        if self.skipped:
            line["skipped"] = dict(sorted(self.skipped.items()))
        self.write(line)
        self.sums, self.skipped = {}, {}
        self.began, self.since = time.perf_counter(), self.step

    def write(self, line: Mapping[str, Any]) -> None:
        """One line, with its ``step``."""
        if self.accelerator.is_main_process:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        figures = {name: value for name, value in line.items() if name != "step"}
        self.accelerator.log(dict(flat(figures)), step=line["step"])


@contextmanager
def trackers(accelerator: Accelerator, run: Any) -> Iterator[None]:
    """Start the accelerator's trackers with the run's options, and end them with the block."""
    options = {name: value if isinstance(value, int | float) else str(value) for name, value in flat(run)}
    accelerator.init_trackers(PROJECT, config=options)
    try:
        yield
    finally:
        # Not accelerator.end_training(): it would end the processes' connection as well.
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()


def flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as (path/of/keys, value)."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from flat(value, f"{name}/{key}".lstrip("/"))
    else:
        yield name, values


def _step_of(line: str) -> float:
    """The step of a line of the log; infinite for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf


class Progress:
    """Progress bar on the main process: steps, speed, time left, the latest mean loss of each label."""

    def __init__(self, active: bool, start: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            disable=not active,
        )
        self.task = self.bar.add_task("train", total=steps, completed=start, text="", speed="")
        self.means: dict[str, float] = {}
        self.pace: float | None = None
        self.last = time.perf_counter()

    def __enter__(self) -> Callable[[str, float | None], None]:
        self.bar.__enter__()
        return self._advance

    def __exit__(self, *error: Any) -> None:
        self.bar.__exit__(*error)

    def _advance(self, label: str, loss: float | None) -> None:
        """One step done; its loss is None if it changed nothing."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        self.pace = seconds if self.pace is None else 0.9 * self.pace + 0.1 * seconds
        if loss is not None:
            self.means[label] = 0.9 * self.means.get(label, loss) + 0.1 * loss
        text = "  ".join(f"{name} {value:.3f}" for name, value in sorted(self.means.items()))
        self.bar.update(self.task, advance=1, text=text, speed=speed(self.pace))


def speed(seconds: float) -> str:
    """Time of a step as it reads best: ``3.2 steps/s`` or ``1.5 s/step``."""
    return f"{seconds:.1f} s/step" if seconds >= 1 else f"{1 / max(seconds, 1e-9):.1f} steps/s"
