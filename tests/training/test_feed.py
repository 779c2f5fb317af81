from __future__ import annotations

import pytest
import torch

from stablemtl.data import Mixture, Sample, SampleError
from stablemtl.training.feed import Feed


class Frames:
    """A dataset whose images say which frame they are; the last one cannot be read."""

    name, tasks = "frames", ("depth", "normal")

    def __len__(self) -> int:
        return 9

    def indices(self, task: str) -> range:
        return range(9 if task == "normal" else 8)

    def load(self, index: int, task: str) -> Sample:
        if index == 8:
            raise OSError("frame 8 is damaged")
        channels = 1 if task == "depth" else 3
        return Sample(
            image=torch.full((3, 2, 4), index / 8),
            target=torch.zeros(channels, 2, 4),
            valid=torch.ones(1, 2, 4, dtype=torch.bool),
            task=task,
            dataset=self.name,
            key=str(index),
        )


def noise(sample: Sample, generator: torch.Generator) -> Sample:
    return Sample(**{**sample.__dict__, "image": torch.rand(3, 2, 4, generator=generator)})


def mixture(*tasks: str, **options) -> Mixture:
    entries = [(Frames(), task, 1.0) for task in tasks or ("depth",)]
    return Mixture(entries, **({"batch_size": 2, "accumulation": 2, "transform": noise} | options))


def test_reading_ahead_changes_nothing():
    plain, ahead = Feed(mixture()), Feed(mixture(), workers=2)
    order = [(step, micro) for step in (0, 1, 2, 7, 8, 3) for micro in range(2)]  # with two jumps
    for step, micro in order:
        a, b = plain.batch(step, micro), ahead.batch(step, micro)
        assert a.keys == b.keys
        assert torch.equal(a.image, b.image)


def test_ranks_read_different_samples():
    keys = [Feed(mixture(world_size=2), rank=rank).batch(0).keys for rank in range(2)]
    assert not set(keys[0]) & set(keys[1])


def test_after_a_change_of_weights_what_was_read_ahead_is_dropped():
    drawn = mixture("depth", "normal", reweight_every=1, on_error="skip")
    feed = Feed(drawn, workers=1)
    feed.batch(0, 0)
    feed.batch(0, 1)
    drawn.reweight(1, {"depth": 1e-9, "normal": 1.0})
    feed.restart()
    assert {feed.batch(step, micro).task for step in range(1, 5) for micro in range(2)} == {"normal"}


def test_a_damaged_sample_stops_with_its_place():
    for workers in (0, 1):
        feed = Feed(mixture("normal", batch_size=9, accumulation=1), workers=workers)
        with pytest.raises((SampleError, OSError), match="frames normal, sample 8: frame 8 is damaged"):
            feed.batch(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_workers_skip_is_counted(workers):
    feed = Feed(mixture("normal", on_error="skip"), workers=workers)
    for step in range(4):
        assert len(feed.batch(step, 0)) == len(feed.batch(step, 1)) == 2
    assert feed.mixture.skipped == {("frames", "normal", 8): "frames normal, sample 8: frame 8 is damaged"}


def test_errors():
    with pytest.raises(ValueError, match="workers must be 0 or more and ahead 1 or more, got -1 and 2"):
        Feed(mixture(), workers=-1)
    with pytest.raises(ValueError, match="got 0 and 0"):
        Feed(mixture(), ahead=0)
