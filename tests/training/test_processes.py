"""Runs in processes of their own: killed at any moment, on several processes, with shared-out weights (FSDP).

All start from one server that has imported everything.
"""

from __future__ import annotations

import json
import multiprocessing
import runpy
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stablemtl.training.checkpoint import checkpoints

WORKER = Path(__file__).with_name("worker.py")
KILLED = -signal.SIGKILL
LIMIT_S = 300
Launch = Callable[..., list[int]]


@pytest.fixture(scope="module")
def launch() -> Launch:
    """``launch(folder, processes, **options of the worker)``: the exit status of each process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stablemtl.training.stages"])

    def run(out: Path, processes: int = 1, **options: Any) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        workers = []
        for rank in range(processes):
            given = {"out": out, "rank": rank, "processes": processes, "port": port, **options}
            process = context.Process(
                target=runpy.run_path,
                args=(str(WORKER),),
                kwargs={"init_globals": {"OPTIONS": given}, "run_name": "worker"},
            )
            process.start()
            workers.append(process)
        end = time.monotonic() + LIMIT_S
        for process in workers:
            process.join(max(0.0, end - time.monotonic()))
        found = [process.exitcode for process in workers]
        for process in workers:
            if process.exitcode is None:
                process.kill()
                process.join()
            process.close()
        assert None not in found, f"still running after {LIMIT_S} s: {found}"
        return [int(status or 0) for status in found]

    return run


def said(out: Path, rank: int = 0) -> str:
    """What a process has printed."""
    return out.with_name(f"{out.name}.{rank}.txt").read_text()


def result(out: Path) -> dict[str, Tensor]:
    return load_file(out / "result.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def curve(out: Path) -> list[tuple[str, float]]:
    """Task and loss of every step."""
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    return [next(iter(line["loss"].items())) for line in lines if "loss" in line]


def steps(out: Path) -> list[int]:
    return [int(place.name.removeprefix("step_")) for place in checkpoints(out)]


# killed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processes", "streams"), [(1, 2), (2, 1)])
def test_killed_runs_go_on_bit_by_bit(launch: Launch, tmp_path: Path, processes: int, streams: int) -> None:
    loop = {"steps": 6, "batch_size": 2, "accumulation": 2, "checkpoint_every": 2, "ema": 0.5}
    options: dict[str, Any] = {"processes": processes, "streams": streams, "loop": loop}
    whole = tmp_path / "whole"
    assert launch(whole, **options) == [0] * processes, said(whole)
    expected = result(whole)
    for name, kill, left in (
        ("early", {"kill_at": 3}, [2]),
        ("late", {"kill_at": 5, "kill_rank": processes - 1}, [2, 4]),
        ("writing", {"kill_writing": 4}, [2]),
    ):
        out = tmp_path / name
        found = launch(out, **options, **kill)
        assert KILLED in found, said(out)
        assert 0 not in found  # whoever is left does not wait for ever
        assert steps(out) == left
        assert not (out / "result.safetensors").exists()
        assert launch(out, **options) == [0] * processes, said(out)
        assert same(result(out), expected), name
        assert curve(out) == curve(whole)
        assert steps(out) == [4, 6]


# several processes ------------------------------------------------------------------------------------------

LOOP = {"steps": 20, "checkpoint_every": 20, "batch_size": 8}


@pytest.fixture(scope="module")
def alone(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one stream on one process, with 8 samples at a time."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert launch(out, loop=LOOP) == [0], said(out)
    assert len(curve(out)) == 20
    assert len({task for task, _ in curve(out)}) == 3
    return out


def assert_alike(a: Path, b: Path, tolerance: float) -> None:
    """Two runs have the same tasks, and the same losses and weights up to rounding."""
    assert [task for task, _ in curve(a)] == [task for task, _ in curve(b)]
    assert [x for _, x in curve(a)] == pytest.approx([x for _, x in curve(b)], rel=tolerance)
    expected = result(b)
    for name, value in result(a).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 1), (2, 2)])
def test_a_step_gives_the_same_however_it_is_split(
    launch: Launch, alone: Path, tmp_path: Path, batch_size: int, accumulation: int
) -> None:
    out = tmp_path / "run"
    loop = LOOP | {"batch_size": batch_size, "accumulation": accumulation}
    assert launch(out, 2, loop=loop) == [0, 0], said(out)
    assert_alike(out, alone, 1e-5)


def test_frozen_and_unused_weights_on_two_processes(launch: Launch, tmp_path: Path) -> None:
    loop = {"steps": 6, "batch_size": 8, "preview_every": 3, "ema": 0.5}
    one, two = tmp_path / "one", tmp_path / "two"
    assert launch(one, streams=2, masking=0.0, loop=loop) == [0], said(one)
    options = loop | {"batch_size": 4}
    assert launch(two, 2, streams=2, masking=0.0, loop=options) == [0, 0], said(two)
    assert_alike(two, one, 1e-5)


def test_shared_out_weights_learn_the_same(launch: Launch, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert launch(out, 2, fsdp=True, loop=LOOP | {"batch_size": 4}) == [0, 0], said(out)
    assert_alike(out, alone, 1e-3)


@pytest.mark.slow
def test_shared_out_weights_go_on_bit_by_bit(launch: Launch, tmp_path: Path) -> None:
    loop = {"steps": 6, "batch_size": 2, "accumulation": 2, "checkpoint_every": 2, "ema": 0.5}
    loop |= {"preview_every": 2}
    options: dict[str, Any] = {"streams": 2, "masking": 0.0, "fsdp": True, "loop": loop}
    whole, cut, one = (tmp_path / name for name in ("whole", "cut", "one"))
    assert launch(whole, 2, **options) == [0, 0], said(whole)
    assert KILLED in launch(cut, 2, **options, kill_at=3)
    shutil.copytree(cut, one)
    assert launch(cut, 2, **options) == [0, 0], said(cut)
    assert same(result(cut), result(whole))
    # One process can take it up as well, and gives the same up to rounding.
    single = options | {"fsdp": False, "loop": loop | {"batch_size": 4}}
    assert launch(one, 1, **single) == [0], said(one)
    assert "another way than before (loop.batch_size, processes)" in said(one)
    assert_alike(one, whole, 1e-3)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        ("memory", "OutOfMemoryError", "a step does not fit into memory with 2 samples at a time"),
        ("nan", "DivergedError", "the loss of step 4 (albedo) is nan; its batch is in"),
        ("task", "AssertionError", "a step trains one task, but in step 4 processes have others than depth"),
    ],
)
def test_all_leave_together(launch: Launch, tmp_path: Path, failure: str, kind: str, message: str) -> None:
    loop = {"steps": 9, "batch_size": 2, "checkpoint_every": 3}
    out = tmp_path / "run"
    assert launch(out, 2, streams=2, failure=failure, loop=loop) == [1, 1]
    assert kind in said(out, 1)
    assert message in said(out, 1)
    assert steps(out) == [3]
    if failure == "memory":
        assert "another process of this run has ended; its own message says why" in said(out, 0)
    if failure == "nan":
        assert message in said(out, 0)
        with safe_open(out / "diverged_step_4.safetensors", "pt") as file:
            assert file.get_tensor("target").shape == (4, 4, 12, 12)  # those of both processes
            assert file.metadata()["task"] == "albedo"
            assert len(json.loads(file.metadata()["keys"])) == 4
