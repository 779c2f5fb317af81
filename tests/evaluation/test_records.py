"""The images one by one, and their Parquet file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.records import ImageRecord, figures_of, read_records, stacked, write_records
from stablemtl.evaluation.scoring import score

RECORD = ImageRecord(index=3, key="a", pixels=5, states={"model": np.array([1.0, 2.0])})


def test_roles_are_added_without_changing_the_record() -> None:
    more = RECORD.with_state("constant", np.zeros(2)).with_state("model", np.ones(2), aligned=False)
    assert (set(RECORD.states), set(RECORD.unaligned)) == ({"model"}, set())
    assert (set(more.states), set(more.unaligned)) == ({"model", "constant"}, {"model"})
    assert stacked([RECORD, more], "model").shape == (2, 2)
    assert stacked([RECORD, more], "constant").shape == (1, 2)
    assert stacked([RECORD, more], "model", aligned=False).tolist() == [[1.0, 1.0]]
    assert stacked([RECORD], "ceiling").shape == (0, 0)


def test_written_and_read_back(toys: Any, oracle: Any, tmp_path: Path) -> None:
    scores = [
        score(toys(3), native_benchmark("toys", task), oracle(), resamples=2)
        for task in ("depth", "semantic")
    ]
    path = write_records(tmp_path / "new" / "r.parquet", [(s.benchmark, s.records) for s in scores])
    assert [file.name for file in path.parent.iterdir()] == ["r.parquet"]
    found = read_records(path)
    assert list(found) == [("native", "toys", "depth", ""), ("native", "toys", "semantic", "")]
    for one, records in zip(scores, found.values(), strict=True):
        assert [(r.index, r.key, r.pixels) for r in records] == [
            (r.index, r.key, r.pixels) for r in one.records
        ]
        for role in ("model", "constant", "ceiling"):
            sums = stacked(records, role).sum(0)
            assert figures_of(one.benchmark.metric(), sums) == pytest.approx(
                dict(getattr(one, role)), rel=1e-12, nan_ok=True
            )


def test_columns_are_the_figures_of_each_image(toys: Any, oracle: Any, tmp_path: Path) -> None:
    found = score(toys(3), native_benchmark("toys", "depth"), oracle(), resamples=2)
    table = pq.read_table(write_records(tmp_path / "r.parquet", [(found.benchmark, found.records)]))
    assert table.num_rows == 3 * 3 * 2  # images, roles, with the fit and without
    rows = [row for row in table.to_pylist() if row["role"] == "model" and row["aligned"]]
    assert {row["key"]: row["abs_rel"] for row in rows} == {case.key: case.value for case in found.worst}
    assert table.column_names[:5] == ["protocol", "dataset", "task", "variant", "index"]
    assert table.column_names[-1] == "state"


def test_figures_an_image_lacks_are_null(toys: Any, oracle: Any, tmp_path: Path) -> None:
    found = score(toys(2), native_benchmark("toys", "semantic"), oracle(), resamples=2)
    record = replace(found.records[0], states={"model": np.zeros(81)})
    path = write_records(tmp_path / "r.parquet", [(found.benchmark, [record, found.records[1]])])
    (first, *_) = pq.read_table(path).to_pylist()
    assert first["miou"] is None


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        read_records(tmp_path / "r.parquet")
    (tmp_path / "r.parquet").write_text("nothing")
    with pytest.raises(ValueError, match="does not hold the records of an evaluation"):
        read_records(tmp_path / "r.parquet")
