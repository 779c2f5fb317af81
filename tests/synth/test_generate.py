"""Many scenes: reproducible, resumable, readable. One test starts processes; the others run in this one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl.data import open_datasets
from stablemtl.synth import generate as generating
from stablemtl.synth import pool
from stablemtl.synth.config import TRAINING_WORLDS, SynthConfig, World
from stablemtl.synth.generate import Progress, generate, make
from stablemtl.synth.layouts import rendered as layouts

TINY: dict[str, Any] = {"size": (24, 32), "samples": 2, "processes": 1}


class InThisProcess:
    """Stands in for a pool of processes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        future: Future[None] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options: bool) -> None:
        pass


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", InThisProcess)


def digests(root: Path) -> dict[str, str]:
    """Hash of every file, by its path below ``root``."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene of every world, for training and held out, made in this process."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
        for split in ("train", "test"):
            list(generate(SynthConfig(out=root, worlds=TRAINING_WORLDS, count=1, split=split, **TINY)))
    return root


def test_same_files_from_any_number_of_processes(made: Path, tmp_path: Path) -> None:
    worlds: tuple[World, ...] = ("things", "rooms", "cutouts")
    config = SynthConfig(out=tmp_path, worlds=worlds, count=1, **{**TINY, "processes": 2})
    progress = list(generate(config))
    assert {one.world: one for one in progress} == {
        world: Progress(world=world, unit=0, resumed=False) for world in worlds
    }
    ours, theirs = digests(tmp_path), digests(made)
    lists = {name for name in ours if name.endswith((".json", ".csv", "train_val.txt"))}
    assert len(lists) == 5
    assert len(ours) == 5 + 6 + 3 * 7 + 1 + 3  # lists, things, rooms with their cameras, cut-outs
    assert all(ours[name] == theirs[name] for name in set(ours) - lists)
    for world in worlds:
        recipe = json.loads((tmp_path / f"synth-train-{world}.json").read_text())
        assert (recipe["world"], recipe["size"], recipe["seed"], recipe["scenes"]) == (world, [24, 32], 0, 1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_world_is_read_by_its_dataset(made: Path, split: str) -> None:
    datasets = open_datasets(made, split)
    assert list(datasets) == ["hypersim", "vkitti2", "flyingthings3d", "flyingchairs"]
    assert [len(dataset) for dataset in datasets.values()] == [3, 3, 1, 1]
    for dataset in datasets.values():
        for task in dataset.tasks:
            assert len(dataset.indices(task)) == (
                2 if dataset.name == "vkitti2" and "flow" in task else len(dataset)
            )
            for index in dataset.indices(task):
                sample = dataset.load(index, task)
                assert sample.image.shape == (3, 24, 32)
                assert sample.valid.any()
                assert sample.target.isfinite().all()


def test_held_out_scenes_differ_from_those_for_training(made: Path) -> None:
    train, test = open_datasets(made, "train"), open_datasets(made, "test")
    for name in train:
        task = train[name].tasks[0]
        assert not train[name].load(0, task).image.equal(test[name].load(0, task).image)


@pytest.mark.usefixtures("no_processes")
def test_other_seeds_and_pictures_give_other_scenes(pictures: Path, tmp_path: Path) -> None:
    found = []
    for number, options in enumerate(({}, {}, {"seed": 1}, {"textures": pictures}, {"size": (24, 36)})):
        config = SynthConfig(out=tmp_path / str(number), worlds=("cutouts",), count=2, **{**TINY, **options})
        list(generate(config))
        found.append(digests(config.out / "FlyingChairs_release"))
    assert found[0] == found[1]
    flows = [files["data/00001_flow.flo"] for files in found[1:]]
    assert len(set(flows)) == 4
    assert found[0]["data/00001_flow.flo"] != found[0]["data/00002_flow.flo"]


@pytest.mark.usefixtures("no_processes")
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SynthConfig(out=tmp_path, worlds=("things", "cutouts"), count=2, **TINY)
    run = generate(config)
    first = next(run)
    run.close()  # as Ctrl-C does
    assert (first.unit, first.resumed) == (0, False)
    begun = json.loads((tmp_path / "synth-train-cutouts.json").read_text())
    assert begun["scenes"] < 2
    assert len(open_datasets(tmp_path)["flyingthings3d"]) >= 1  # what is there can be read
    progress = list(generate(config))
    assert progress[0] == Progress(world="things", unit=0, resumed=True)
    assert {(one.world, one.unit) for one in progress} == {(w, n) for w in config.worlds for n in (0, 1)}
    before = digests(tmp_path)

    calls = []
    monkeypatch.setattr(generating, "make", lambda config, task: (calls.append(task), make(config, task)))
    assert all(one.resumed for one in generate(config))
    assert calls == []
    layouts.things_mark(tmp_path, "train", 1).unlink()
    layouts.cutouts_mark(tmp_path, "train", 0).unlink()
    progress = list(generate(config))
    assert {(one.world, one.unit) for one in progress if not one.resumed} == set(calls)
    assert calls == [("cutouts", 0), ("things", 1)]
    assert digests(tmp_path) == before
    more = SynthConfig(out=tmp_path, worlds=("cutouts",), count=4, **TINY)
    assert [one.resumed for one in generate(more)] == [True, True, False, False]
    assert json.loads((tmp_path / "synth-train-cutouts.json").read_text())["scenes"] == 4


@pytest.mark.usefixtures("no_processes")
def test_a_folder_of_another_recipe_is_left_alone(tmp_path: Path) -> None:
    config = SynthConfig(out=tmp_path, worlds=("cutouts",), count=1, **TINY)
    list(generate(config))
    before = digests(tmp_path)
    with pytest.raises(ValueError, match="seed 0 there, 5 now"):
        generate(SynthConfig(out=tmp_path, worlds=("things", "cutouts"), count=2, seed=5, **TINY))  # at once
    assert digests(tmp_path) == before
    others = SynthConfig(out=tmp_path, worlds=("cutouts",), count=1, split="test", seed=5, **TINY)
    assert [one.resumed for one in generate(others)] == [False]  # the parts have recipes of their own


@pytest.mark.usefixtures("no_processes")
def test_a_scene_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_two(config: SynthConfig, task: tuple[str, int]) -> None:
        if task[1] == 2:
            raise OSError("disk full")
        make(config, task)

    monkeypatch.setattr(generating, "make", fail_at_two)
    config = SynthConfig(out=tmp_path, worlds=("cutouts",), count=3, **TINY)
    with pytest.raises(
        RuntimeError, match=r"scene 2 of cutouts failed: disk full\. Run the same command again"
    ):
        list(generate(config))
    monkeypatch.undo()
    monkeypatch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
    assert [one.resumed for one in generate(config)] == [True, True, False]


def test_the_largest_counts_have_names_of_their_own() -> None:
    last = layouts.room_folder(Path(), "train", 3999).name
    assert (last, layouts.room_folder(Path(), "test", 2999).name) == ("ai_499_010", "ai_999_010")
    assert layouts.cutouts_mark(Path(), "val", 59998).name == "99999_flow.flo"


def test_textures_are_looked_at_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "data"
    config = SynthConfig(out=out, worlds=("cutouts",), textures=tmp_path / "missing", **TINY)
    with pytest.raises(FileNotFoundError, match="textures: no folder"):
        list(generate(config))
    assert not out.exists()


@pytest.mark.usefixtures("no_processes")
def test_without_mitsuba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    out = tmp_path / "data"
    with pytest.raises(ImportError, match=r"pip install 'stablemtl\[synth\]'"):
        list(generate(SynthConfig(out=out, **TINY)))
    assert not out.exists()
    assert len(list(generate(SynthConfig(out=out, worlds=("cutouts",), count=1, **TINY)))) == 1


def test_rendered_scenes_follow_the_seed(tmp_path: Path) -> None:
    flows = []
    for seed in (0, 1):
        config = SynthConfig(out=tmp_path / str(seed), worlds=("things",), seed=seed, **TINY)
        make(config, ("things", 0))
        flows.append(np.fromfile(layouts.things_mark(config.out, "train", 0), np.float32))
    assert (flows[0] != flows[1]).any()


# MiniBench -----------------------------------------------------------------------------------------------

BENCHMARKS = {"cityscapes": 2, "kitti_depth": 2, "kitti_flow": 2, "diode": 2, "midintrinsics": 10}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of every held-out world, made in this process."""
    root = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
        list(generate(SynthConfig(out=root, bench=True, count=2, **TINY)))
    return root


def test_benchmarks_are_read_by_their_datasets(bench: Path) -> None:
    datasets = open_datasets(bench, "test")
    assert {name: len(dataset) for name, dataset in datasets.items()} == BENCHMARKS
    for dataset in datasets.values():
        for task in dataset.tasks:
            for index in dataset.indices(task):
                sample = dataset.load(index, task)
                assert sample.image.shape == (3, 24, 32)
                assert (sample.image_next is not None) == ("flow" in task)
                assert sample.valid.any()
                assert sample.target.isfinite().all()


def test_benchmarks_are_reproducible_and_resumed(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
    config = SynthConfig(out=tmp_path, bench=True, count=1, **TINY)
    assert [one.world for one in generate(config)] == ["town", "places", "still_lifes"]
    ours, theirs = digests(tmp_path), digests(bench)
    lists = {name for name in ours if name.endswith((".json", "with_gt.txt"))}
    assert len(lists) == 4
    assert all(ours[name] == theirs[name] for name in set(ours) - lists)
    assert all(one.resumed for one in generate(config))
    assert digests(tmp_path) == ours
    recipe = json.loads((bench / "synth-bench-town.json").read_text())
    assert (recipe["part"], recipe["minibench"], recipe["scenes"]) == ("bench", None, 2)  # a tiny size
