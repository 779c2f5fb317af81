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
from stablemtl.evaluation.report import Report


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


def run(arguments: list[str], count: int, out: Path) -> tuple[int, Report, str]:
    """``stablemtl evaluate`` on so many processes: exit status, report, stderr."""
    # On the CPU, accelerate's own launcher needs MPI; torchrun sets the same variables.
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    start = [sys.executable, *(several if count > 1 else []), "-m", "stablemtl", "evaluate"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [*start, *arguments, "--device", "cpu", "--no-motorcycle", "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert out.is_file(), done.stderr
    assert "process_group" not in done.stderr
    report = read_report(out)
    assert report.processes == count
    return done.returncode, report, done.stderr


def assert_same(one: Report, other: Report, roles: tuple[str, ...]) -> None:
    assert len(one.scores) == len(other.scores) > 0
    for mine, its in zip(one.scores, other.scores, strict=True):
        for role in roles:
            assert getattr(mine, role) == pytest.approx(getattr(its, role), 1e-6, 1e-6, nan_ok=True)
        for figure, interval in mine.intervals.items():
            assert interval == pytest.approx(its.intervals[figure], 1e-6, 1e-6, nan_ok=True)
        assert (mine.checksum, mine.n) == (its.checksum, its.n)


@pytest.mark.slow
def test_three_launched_processes_give_the_figures_of_one(
    bench_root: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    command = ["--data", str(bench_root), "--model", str(tiny_folder)]
    found = [run(command, count, tmp_path / f"{count}.json") for count in (1, 3)]
    assert [status for status, _, _ in found] == [0, 0]
    reports = [report for _, report, _ in found]
    assert_same(*reports, ("model", "constant", "ceiling"))
    assert {score.n for score in reports[0].scores} == {2}


@pytest.mark.slow
def test_two_launched_processes_score_files_as_one_does(
    bench_root: Path, written: Path, tmp_path: Path
) -> None:
    """A frame without a prediction is told of by both, and its benchmark scored without it."""
    next((written / "kitti_flow" / "optical_flow").rglob("*.npy")).unlink()
    command = ["--data", str(bench_root), "--predictions", str(written), "--protocol", "paper"]
    found = [run(command, count, tmp_path / f"{count}.json") for count in (1, 2)]
    assert [status != 0 for status, _, _ in found] == [True, True]
    reports = [report for _, report, _ in found]
    assert_same(*reports, ("model", "constant"))
    for _, report, stderr in found:
        assert {s.task: s.n for s in report.scores if s.dataset == "kitti_flow"} == {
            "optical_flow": 1,
            "scene_flow": 2,
        }
        assert "left out: kitti_flow optical_flow, sample " in " ".join(stderr.split())
