"""Rows of a manifest, and everything that is wrong with them, told together."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stablemtl.data.own.declared import UNITS_FILE, nearest
from stablemtl.data.own.files import MASK_SUFFIXES
from stablemtl.data.own.labels import label_files, read_units
from stablemtl.data.own.table import ManifestError, Table, TableRow, read_table
from stablemtl.tasks import TASKS

SPLITS = ("train", "val", "test")

_MASKS = ("mask", *(f"mask_{task}" for task in TASKS))
_COLUMNS = ("image", "image_next", *TASKS, *_MASKS, "split", "key")


class Row(NamedTuple):
    """An image with the files that belong to it, all as written in the manifest."""

    number: int
    split: str
    key: str
    image: str
    image_next: str
    labels: Mapping[str, str]
    """Task to label file."""
    masks: Mapping[str, str]
    """``mask`` and ``mask_<task>`` to mask file."""


def read_manifest(manifest: Path) -> tuple[dict[str, dict[str, Any]], list[Row]]:
    """The checked units by task, and the rows of all splits.

    Raises:
        ManifestError: everything that is wrong with the manifest, its units and its files.
    """
    table = read_table(manifest)
    moving = {name for name, task in TASKS.items() if task.spec.frames == 2}
    units, wrong_units = read_units(manifest.with_name(UNITS_FILE))
    rows = [_row(row) for row in table.rows]
    problems = [
        *table.problems,
        *_wrong_columns(table),
        *(f"{UNITS_FILE}: {problem}" for problem in wrong_units),
        *(problem for row in rows for problem in _wrong_cells(row, moving)),
        *_repeated_keys(rows),
        *_missing_files(manifest.parent, rows),
    ]
    if not wrong_units:
        problems += _undeclared(rows, units)
    if problems:
        raise ManifestError(manifest, problems)
    return units, rows


def _row(row: TableRow) -> Row:
    cells = row.cells
    image = cells.get("image", "")
    return Row(
        number=row.number,
        split=cells.get("split", "train"),
        key=cells.get("key", image),
        image=image,
        image_next=cells.get("image_next", ""),
        labels={task: cells[task] for task in TASKS if task in cells},
        masks={column: cells[column] for column in _MASKS if column in cells},
    )


def _wrong_columns(table: Table) -> list[str]:
    problems = [
        f"unknown column {column!r}: {nearest(column, _COLUMNS)}"
        for column in dict.fromkeys(table.columns)
        if column not in _COLUMNS and not column.startswith("_")
    ]
    if "image" not in table.columns:
        problems.append("no column 'image'.")
    if not set(TASKS) & set(table.columns):
        problems.append(f"no column of labels: name one or more {', '.join(TASKS)}.")
    return problems


def _wrong_cells(row: Row, moving: Collection[str]) -> list[str]:
    problems = []
    if not row.image:
        problems.append("no image.")
    if row.split not in SPLITS:
        problems.append(f"split must be {', '.join(SPLITS)} or empty, got {row.split!r}.")
    for task, file in row.labels.items():
        suffixes = label_files(task).suffixes
        if _suffix(file) not in suffixes:
            problems.append(f"{task}: {file} must be one of {', '.join(suffixes)}.")
        if task in moving and not row.image_next:
            problems.append(f"{task}: motion needs two frames; name the second one in image_next.")
    for column, file in row.masks.items():
        if _suffix(file) not in MASK_SUFFIXES:
            problems.append(f"{column}: {file} must be one of {', '.join(MASK_SUFFIXES)}.")
    return [f"row {row.number}: {problem}" for problem in problems]


def _repeated_keys(rows: Sequence[Row]) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for row in rows:
        if row.key and first.setdefault(row.key, row.number) != row.number:
            problems.append(
                f"row {row.number}: the key {row.key!r} is that of row {first[row.key]}; "
                "give each row its own in the column key."
            )
    return problems


def _missing_files(folder: Path, rows: Sequence[Row]) -> list[str]:
    """Files that are not there. Folders are listed once each: that is quicker than to ask for every file."""
    listed: dict[str, set[str]] = {}
    problems = []
    for row in rows:
        frames = {"image": row.image, "image_next": row.image_next}
        for column, file in {**frames, **row.labels, **row.masks}.items():
            if not file:
                continue
            parent, name = os.path.split(file)
            if parent not in listed:
                here = folder / parent
                listed[parent] = set(os.listdir(here)) if here.is_dir() else set()
            if name not in listed[parent] and not (folder / file).is_file():
                hint = " Write / between folders." if "\\" in file else ""
                problems.append(f"row {row.number}, {column}: no file {folder / file}.{hint}")
    return problems


def _undeclared(rows: Sequence[Row], units: Mapping[str, Mapping[str, Any]]) -> list[str]:
    problems = []
    for task in TASKS:
        suffixes = {_suffix(row.labels[task]) for row in rows if task in row.labels}
        for suffix in sorted(suffixes & set(label_files(task).suffixes)):
            if missing := label_files(task).undeclared(units.get(task, {}), suffix):
                problems.append(
                    f"what is in {suffix} files of {task} is not declared; "
                    f"write in {UNITS_FILE}, under [{task}]: {missing}."
                )
    return problems


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()  # much quicker than a Path
