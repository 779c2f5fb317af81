"""Print the dataset-task graph of a data folder: who labels what, how often it is drawn, what joins.

With --json, one document: root, split, datasets, tasks, labels (dataset, task, samples, share: its part of
the steps of the task, in [0, 1]) and components (datasets, tasks: what can learn from each other).
"""

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
    json: bool = False
    """Print JSON instead of a table."""


def run(config: DescribeConfig) -> int:
    """Print the graph."""
    from stablemtl.commands.json_document import print_json
    from stablemtl.data import mixture_entries, open_datasets, task_graph
    from stablemtl.names import choose
    from stablemtl.tasks import TASKS

    for task in config.tasks:
        choose("task", task, TASKS)
    datasets = open_datasets(config.root, config.split)
    entries = mixture_entries(datasets, tasks=config.tasks or None)
    graph = task_graph([entry for entry in entries if len(entry.dataset.indices(entry.task))])
    if config.json:
        print_json({"root": str(config.root), "split": config.split, **graph.to_dict()})
    else:
        print(graph)
    return 0
