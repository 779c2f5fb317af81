"""Checkpoints of the toy: interruption, resuming, which are kept; and kills at each step of writing one."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stablemtl import __version__
from stablemtl.training import checkpoint
from stablemtl.training.checkpoint import (
    best_checkpoint,
    checkpoint_weights,
    checkpoints,
    latest_checkpoint,
    read_about,
    written_beside,
)
from stablemtl.training.step import Loss


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(folder: Path) -> list[int]:
    return [int(place.name.removeprefix("step_")) for place in checkpoints(folder)]


def cut(toy: Any, folder: Path, stop: int = 4, **options: Any) -> None:
    with pytest.raises(toy.Killed):
        toy.train(folder, toy.at(stop, toy.interrupt), **options)


# resuming ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"ema": 0.9}])
@pytest.mark.parametrize("stop", [1, 3, 7])
def test_resumed_run_is_bit_identical(toy: Any, tmp_path: Path, stop: int, options: dict[str, float]) -> None:
    cut(toy, tmp_path / "cut", stop, **options)
    whole = toy.train(tmp_path / "whole", **options)
    first = toy.at(0, toy.interrupt if stop > 2 else lambda loss: loss)
    assert toy.same(toy.train(tmp_path / "cut", first, **options), whole)

    def comparable(folder: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in toy.lines(folder)]

    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")  # no step twice, none left out
    assert names(tmp_path / "cut") == ["checkpoints", "train.jsonl"]


def test_generators_go_on_where_they_were(toy: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, float, float, float]] = []

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        seen.append((step, random.random(), np.random.standard_normal(), random.gauss()))
        found: Loss = toy.loss_at(module, step, micro, rank)
        if step == stop:
            raise toy.Killed
        return found

    stop = 5
    with pytest.raises(toy.Killed):
        toy.train(tmp_path, loss)
    expected = [entry for entry in seen if entry[0] in (3, 4)]
    seen.clear()
    random.seed(1)
    np.random.seed(1)
    with pytest.raises(toy.Killed):
        toy.train(tmp_path, loss)
    assert [entry for entry in seen if entry[0] in (3, 4)] == expected
    stop = -1
    toy.train(tmp_path, loss)


def test_log_is_cut_back_to_the_checkpoint(toy: Any, tmp_path: Path) -> None:
    cut(toy, tmp_path, 5)
    assert [line["step"] for line in toy.lines(tmp_path)] == [1, 2, 3, 4, 5]
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    cut(toy, tmp_path, 3)
    assert [line["step"] for line in toy.lines(tmp_path)] == [1, 2, 3]
    toy.train(tmp_path)
    assert [line["step"] for line in toy.lines(tmp_path)] == list(range(1, 9))


def test_finished_run_is_not_trained_again(toy: Any, tmp_path: Path) -> None:
    found = toy.train(tmp_path, ema=0.9)
    log = (tmp_path / "train.jsonl").read_text()
    assert toy.same(toy.train(tmp_path, toy.not_from_the_start, ema=0.9), found)
    assert (tmp_path / "train.jsonl").read_text() == log


def test_start_again(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path, learning_rate=0.01)
    assert toy.same(toy.train(tmp_path, resume=False), toy.train(tmp_path / "other"))
    assert [line["step"] for line in toy.lines(tmp_path)] == list(range(1, 9))


def test_start_again_forgets_the_old_run_at_once(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path)
    with pytest.raises(toy.Killed):
        toy.train(tmp_path, toy.at(1, toy.interrupt), resume=False)
    assert not checkpoints(tmp_path)


class Sum:
    """A watcher that adds up losses, and is in the way of them."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.total = 0.1

    def observe(self, step: int, label: str, loss: float) -> None:
        assert label == ("depth", "normal")[step % 2]
        self.seen.append(step)
        self.total += loss

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, kept: Mapping[str, Any]) -> None:
        self.total = kept["total"]


def test_a_watcher_goes_on_with_the_run(toy: Any, tmp_path: Path) -> None:
    whole, first, second = Sum(), Sum(), Sum()
    toy.train(tmp_path / "whole", watcher=whole)
    cut(toy, tmp_path / "cut", 5, watcher=first)
    toy.train(tmp_path / "cut", watcher=second)
    assert [watcher.seen for watcher in (whole, first, second)] == [
        list(range(8)),
        list(range(5)),
        list(range(3, 8)),
    ]
    assert second.total == whole.total


# what may change --------------------------------------------------------------------------------------------


def test_other_options_are_refused_by_name(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path)
    before = (tmp_path / "train.jsonl").read_text()
    message = r"step_000008 was written with other options \(loop.learning_rate, loop.seed\); use another"
    with pytest.raises(ValueError, match=message):
        toy.train(tmp_path, seed=3, learning_rate=0.01)
    assert (tmp_path / "train.jsonl").read_text() == before
    assert toy.checkpoint_step(tmp_path) == 8


def test_options_that_do_not_change_the_result_may_change(toy: Any, tmp_path: Path) -> None:
    cut(toy, tmp_path / "cut")
    free = {"log_every": 2, "checkpoint_every": 5, "preview_every": 2, "keep_last": 1, "keep_best": False}
    found = toy.train(tmp_path / "cut", toy.not_from_the_start, gradient_checkpointing=True, **free)
    assert toy.same(found, toy.train(tmp_path / "whole"))


def test_a_step_may_be_split_in_another_way(
    toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(toy, tmp_path, batch_size=4, accumulation=2)
    with pytest.raises(ValueError, match=r"other options \(loop.accumulation\)"):
        toy.train(tmp_path, batch_size=4, accumulation=1)
    with pytest.raises(ValueError, match=r"\(loop.accumulation, loop.batch_size\)"):
        toy.train(tmp_path, batch_size=3, accumulation=3)
    with pytest.raises(ValueError, match=r"\(loop.seed\)"):
        toy.train(tmp_path, batch_size=8, accumulation=1, seed=1)
    caplog.clear()
    toy.train(tmp_path, toy.not_from_the_start, batch_size=8, accumulation=1)
    (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "another way than before (loop.accumulation, loop.batch_size): from here on" in message


def test_other_data_are_refused(toy: Any, tmp_path: Path) -> None:
    cut(toy, tmp_path, data=[["hypersim", "depth", 40, 0.9]])
    with pytest.raises(ValueError, match=r"step_000003 was written with other options \(data\)"):
        toy.train(tmp_path, data=[["hypersim", "depth", 41, 0.9]])
    toy.train(tmp_path, toy.not_from_the_start, data=[("hypersim", "depth", 40, 0.9)])


def frozen(value: float) -> nn.Module:
    module = nn.Linear(3, 1)
    nn.init.constant_(module.bias.requires_grad_(False), value)
    return module


def test_other_frozen_weights_are_refused(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(toy.Killed):
        toy.train(tmp_path, toy.at(4, toy.interrupt), module=frozen(0.5))
    message = "step_000003 was trained beside other frozen weights; start from the same --init, use another"
    with pytest.raises(ValueError, match=message):
        toy.train(tmp_path, module=frozen(0.25))
    toy.train(tmp_path, toy.not_from_the_start, module=frozen(0.5))


def test_another_model_is_refused(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path)
    with pytest.raises(ValueError, match="step_000008 holds the weights of another model"):
        toy.train(tmp_path, module=nn.Linear(4, 1))


# contents ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_says_what_it_is(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path, data=["recipe"], preview=lambda module, step: {"a": 1.0, "b": 2.0}, preview_every=8)
    place = latest_checkpoint(tmp_path)
    assert place == tmp_path / "checkpoints" / "step_000008"
    about = read_about(place)
    assert about.pop("frozen")
    assert about.pop("config")["loop"]["learning_rate"] == 0.05
    assert about == {
        "step": 8,
        "validation": 1.5,
        "code_version": __version__,
        "processes": 1,
        "data": ["recipe"],
        "watched": None,
    }
    files = ["generators.safetensors", "model.safetensors", "optimizer.safetensors", "run.json"]
    assert names(place) == files


def test_weights_of_a_checkpoint(toy: Any, tmp_path: Path) -> None:
    module = frozen(0.5)
    module.register_buffer("tokens", torch.arange(3.0))
    found = toy.train(tmp_path, module=module, ema=0.9)
    place = tmp_path / "checkpoints" / "step_000008"
    weights = checkpoint_weights(place)
    assert sorted(weights) == ["tokens", "weight"]  # not what is frozen
    assert torch.equal(weights["weight"], found["weight"])
    assert not torch.equal(load_file(place / "model.safetensors")["weight"], found["weight"])
    assert weights["tokens"].tolist() == [0, 1, 2]


def test_nothing_is_pickled(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **options: Any) -> None:
        raise AssertionError("pickled")

    monkeypatch.setattr(torch, "save", refused)
    monkeypatch.setattr(torch, "load", refused)
    cut(toy, tmp_path)
    toy.train(tmp_path, toy.not_from_the_start)


# which are kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "left"), [(1, [8]), (2, [6, 8]), (3, [4, 6, 8]), (9, [2, 4, 6, 8])])
def test_the_last_are_kept(toy: Any, tmp_path: Path, keep: int, left: list[int]) -> None:
    toy.train(tmp_path, checkpoint_every=2, keep_last=keep)
    assert steps(tmp_path) == left
    assert names(tmp_path / "checkpoints") == [f"step_{step:06d}" for step in left]


def figures(*values: float) -> Callable[[nn.Module, int], dict[str, float]]:
    """A preview whose mean takes these values, one after the other."""
    course = iter(values)

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        value = next(course)
        return {"depth": value - 1, "normal": value + 1}

    return preview


def test_the_best_is_kept(toy: Any, tmp_path: Path) -> None:
    options = {"checkpoint_every": 2, "preview_every": 1, "keep_last": 1}
    toy.train(tmp_path / "a", preview=figures(5, 4, 2, 3, 3, 3, 3, 3), **options)
    assert steps(tmp_path / "a") == [3, 8]  # written for being the best, though not due
    assert best_checkpoint(tmp_path / "a") == (tmp_path / "a" / "checkpoints" / "step_000003", 2.0)
    toy.train(tmp_path / "b", preview=figures(5, 4, 2, 3, 3, 3, 3, 1), **options)
    assert steps(tmp_path / "b") == [8]
    toy.train(tmp_path / "c", preview=figures(5, 4, 2, 3, 3, 3, 3, 3), keep_best=False, **options)
    assert steps(tmp_path / "c") == [8]
    assert best_checkpoint(tmp_path / "none") is None


def test_the_best_is_remembered_by_a_resumed_run(toy: Any, tmp_path: Path) -> None:
    options = {"checkpoint_every": 2, "preview_every": 1, "keep_last": 1}
    cut(toy, tmp_path, 5, preview=figures(5, 1, 2, 2, 2), **options)
    assert steps(tmp_path) == [2, 4]
    toy.train(tmp_path, preview=figures(2, 3, 3, 3), **options)
    assert steps(tmp_path) == [2, 8]


def test_figures_that_are_no_number_are_not_the_best(toy: Any, tmp_path: Path) -> None:
    nan = float("nan")
    toy.train(tmp_path, preview=figures(nan, 3, nan, 4), checkpoint_every=8, preview_every=2, keep_last=1)
    assert steps(tmp_path) == [4, 8]
    assert best_checkpoint(tmp_path) == (tmp_path / "checkpoints" / "step_000004", 3.0)


# kills while a checkpoint is written or removed -------------------------------------------------------------


def test_what_is_half_written_is_not_taken(toy: Any, tmp_path: Path) -> None:
    cut(toy, tmp_path / "cut")
    part = tmp_path / "cut" / "checkpoints" / "step_000006.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    shutil.copytree(tmp_path / "cut" / "checkpoints" / "step_000003", part.with_name("step_000007.part"))
    assert toy.same(toy.train(tmp_path / "cut", toy.not_from_the_start), toy.train(tmp_path / "whole"))
    assert names(tmp_path / "cut" / "checkpoints") == ["step_000006", "step_000008"]


def test_what_is_damaged_is_named(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path)
    damaged = tmp_path / "checkpoints" / "step_000008" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"step_000008 cannot be read .*; remove this folder to go on from"):
        toy.train(tmp_path)
    shutil.rmtree(damaged.parent)
    assert toy.same(toy.train(tmp_path, toy.not_from_the_start), toy.train(tmp_path / "whole"))


@pytest.mark.parametrize("keep", [1, 2])
def test_there_is_always_a_checkpoint_to_go_on_from(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """A kill at every change of a name and at every removal of a folder, one after the other."""
    whole = toy.train(tmp_path / "whole")
    cut(toy, tmp_path / "start", keep_last=keep)
    rename, rmtree = Path.rename, shutil.rmtree
    for kill in range(20):
        folder = tmp_path / str(kill)
        shutil.copytree(tmp_path / "start", folder)
        calls = 0

        def killed(kill: int = kill) -> None:
            nonlocal calls
            calls += 1
            if calls == kill + 1:
                raise toy.Killed

        def renamed(self: Path, target: Any, killed: Callable[[], None] = killed) -> Path:
            killed()
            return rename(self, target)

        def removed(path: Path, *args: Any, killed: Callable[[], None] = killed, **options: Any) -> None:
            for file in sorted(Path(path).glob("*")):
                file.unlink()
                killed()
            rmtree(path, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", renamed)
            patch.setattr(checkpoint.shutil, "rmtree", removed)
            try:
                toy.train(folder, keep_last=keep)
                break
            except toy.Killed:
                pass
        assert toy.checkpoint_step(folder) >= 3
        assert toy.same(toy.train(folder, toy.not_from_the_start, keep_last=keep), whole)
        left = names(folder / "checkpoints")  # one more after a kill between the last one and the removal
        assert len(left) in (keep, keep + 1)
        assert all(name in ("step_000003", "step_000006", "step_000008") for name in left)
    assert kill >= 4


def test_folder_written_beside(tmp_path: Path) -> None:
    final = tmp_path / "new" / "codec"
    with written_beside(final) as folder:
        (folder / "a").write_text("1")
        assert not final.exists()
    assert names(final) == ["a"]

    def fail() -> None:
        with written_beside(final) as folder:
            (folder / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (final / "a").read_text() == "1"
    with written_beside(final) as folder:
        (folder / "b").write_text("2")
    assert names(final) == ["b"]
    assert names(final.parent) == ["codec"]


def test_a_folder_without_its_description_is_no_checkpoint(toy: Any, tmp_path: Path) -> None:
    toy.train(tmp_path, keep_last=1)
    (tmp_path / "checkpoints" / "step_000009").mkdir()
    (tmp_path / "checkpoints" / "step_notes").mkdir()
    assert steps(tmp_path) == [8]
    assert json.loads((tmp_path / "checkpoints" / "step_000008" / "run.json").read_text())["step"] == 8
