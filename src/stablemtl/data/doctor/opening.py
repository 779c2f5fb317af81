"""Opening a split for the checks: what cannot be opened is told, and what is left of it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stablemtl.data.catalog import DatasetInfo
from stablemtl.data.doctor.findings import Problem
from stablemtl.data.hypersim import Hypersim
from stablemtl.data.hypersim_lists import find_scenes, find_split_csv, read_split
from stablemtl.data.prepared import is_prepared, verify_prepared
from stablemtl.data.sample import Dataset, EmptySplitError


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A split as far as it could be opened."""

    dataset: Dataset | None
    problems: tuple[Problem, ...] = ()
    empty: bool = False
    """There is nothing of this split, and nothing else is wrong."""


def open_split(info: DatasetInfo, folder: Path, split: str) -> Opened:
    """Open a split; of Hypersim, the scenes that are there.

    Args:
        info: the dataset.
        folder: its own folder.
        split: its own name of the split.
    """
    try:
        dataset = info.build(folder, split)
        if len(dataset) == 0:
            return Opened(dataset=None, empty=True)
        return Opened(dataset=dataset)
    except EmptySplitError:
        return Opened(dataset=None, empty=True)
    except FileNotFoundError as error:
        if info.build is Hypersim:
            return _present_scenes(folder, split, error)
        return Opened(dataset=None, problems=(_problem("missing-file", error),))
    except Exception as error:  # a dataset of the user's own may raise anything
        return Opened(dataset=None, problems=(_problem("index", error),))


def verify(folder: Path) -> list[Problem]:
    """Prepared samples whose files are not those that were written; nothing for other folders."""
    if not is_prepared(folder):
        return []
    try:
        told = verify_prepared(folder)
    except (OSError, ValueError):
        return []  # a damaged header: opening tells
    message = "prepared files are missing or altered"
    return [Problem(severity="error", check="unreadable", message=message, where=line) for line in told]


def _present_scenes(folder: Path, split: str, error: FileNotFoundError) -> Opened:
    try:
        wanted = {frame.scene for frame in read_split(find_split_csv(folder), split)}
    except FileNotFoundError:  # it is the split file that is missing
        return Opened(dataset=None, problems=(_problem("missing-file", error),))
    present = {scene for scene in wanted if _is_there(folder, scene)}
    problems = tuple(
        Problem(
            severity="error",
            check="missing-file",
            message=f"{len(wanted) - len(present)} of {len(wanted)} scenes of the split have no folder",
            where=scene,
        )
        for scene in sorted(wanted - present)
    )
    dataset = Hypersim(folder, split, scenes=sorted(present)) if present else None
    return Opened(dataset=dataset, problems=problems)


def _is_there(folder: Path, scene: str) -> bool:
    try:
        return bool(find_scenes(folder, "any", {scene}))
    except FileNotFoundError:
        return False


def _problem(check: str, error: Exception) -> Problem:
    text = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, OSError | ValueError)
    return Problem(
        severity="error",
        check=check,
        message="the dataset cannot be opened",
        where=text if known else f"{type(error).__name__}: {text}",
    )
