from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stablemtl.synth.config import BENCH_VERSION, BENCH_WORLDS, MOST_SCENES, TRAINING_WORLDS, SynthConfig
from stablemtl.synth.layouts.rendered import CHAIRS_NUMBERS, ROOM_VOLUMES
from stablemtl.synth.making import WORLDS

OUT = Path("data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"size": (8, 64)}, "size must be at least 16 x 16 px, got 8 x 64"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"processes": 0}, "processes must be at least 1, got 0"),
        ({"split": "val"}, "unknown split 'val'; choose from train, test"),
        ({"worlds": ("cities", "rooms")}, "worlds must be some of things, .*, each once, got cities, rooms"),
        ({"worlds": ("town",)}, "each once, got town"),
        ({"worlds": ("rooms", "rooms")}, "each once, got rooms, rooms"),
        ({"worlds": ()}, "got none"),
        ({"worlds": ("rooms",), "count": 4001}, "at most 4000 for the train part of rooms, got 4001"),
        ({"worlds": ("rooms",), "count": 3001, "split": "test"}, "at most 3000 for the test part of rooms"),
        ({"worlds": ("cutouts",), "count": 40001}, "at most 40000 for the train part of cutouts"),
        (
            {"worlds": ("cutouts",), "count": 60000, "split": "test"},
            "at most 59999 for the test part of cutouts",
        ),
        ({"bench": True, "worlds": ("rooms",)}, "bench makes town, places, still_lifes, .* leave worlds and"),
        ({"bench": True, "split": "test"}, "leave worlds and split out"),
    ],
)
def test_wrong_config(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SynthConfig(out=OUT, **options)


def test_the_largest_counts_are_those_of_the_layouts() -> None:
    assert {
        ("rooms", "train"): 10 * len(ROOM_VOLUMES["train"]),
        ("rooms", "test"): 10 * len(ROOM_VOLUMES["test"]),
        ("cutouts", "train"): len(CHAIRS_NUMBERS["train"]),
        ("cutouts", "test"): len(CHAIRS_NUMBERS["val"]),
    } == MOST_SCENES


def test_worlds_of_a_config() -> None:
    train, held_out, bench = (SynthConfig(out=OUT, **o) for o in ({}, {"split": "test"}, {"bench": True}))
    assert (train.made, train.part, train.held_out) == (("things", "rooms", "streets"), "train", False)
    assert (held_out.made, held_out.part, held_out.held_out) == (train.made, "test", True)
    assert (bench.made, bench.part, bench.held_out) == (BENCH_WORLDS, "bench", True)
    # Their order is part of the seed of every scene.
    assert tuple(WORLDS) == (*TRAINING_WORLDS, *BENCH_WORLDS)
    assert [WORLDS[world].split("test") for world in TRAINING_WORLDS] == ["val", "test", "test", "val"]
    assert {info.split("train") for info in WORLDS.values()} == {"train"}


def test_minibench_is_one_recipe() -> None:
    """Whoever changes a default or a held-out world has to raise the version."""
    config = SynthConfig(out=OUT, bench=True)
    assert (config.seed, config.size, config.samples, config.textures) == (0, (96, 128), 10, None)
    assert config.minibench == BENCH_VERSION == 1
    assert SynthConfig(out=OUT, bench=True, count=7, processes=3).minibench == 1
    assert SynthConfig(out=OUT).minibench is None
    for other in ({"seed": 1}, {"size": (96, 160)}, {"samples": 11}, {"textures": OUT}):
        assert SynthConfig(out=OUT, bench=True, **other).minibench is None
