from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from stablemtl.data import Mixture, Sample
from stablemtl.training.adaptive import AdaptiveConfig, AdaptiveTasks


class Blank:
    name, tasks = "blank", ("depth", "normal", "albedo")

    def __len__(self) -> int:
        return 10

    def indices(self, task: str) -> range:
        return range(10)

    def load(self, index: int, task: str) -> Sample:
        raise AssertionError("nothing is read here")


def adaptive(**options) -> AdaptiveTasks:
    config = AdaptiveConfig(**({"every": 30} | options))
    entries = [(Blank(), task, 1.0) for task in Blank.tasks]
    return AdaptiveTasks(Mixture(entries, batch_size=1, reweight_every=config.every), config)


def train(tasks: AdaptiveTasks, steps: range) -> list[str]:
    """Depth does not learn, normals halve at once, albedo falls to a tenth."""
    seen, drawn = Counter(), []
    for step in steps:
        task = tasks.mixture.task_at(step)
        seen[task] += 1
        late = seen[task] > 5
        loss = {"depth": 2.0, "normal": 1.0 if late else 2.0, "albedo": 0.2 if late else 2.0}[task]
        tasks.observe(step, task, loss)
        drawn.append(task)
    return drawn


def test_weights_computed_by_hand():
    tasks = adaptive(limit=100.0)
    for task, losses in {
        "depth": [2.0] * 200,
        "normal": [4.0] * 5 + [2.0] * 400,
        "albedo": [3.0] * 9,
    }.items():
        for loss in losses:
            tasks.observe(0, task, loss)
    # rates 1, 1/2 and 1; their mean 5/6
    assert tasks.weights() == pytest.approx({"depth": 1.2, "normal": 0.6, "albedo": 1.2})
    tasks.config = AdaptiveConfig(every=30, strength=2.0, limit=100.0)
    assert tasks.weights() == pytest.approx({"depth": 1.44, "normal": 0.36, "albedo": 1.44})
    tasks.config = AdaptiveConfig(every=30, strength=2.0, limit=1.25)
    assert tasks.weights() == pytest.approx({"depth": 1.25, "normal": 0.8, "albedo": 1.25})
    tasks.config, tasks.base = AdaptiveConfig(every=30, strength=0.0), {"depth": 3.0}
    assert tasks.weights() == pytest.approx({"depth": 3.0, "normal": 1.0, "albedo": 1.0})


def test_slow_tasks_get_more_steps():
    drawn = Counter(train(adaptive(), range(3000))[300:])
    assert drawn["depth"] > 1.5 * drawn["normal"] > 1.5 * drawn["albedo"] > 0


def test_even_until_every_task_has_been_seen():
    tasks = adaptive()
    assert not any(tasks.observe(29, "depth", 1.0) for _ in range(20))
    assert tasks.weights() == {"depth": 1.0, "normal": 1.0, "albedo": 1.0}
    assert tasks.history == []


def test_a_resumed_run_draws_as_the_one_that_was_not_stopped():
    whole = adaptive()
    expected = train(whole, range(600))
    first = adaptive()
    train(first, range(250))
    state = json.loads(json.dumps(first.state_dict()))
    resumed = adaptive()
    resumed.load_state_dict(state)
    assert [resumed.mixture.task_at(step) for step in range(250)] == expected[:250]
    losses = Counter(expected[:250])
    for step in range(250, 600):
        task = resumed.mixture.task_at(step)
        losses[task] += 1
        loss = {"depth": 2.0, "normal": 1.0, "albedo": 0.2}[task]
        assert losses[task] > 5
        resumed.observe(step, task, loss)
        assert task == expected[step]
    assert resumed.history == whole.history
    torch.testing.assert_close(resumed.weights(), whole.weights())


def test_errors():
    with pytest.raises(ValueError, match="every and limit must be 1 or more and strength not negative"):
        AdaptiveConfig(strength=-1.0)
    mixture = Mixture([(Blank(), "depth", 1.0)], batch_size=1, reweight_every=10)
    with pytest.raises(ValueError, match="must be made with reweight_every=100, got 10"):
        AdaptiveTasks(mixture, AdaptiveConfig())
