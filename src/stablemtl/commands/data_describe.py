"""Print the dataset-task graph of a data folder: who labels what, how often it is drawn, what joins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class DescribeConfig:
    """Options of ``stablemtl data describe``."""

    root: Annotated[Path, tyro.conf.Positional]
    """Data folder."""
    split: Literal["train", "val", "test"] = "train"
    """Part of the data."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Tasks to train, such as: depth normal. All that are labelled if left out."""


def run(config: DescribeConfig) -> int:
    """Print the graph."""
    from stablemtl.data import mixture_entries, open_datasets, task_graph
    from stablemtl.tasks import TASKS
    from stablemtl.tasks.base import choose

    for task in config.tasks:
        choose("task", task, TASKS)
    datasets = open_datasets(config.root, config.split)
    entries = mixture_entries(datasets, tasks=config.tasks or None)
    print(task_graph([entry for entry in entries if len(entry.dataset.indices(entry.task))]))
    return 0
