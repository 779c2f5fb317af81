"""What is kept of every image that was scored, and its Parquet file.

One row of the file is one image under one benchmark in one role (``model``, ``constant`` or ``ceiling``, with
or without the fit). Columns: where it came from; ``pixels``, how many counted; the image's own figures, one
column each, null where a task does not have it; and ``state``, the sums from which figures over any set of
images can be computed exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.tasks.base import Metric
from stablemtl.writers import staged_file

State = NDArray[np.float64]

ROLES = ("model", "constant", "ceiling")
_PLACE = ("protocol", "dataset", "task", "variant", "index", "key", "pixels", "role", "aligned")

BenchmarkKey = tuple[str, str, str, str]
"""Protocol, dataset, task, variant."""


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image: sums (K,) of the metric for each role."""

    index: int
    """Number in the dataset."""
    key: str
    """Name of the frame."""
    pixels: int
    """Pixels that counted."""
    states: Mapping[str, State]
    """Role -> sums, under the benchmark's fit."""
    unaligned: Mapping[str, State] = field(default_factory=dict)
    """Role -> sums without a fit, where that is scored."""

    def with_state(self, role: str, state: State, *, aligned: bool = True) -> ImageRecord:
        """The record with the sums of one more role."""
        if aligned:
            return replace(self, states={**self.states, role: state})
        return replace(self, unaligned={**self.unaligned, role: state})


def figures_of(metric: Metric, state: State) -> dict[str, float]:
    """The figures of summed states; ``metric`` is one of their kind, and is reset first."""
    metric.reset()
    metric.merge(torch.from_numpy(np.ascontiguousarray(state, dtype=np.float64)))
    return metric.compute()


def stacked(records: Sequence[ImageRecord], role: str, *, aligned: bool = True) -> State:
    """The states (N, K) of a role, in the order of the records; those that lack it are left out."""
    chosen = [record.states if aligned else record.unaligned for record in records]
    found = [states[role] for states in chosen if role in states]
    return np.stack(found) if found else np.zeros((0, 0))


def write_records(
    path: str | os.PathLike[str], scored: Sequence[tuple[Benchmark, Sequence[ImageRecord]]]
) -> Path:
    """Write the records of all benchmarks into one Parquet file, beside and renamed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for benchmark, records in scored for row in _rows(benchmark, records)]
    names = dict.fromkeys(name for row in rows for name in row if name not in (*_PLACE, "state"))
    schema = pa.schema(
        [
            *((name, pa.string()) for name in _PLACE[:4]),
            ("index", pa.int64()),
            ("key", pa.string()),
            ("pixels", pa.int64()),
            ("role", pa.string()),
            ("aligned", pa.bool_()),
            *((name, pa.float64()) for name in names),
            ("state", pa.list_(pa.float64())),
        ]
    )
    with staged_file(path) as beside:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), beside, compression="zstd")
    return Path(path)


def read_records(path: str | os.PathLike[str]) -> dict[BenchmarkKey, list[ImageRecord]]:
    """The records of a file of :func:`write_records`, by benchmark.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    try:
        rows = pq.read_table(path, columns=[*_PLACE, "state"]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} does not hold the records of an evaluation ({error}).") from error
    found: dict[BenchmarkKey, dict[int, Any]] = {}
    for row in rows:
        place = (row["protocol"], row["dataset"], row["task"], row["variant"])
        entry = found.setdefault(place, {}).setdefault(row["index"], {"row": row, True: {}, False: {}})
        entry[row["aligned"]][row["role"]] = np.array(row["state"])
    return {
        place: [
            ImageRecord(
                index=index,
                key=entry["row"]["key"],
                pixels=entry["row"]["pixels"],
                states=entry[True],
                unaligned=entry[False],
            )
            for index, entry in sorted(entries.items())
        ]
        for place, entries in found.items()
    }


def _rows(benchmark: Benchmark, records: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    metric = benchmark.metric()
    rows = []
    for record in records:
        for aligned, states in ((True, record.states), (False, record.unaligned)):
            for role, state in states.items():
                figures = figures_of(metric, state)
                known = {name: value for name, value in figures.items() if not math.isnan(value)}
                place = {
                    "protocol": benchmark.protocol,
                    "dataset": benchmark.dataset,
                    "task": benchmark.task,
                    "variant": benchmark.variant,
                    "index": record.index,
                    "key": record.key,
                    "pixels": record.pixels,
                    "role": role,
                    "aligned": aligned,
                }
                rows.append({**place, **known, "state": state.tolist()})
    return rows
