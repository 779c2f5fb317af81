"""Reads ``train.jsonl``, the log of a run; see :class:`stablemtl.training.logs.Log` for what writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figures = Mapping[str, float]
LOG = "train.jsonl"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A line of the log."""

    step: int
    """Optimizer steps done."""
    loss: Figures = field(default_factory=dict)
    """Mean loss of each task since the last such line."""
    gradient_norm: Figures = field(default_factory=dict)
    """Mean norm of the gradient of each task, before clipping, since the last such line."""
    learning_rate: float | None = None
    """Of the latest step."""
    steps_per_second: float | None = None
    """Since the last such line [1/s]."""
    validation: Figures = field(default_factory=dict)
    """Validation figures of each task."""
    skipped: Figures = field(default_factory=dict)
    """Steps of each task that changed nothing, since the last such line."""


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """All lines of a log, in the order of their steps."""

    records: tuple[Record, ...]
    """Lines that could be read."""
    unreadable: int
    """Lines that could not be, such as one that was cut off."""

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return max((record.step for record in self.records), default=0)

    @property
    def seconds(self) -> float:
        """Time of the steps that the log tells the speed of [s]."""
        total, before = 0.0, 0
        for record in self.records:
            if record.steps_per_second:
                total += (record.step - before) / record.steps_per_second
                before = record.step
        return total

    @property
    def skipped(self) -> dict[str, int]:
        """Steps of each task that changed nothing."""
        found: dict[str, int] = {}
        for record in self.records:
            for name, count in record.skipped.items():
                found[name] = found.get(name, 0) + int(count)
        return found

    def series(self, kind: str) -> dict[str, list[tuple[int, float]]]:
        """(step, value) pairs by task, tasks sorted by name.

        Args:
            kind: ``loss``, ``gradient_norm`` or ``validation``.
        """
        found: dict[str, list[tuple[int, float]]] = {}
        for record in self.records:
            for name, value in getattr(record, kind).items():
                found.setdefault(name, []).append((record.step, value))
        return dict(sorted(found.items()))

    def values(self, kind: str) -> list[tuple[int, float]]:
        """(step, value) pairs.

        Args:
            kind: ``learning_rate`` or ``steps_per_second``.
        """
        found = [(record.step, getattr(record, kind)) for record in self.records]
        return [(step, value) for step, value in found if value is not None]


def read_log(folder: str | Path) -> TrainingLog:
    """The log of a run.

    Lines that cannot be read are left out and counted. Where a line goes back to an earlier step, the run
    was started again from there: the lines it repeats are dropped.

    Args:
        folder: of the run, with ``train.jsonl``.
    Raises:
        FileNotFoundError: there is no log.
    """
    path = Path(folder) / LOG
    if not path.is_file():
        raise FileNotFoundError(f"no {LOG} in {folder}: name the folder of a run (its --out)")
    records: list[Record] = []
    unreadable = 0
    for line in path.read_bytes().splitlines():
        try:
            record = _record(json.loads(line))
        except (ValueError, TypeError, KeyError):
            unreadable += bool(line.strip())
            continue
        while records and records[-1].step > record.step:
            records.pop()
        records.append(record)
    return TrainingLog(records=tuple(records), unreadable=unreadable)


def _record(line: Any) -> Record:
    """A line's content; whatever it holds beside is left out."""
    if not isinstance(line, dict):
        raise TypeError("a line must be a JSON object")
    rate, speed = (line.get(name) for name in ("learning_rate", "steps_per_second"))
    skipped = line.get("skipped", {})
    return Record(
        step=int(line["step"]),
        loss=dict(_flat(line.get("loss", {}))),
        gradient_norm=dict(_flat(line.get("gradient_norm", {}))),
        learning_rate=None if rate is None else float(rate),
        steps_per_second=None if speed is None else float(speed),
        validation=dict(_flat(line.get("validation", {}))),
        skipped=dict(_flat(skipped)) if isinstance(skipped, dict) else {"all": float(skipped)},
    )


def _flat(values: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, float]]:
    """Figures of nested mappings as (path/of/keys, value); None is a figure that was not finite."""
    for key, value in values.items():
        path = f"{name}/{key}".lstrip("/")
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield path, math.nan if value is None else float(value)
