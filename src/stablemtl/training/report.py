"""The report of a run: ``report.md`` with a table of the tasks, curves, pictures, options, the machine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from stablemtl.training.curves import write_curves
from stablemtl.training.log_reader import LOG, TrainingLog, read_log
from stablemtl.writers import staged_file

PICTURES = ("previews", "attention")
"""Folders of a run whose pictures the report shows."""
_COLUMNS = (
    "task",
    "loss: first",
    "last",
    "lowest (step)",
    "gradient norm: median",
    "validation: first",
    "last",
    "lowest (step)",
)


def write_report(folder: str | Path, config: Mapping[str, Any] | None = None) -> Path:
    """Writes ``report.md`` into a run's folder, and its curves into ``report/``.

    To be called at any time, also while the run goes on or after it was cut off.

    Args:
        folder: of the run, with ``train.jsonl``; pictures in ``previews`` and ``attention`` are linked.
        config: the run's options as plain values; None takes them from what the run has written.
    Returns:
        The report.
    Raises:
        FileNotFoundError: there is no log.
    """
    folder = Path(folder)
    log = read_log(folder)
    known = _written_facts(folder)
    if config is not None:
        known = {**known, "run": json.loads(json.dumps(config, default=str))}
    curves = write_curves(log, folder / "report")
    lines = [f"# Training run {folder.resolve().name}", "", *_table(("", ""), _facts(log, known))]
    lines += ["", "## Tasks", "", *_tasks(log)]
    for title, path in curves.items():
        lines += ["", f"## {title}", "", f"![{title}]({path.relative_to(folder).as_posix()})"]
    lines += [*_pictures(folder), *_options(known.get("run"))]
    path = folder / "report.md"
    with staged_file(path) as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _written_facts(folder: Path) -> dict[str, Any]:
    """What the run has written about itself: ``run`` (its options), ``code_version``; {} if nothing yet."""
    checkpoints = sorted(folder.glob("checkpoints/step_*/run.json"), key=lambda path: path.parent.name)
    for path in (*checkpoints[::-1], folder / "pipeline" / "training.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return {"run": content.get("config"), **content}
    return {}


def _facts(log: TrainingLog, known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, value) of the whole run."""
    from stablemtl.training.machine import machine_facts

    run = known.get("run") or {}
    planned = next((value for _, value in _named(run, "steps")), None)
    yield "steps", f"{log.steps:,}" + ("" if planned is None else f" of {planned:,}")
    if log.seconds > 0:
        pace = log.steps / log.seconds
        yield "time of the steps", f"{_duration(log.seconds)}, {_number(pace)} steps / s"
    if log.skipped:
        yield "skipped steps", ", ".join(f"{name} {count}" for name, count in sorted(log.skipped.items()))
    if log.unreadable:
        yield "lines of the log that cannot be read", str(log.unreadable)
    if seeds := [f"{name} {value}" for name, value in _named(run, "seed")]:
        yield "seed", ", ".join(seeds)
    if "code_version" in known:
        yield "trained with stablemtl", str(known["code_version"])
    machine = machine_facts()
    yield "report written on", "{device}, {cores} cores, {threads} threads, {system}".format(**machine)
    yield "with", ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "stablemtl"))


def _tasks(log: TrainingLog) -> Iterator[str]:
    """The table of tasks."""
    losses, norms, checks = (log.series(kind) for kind in ("loss", "gradient_norm", "validation"))
    tasks = sorted({*losses, *norms, *checks})
    if not tasks:
        yield f"`{LOG}` holds no step yet."
        return
    rows = []
    for task in tasks:
        finite = [value for _, value in norms.get(task, []) if math.isfinite(value)]
        norm = _number(median(finite)) if finite else "-"
        rows.append((task, *_ends(losses.get(task, [])), norm, *_ends(checks.get(task, []))))
    yield from _table(_COLUMNS, rows)
    yield ""
    yield (
        "Loss and gradient norm are means over the steps since the last line of the log, the norm before "
        "clipping. Validation figures of training are losses: lower is better."
    )


def _ends(pairs: Sequence[tuple[int, float]]) -> tuple[str, str, str]:
    """First, last and lowest value, the lowest with its step."""
    if not pairs:
        return "-", "-", "-"
    finite = [pair for pair in pairs if math.isfinite(pair[1])]
    lowest = min(finite, key=lambda pair: pair[1], default=None)
    best = "-" if lowest is None else f"{_number(lowest[1])} ({lowest[0]:,})"
    return _number(pairs[0][1]), _number(pairs[-1][1]), best


def _pictures(folder: Path) -> Iterator[str]:
    """The latest picture of each kind, and links to those before."""
    for name in PICTURES:
        found = sorted((folder / name).glob("*.png"), key=lambda path: path.name)
        if not found:
            continue
        latest, *before = found[::-1]
        yield from ("", f"## {name.capitalize()}", "", f"![{latest.stem}]({name}/{latest.name})")
        if before:
            links = ", ".join(f"[{path.stem}]({name}/{path.name})" for path in before[::-1])
            yield from ("", f"Others: {links}")


def _options(run: Any) -> Iterator[str]:
    if run is not None:
        yield from ("", "## Options", "", "```json", json.dumps(run, indent=2), "```")


def _named(values: Any, name: str, place: str = "") -> Iterator[tuple[str, Any]]:
    """(path.of.keys, number) of every entry of that name in nested mappings."""
    for key, value in values.items() if isinstance(values, Mapping) else ():
        path = f"{place}.{key}".lstrip(".")
        if key == name and isinstance(value, int | float):
            yield path, value
        yield from _named(value, name, path)


def _table(header: Sequence[str], rows: Any) -> Iterator[str]:
    """Lines of a Markdown table, the first column to the left and the others to the right."""
    for row in (header, ("---", *["---:"] * (len(header) - 1)), *rows):
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min {rest} s" if minutes >= 60 else f"{minutes} min {rest} s"
