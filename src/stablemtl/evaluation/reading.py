"""Reads a report back from its JSON, and the records beside it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.profiles import Profile
from stablemtl.evaluation.records import read_records
from stablemtl.evaluation.report import Failure, Report
from stablemtl.evaluation.samples import Unreadable
from stablemtl.evaluation.scores import Case, Score


def read_report(path: str | os.PathLike[str], *, records: bool = False) -> Report:
    """The report in a JSON file of :meth:`stablemtl.evaluation.report.Report.save`.

    Args:
        path: of the file.
        records: read the images one by one too, from the Parquet file of the same name beside it.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not a report, or the records are of other benchmarks.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no file {path}. Give the JSON file that `stablemtl evaluate` wrote.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        scores = tuple(_score(entry) for entry in content["scores"])
        known = {one.name: content[one.name] for one in fields(Report) if one.name in content}
        failures = tuple(Failure(**entry) for entry in content["failures"])
        report = Report(**{**known, "scores": scores, "failures": failures})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a report of `stablemtl evaluate` ({error!r}).") from error
    return _with_records(report, file.with_suffix(".parquet")) if records else report


def _with_records(report: Report, path: Path) -> Report:
    found = read_records(path)
    scores = []
    for score in report.scores:
        b = score.benchmark
        records = tuple(found.get((b.protocol, b.dataset, b.task, b.variant), ()))
        if len(records) != score.n:
            raise ValueError(f"{path} has {len(records)} records of {b.name}, the report {score.n} images.")
        scores.append(replace(score, records=records))
    return replace(report, scores=tuple(scores))


def _score(entry: dict[str, Any]) -> Score:
    benchmark = {one.name: entry[one.name] for one in fields(Benchmark)}
    for name, kind in get_type_hints(Benchmark).items():
        if "tuple" in str(kind) and isinstance(benchmark[name], list):
            benchmark[name] = tuple(benchmark[name])
    profile = entry["profile"]
    return Score(
        benchmark=Benchmark(**benchmark),
        n=entry["n"],
        model=_numbers(entry["model"]),
        constant=_numbers(entry["constant"]),
        constant_value=entry["constant_value"],
        ceiling=_numbers(entry["ceiling"]),
        unaligned={role: _numbers(figures) for role, figures in entry["unaligned"].items()},
        intervals={name: (_number(low), _number(high)) for name, (low, high) in entry["intervals"].items()},
        worst=tuple(Case(**case) for case in entry["worst"]),
        best=tuple(Case(**case) for case in entry["best"]),
        profile=None if profile is None else _profile(profile),
        checksum=entry["checksum"],
        unlabelled=entry["unlabelled"],
        unreadable=tuple(Unreadable(**sample) for sample in entry["unreadable"]),
        seconds=entry["seconds"],
    )


def _profile(entry: dict[str, Any]) -> Profile:
    return Profile(
        by=entry["by"],
        error=entry["error"],
        edges=tuple(entry["edges"]),
        mean=tuple(_number(value) for value in entry["mean"]),
        pixels=tuple(entry["pixels"]),
    )


def _numbers(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in figures.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
