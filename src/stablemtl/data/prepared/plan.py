"""What is to be prepared: the datasets of a data folder, split by split, with the books of what is there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stablemtl import __version__
from stablemtl.data.catalog import PARTS, DatasetInfo, datasets_in
from stablemtl.data.prepared.block import Job
from stablemtl.data.prepared.layout import Header, Options, Source, Split, runs_text
from stablemtl.data.prepared.ledger import Ledger, open_ledger
from stablemtl.data.prepared.reading import is_prepared
from stablemtl.data.sample import Dataset, EmptySplitError
from stablemtl.data.transforms import PUBLISHED_SIZES
from stablemtl.names import choose

logger = logging.getLogger(__name__)


_LISTS = ("frames", "rows", "units")
"""Attributes in which datasets list what they read."""


class Work(NamedTuple):
    """A split to prepare; the splits of a dataset share a ledger."""

    job: Job
    ledger: Ledger


def select(root: Path, names: Collection[str]) -> list[DatasetInfo]:
    """The datasets in ``root``, or those of ``names``.

    Raises:
        FileNotFoundError: ``root`` is not a folder.
        ValueError: a name is not there, or a dataset is prepared already.
    """
    present = datasets_in(root)
    for name in names:
        choose("dataset", name, present)
    chosen = []
    for name, info in present.items():
        if names and name not in names:
            continue
        if is_prepared(root / info.folder):
            raise ValueError(
                f"{root / info.folder} holds prepared samples; preparing them once more would round twice. "
                "Give the folder of the downloads, or name the others with --datasets."
            )
        chosen.append(info)
    return chosen


def published_size(name: str) -> tuple[int, int]:
    """(height, width) of a dataset's samples in StableMTL's training [px].

    Raises:
        ValueError: it was not trained on.
    """
    if name not in PUBLISHED_SIZES:
        raise ValueError(
            f"{name} has no published size, only {', '.join(PUBLISHED_SIZES)} have. Give --size HEIGHT "
            "WIDTH, or name those with --datasets."
        )
    return PUBLISHED_SIZES[name]


def plan(
    info: DatasetInfo,
    options: Options,
    root: Path,
    out: Path,
    *,
    tasks: Collection[str] = (),
    parts: Collection[str] = PARTS,
    overwrite: bool = False,
) -> list[Work]:
    """The splits of a dataset to prepare; none without a label that is wanted. Nothing is written.

    Args:
        info: of the dataset.
        options: alike for all its splits.
        root, out: data folders of the downloads and of the prepared samples.
        tasks: labels to keep, as far as a split has them; all if empty.
        parts: of ``train``, ``val`` and ``test``.
        overwrite: see ``open_ledger``.
    Raises:
        FileNotFoundError: the dataset is not complete.
        ValueError: see ``open_ledger``.
    """
    folder, jobs = out / info.folder, []
    for split, dataset in _open(info, root, parts).items():
        indices = {
            task: np.unique(np.asarray(dataset.indices(task), np.int64))
            for task in dataset.tasks
            if task in tasks or not tasks
        }
        if indices:
            jobs.append(Job(dataset=dataset, options=options, folder=folder, split=split, indices=indices))
    if not jobs:
        return []
    splits = {job.split: Split(source=_source(job)) for job in jobs}
    wanted = Header(
        dataset=info.name,
        made_by=f"stablemtl {__version__}",
        options=options,
        parts={part: split for part, split in info.splits.items() if split in splits},
        splits=splits,
    )
    ledger = open_ledger(folder, wanted, overwrite=overwrite)
    return [Work(job, ledger) for job in jobs]


def _open(info: DatasetInfo, root: Path, parts: Collection[str]) -> dict[str, Dataset]:
    """The dataset's own splits that serve ``parts``, each once."""
    found = {}
    for split in dict.fromkeys(info.splits[part] for part in PARTS if part in parts and part in info.splits):
        try:
            found[split] = info.build(root / info.folder, split)
        except EmptySplitError as error:
            logger.info("left out: %s", error)
    return found


def _source(job: Job) -> Source:
    """What tells this source from another one: its frames, by name where the dataset lists them."""
    runs = {task: runs_text(indices.tolist()) for task, indices in job.indices.items()}
    lists = []
    for name in _LISTS:
        try:
            lists.append(json.dumps(getattr(job.dataset, name, None)))
        except TypeError:  # something of the dataset's own
            lists.append("")
    text = json.dumps([len(job.dataset), runs, *lists])
    return Source(
        frames=len(job.dataset),
        samples={task: len(indices) for task, indices in job.indices.items()},
        listing=hashlib.sha256(text.encode()).hexdigest(),
    )
