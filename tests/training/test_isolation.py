"""One task in every optimizer step, over epochs of odd lengths and every way to split a step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stablemtl.data import Mixture, Sample
from stablemtl.training.step import Loss


class Numbers:
    """A dataset of a number of samples, which nobody reads."""

    def __init__(self, name: str, tasks: tuple[str, ...], length: int) -> None:
        self.name, self.tasks, self.length = name, tasks, length

    def __len__(self) -> int:
        return self.length

    def indices(self, task: str) -> Sequence[int]:
        return range(self.length)

    def load(self, index: int, task: str) -> Sample:
        raise AssertionError("nothing is read here")


def mixture(weights: dict[str, float] | None, batch_size: int, accumulation: int, processes: int) -> Mixture:
    """Three tasks from two datasets, whose lengths no batch size divides."""
    rooms, streets = Numbers("rooms", ("depth", "normal"), 13), Numbers("streets", ("depth", "semantic"), 7)
    entries = [
        (rooms, "depth", 0.9),
        (streets, "depth", 0.1),
        (rooms, "normal", 1.0),
        (streets, "semantic", 1.0),
    ]
    return Mixture(
        entries,
        batch_size=batch_size,
        accumulation=accumulation,
        world_size=processes,
        task_weights=weights,
    )


@pytest.mark.parametrize("weights", [None, {"depth": 3.0}])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("processes", [1, 2])
def test_one_task_in_every_step(
    weights: dict[str, float] | None, batch_size: int, accumulation: int, processes: int
) -> None:
    found = mixture(weights, batch_size, accumulation, processes)
    samples = 13 + 7 + 13 + 7
    steps = 3 * math.ceil(samples / found.effective_batch_size) + 3
    drawn = []
    for step in range(steps):
        entries = {
            found.draw(step, micro, rank).entry
            for micro, rank in itertools.product(range(accumulation), range(processes))
        }
        assert len(entries) == 1  # and one dataset
        assert next(iter(entries)).task == found.task_at(step)
        drawn.append(found.task_at(step))
    if weights is None:
        assert drawn == [("depth", "normal", "semantic")[step % 3] for step in range(steps)]


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_what_the_loop_asks_for(toy: Any, tmp_path: Path, accumulation: int) -> None:
    found = mixture(None, 2, accumulation, 1)
    asked: list[tuple[int, int, str]] = []

    def loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        task = found.draw(step, micro, rank).entry.task
        asked.append((step, micro, task))
        return Loss(module(torch.ones(2, 3)).square().sum(), 2, task)

    steps = 3 * math.ceil(40 / found.effective_batch_size)
    toy.train(tmp_path, loss, accumulation=accumulation, steps=steps, checkpoint_every=1000)
    tasks = ("depth", "normal", "semantic")
    assert asked == [(step, micro, tasks[step % 3]) for step in range(steps) for micro in range(accumulation)]
    logged = [list(line["loss"]) for line in toy.lines(tmp_path)]
    assert logged == [[tasks[step % 3]] for step in range(steps)]
