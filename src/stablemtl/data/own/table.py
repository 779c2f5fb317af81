"""Manifests as tables of text, whichever of ``manifest.csv``, ``.jsonl`` and ``.parquet`` they are.

Rows are numbered as the file's own programs do: the header of a CSV file is row 1, the first line of a JSONL
file and the first row of a Parquet file as well.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("manifest.csv", "manifest.jsonl", "manifest.parquet")
"""Names of manifests, one of which lies in a folder."""

SHOWN_PROBLEMS = 20
"""How many problems the text of a ``ManifestError`` lists; its ``problems`` has all."""

_SEPARATORS = ",;\t"


class ManifestError(ValueError):
    """Everything that is wrong with a manifest; one line each in ``problems``."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path, self.problems = path, tuple(problems)
        shown = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
        if more := len(problems) - len(shown):
            shown.append(f"  ... and {more} more.")
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        super().__init__("\n".join([f"{path} has {count}:", *shown]))


class TableRow(NamedTuple):
    """A row of a manifest."""

    number: int
    cells: dict[str, str]
    """Column to text without white space around it; empty cells are left out."""


class Table(NamedTuple):
    """What a manifest holds, and what is wrong with its form."""

    columns: tuple[str, ...]
    rows: list[TableRow]
    problems: list[str]


def read_table(path: Path) -> Table:
    """The columns and rows of a manifest.

    The columns of a CSV file (UTF-8) may be separated by commas, semicolons or tabs: the header tells which.

    Raises:
        FileNotFoundError: no such file.
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no manifest {path}.")
    if path.suffix == ".parquet":
        return _parquet(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return Table((), [], [f"it is not UTF-8 text ({error.reason}); save it as UTF-8."])
    return _csv(text) if path.suffix == ".csv" else _jsonl(text)


def _csv(text: str) -> Table:
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)  # the comma where there is none
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[TableRow] = []
    problems: list[str] = []
    columns: tuple[str, ...] = ()
    try:
        columns = tuple(name.strip() for name in next(records, []))
        twice = {name for name in columns if columns.count(name) > 1}
        problems += [f"row 1: column {name!r} is there twice." for name in sorted(twice)]
        for number, record in enumerate(records, start=2):
            if len(record) > len(columns):
                problems.append(f"row {number}: {len(record)} cells, but the header has {len(columns)}.")
            cells = {name: cell.strip() for name, cell in zip(columns, record, strict=False)}
            rows.append(TableRow(number, {name: cell for name, cell in cells.items() if cell}))
    except csv.Error as error:
        problems.append(f"line {records.line_num}: it is not a CSV file: {error}.")
    return Table(columns, [row for row in rows if row.cells], problems)


def _jsonl(text: str) -> Table:
    records: list[tuple[int, Mapping[str, Any]]] = []
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            problems.append(f"row {number}: it is not JSON: {error}.")
            continue
        if isinstance(record, dict):
            records.append((number, record))
        else:
            problems.append(f'row {number}: must be an object, {{"image": "..."}}, got {line.strip()[:40]}.')
    return _records(records, problems)


def _parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"{path} needs the package pyarrow. Install it: pip install pyarrow.") from error
    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        return Table((), [], [f"it is not a Parquet file: {' '.join(str(error).split())}."])
    found = _records(enumerate(table.to_pylist(), start=1), [])
    return found._replace(columns=tuple(table.column_names))


def _records(records: Iterable[tuple[int, Mapping[str, Any]]], problems: list[str]) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for number, record in records:
        columns.update(dict.fromkeys(record))
        cells = {}
        for name, value in record.items():
            if isinstance(value, str):
                cells[name] = value.strip()
            elif isinstance(value, int) and not isinstance(value, bool):
                cells[name] = str(value)
            elif value is not None and value == value:  # a missing text of a data frame may be NaN
                problems.append(f"row {number}, {name}: must be text, got {value!r}.")
        rows.append(TableRow(number, {name: cell for name, cell in cells.items() if cell}))
    return Table(tuple(columns), rows, problems)
