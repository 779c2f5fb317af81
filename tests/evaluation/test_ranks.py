"""Processes that share an evaluation: what is gathered, and what becomes of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stablemtl.evaluation import read_report
from stablemtl.evaluation.ranks import Alone, launched, share


class Fixed:
    """One of three processes; the other two have done something already."""

    rank, count = 1, 3

    def __init__(self, others: dict[int, Any]) -> None:
        self.others = others

    def gather(self, items: list[Any]) -> list[Any]:
        kind = type(items[0])
        others = [kind(rank, **entry) for rank, entry in self.others.items()]
        return [*others, *items]  # not in order


def test_alone() -> None:
    assert (Alone().rank, Alone().count) == (0, 1)
    assert Alone().gather([1, 2]) == [1, 2]
    assert share(Alone(), lambda: "done") == ["done"]


def test_results_come_in_the_order_of_the_ranks() -> None:
    ranks = Fixed({2: {"result": "c"}, 0: {"result": "a"}})
    assert share(ranks, lambda: "b") == ["a", "b", "c"]


def test_errors_reach_everybody() -> None:
    ranks = Fixed({0: {"result": "a"}, 2: {"error": "OSError: disk"}})
    with pytest.raises(ValueError, match="process 2: OSError: disk"):
        share(ranks, lambda: "b")

    def fail() -> str:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        share(ranks, fail)


def test_launched_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("1", False), ("3", True)):
        monkeypatch.setenv("WORLD_SIZE", value)
        assert launched() is expected
    monkeypatch.delenv("WORLD_SIZE")
    assert not launched()


@pytest.mark.slow
def test_three_launched_processes_give_the_figures_of_one(
    bench_root: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    command = ["evaluate", "--data", str(bench_root), "--model", str(tiny_folder), "--device", "cpu"]
    # On the CPU, accelerate's own launcher needs MPI; torchrun sets the same variables.
    three = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    reports = []
    for start, name in (
        ([sys.executable, "-m", "stablemtl"], "one"),
        ([*three, "-m", "stablemtl"], "three"),
    ):
        out = tmp_path / f"{name}.json"
        arguments = [*start, *command, "--no-motorcycle", "--out", str(out)]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "process_group" not in done.stderr
        reports.append(read_report(out))
    assert [report.processes for report in reports] == [1, 3]
    for one, other in zip(*(report.scores for report in reports), strict=True):
        for role in ("model", "constant", "ceiling"):
            assert getattr(one, role) == pytest.approx(getattr(other, role), 1e-6, 1e-6, nan_ok=True)
        for figure, interval in one.intervals.items():
            assert interval == pytest.approx(other.intervals[figure], 1e-6, 1e-6, nan_ok=True)
        assert one.checksum == other.checksum
        assert one.n == other.n == 2
