"""The dataset-task graph of a mixture: who labels what, how often, and what hangs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemtl.data.mixture import Entry


@dataclass(frozen=True, kw_only=True)
class TaskGraph:
    """Datasets and tasks as the two sides of a graph, joined where a dataset labels a task.

    Tasks of one component can learn from each other through shared frames; two components share nothing but
    the network.
    """

    samples: Mapping[tuple[str, str], int]
    """(dataset, task) to labelled frames."""
    shares: Mapping[tuple[str, str], float]
    """(dataset, task) to its part of the task's steps; the parts of a task add up to 1."""
    components: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    """(datasets, tasks) of each connected part, in the order of first appearance."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order of first appearance."""
        return tuple(dict.fromkeys(dataset for dataset, _ in self.samples))

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of first appearance."""
        return tuple(dict.fromkeys(task for _, task in self.samples))

    def samples_of(self, task: str) -> int:
        """Labelled frames of a task over all datasets."""
        return sum(count for (_, name), count in self.samples.items() if name == task)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: datasets, tasks, labels and components."""
        return {
            "datasets": list(self.datasets),
            "tasks": list(self.tasks),
            "labels": [
                {"dataset": dataset, "task": task, "samples": count, "share": self.shares[dataset, task]}
                for (dataset, task), count in self.samples.items()
            ],
            "components": [
                {"datasets": list(datasets), "tasks": list(tasks)} for datasets, tasks in self.components
            ],
        }

    def __str__(self) -> str:
        """A table: one row for each task, one column for each dataset, then the components."""
        rows = [["task", *self.datasets, "samples"]]
        for task in self.tasks:
            cells = [
                f"{self.samples[dataset, task]} ({100 * self.shares[dataset, task]:.3g} %)"
                if (dataset, task) in self.samples
                else "-"
                for dataset in self.datasets
            ]
            rows.append([task, *cells, str(self.samples_of(task))])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        for number, (datasets, tasks) in enumerate(self.components, start=1):
            lines.append(f"component {number}: {', '.join(datasets)} label {', '.join(tasks)}")
        return "\n".join(lines)


def task_graph(entries: Sequence[Entry]) -> TaskGraph:
    """The dataset-task graph of a mixture's entries; entries of the same pair are added up."""
    samples: dict[tuple[str, str], int] = {}
    weights: dict[tuple[str, str], float] = {}
    for entry in entries:
        pair = (entry.dataset.name, entry.task)
        samples[pair] = len(entry.dataset.indices(entry.task))
        weights[pair] = weights.get(pair, 0.0) + entry.weight
    totals: dict[str, float] = {}
    for (_, task), weight in weights.items():
        totals[task] = totals.get(task, 0.0) + weight
    return TaskGraph(
        samples=samples,
        shares={pair: weight / totals[pair[1]] for pair, weight in weights.items()},
        components=_components(samples),
    )


def _components(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Connected parts: each pair joins the parts that hold its dataset or its task into one."""
    parts: list[list[tuple[str, str]]] = []
    for dataset, task in pairs:
        touching = [part for part in parts if any(dataset == d or task == t for d, t in part)]
        joined = [pair for part in touching for pair in part] + [(dataset, task)]
        place = parts.index(touching[0]) if touching else len(parts)
        parts = [part for part in parts if part not in touching]
        parts.insert(place, joined)
    return tuple(
        (tuple(dict.fromkeys(d for d, _ in part)), tuple(dict.fromkeys(t for _, t in part))) for part in parts
    )
