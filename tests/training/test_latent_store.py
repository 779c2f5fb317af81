from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from stablemtl.training.latent_store import DiskStore, Kept, Key, MemoryStore

SHAPE = (4, 3, 5)


def item(number: float, frames: int = 1) -> Kept:
    valid = torch.zeros(1, *SHAPE[1:], dtype=torch.bool)
    valid[0, 1, 2] = True
    return Kept(
        torch.stack([torch.full(SHAPE, number + n / 2, dtype=torch.float16) for n in range(frames)]),
        torch.full(SHAPE, -number, dtype=torch.float16),
        valid,
    )


def same(a: Kept | None, b: Kept) -> bool:
    return a is not None and all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def disk(folder: Path, **changes) -> DiskStore:
    options = {"facts": {"codec": "abc"}, "lengths": {"streets": 7, "rooms": 2}, "versions": 2}
    return DiskStore(folder, **(options | changes))


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else disk(tmp_path)


def test_what_was_put_comes_back_and_nothing_else(store):
    key = Key("streets", "depth", 3, 1)
    assert store.get(key) is None
    store.put(key, item(2.5))
    store.put(Key("streets", "optical_flow", 3, 1), item(2.5, frames=2))
    assert same(store.get(key), item(2.5))
    assert same(store.get(Key("streets", "optical_flow", 3, 1)), item(2.5, frames=2))
    for other in ((4, 1), (3, 0)):
        assert store.get(Key("streets", "depth", *other)) is None
    assert store.get(Key("rooms", "depth", 1, 1)) is None
    assert store.get(Key("streets", "scene_flow", 3, 1)) is None


def test_what_was_put_may_change_afterwards(store):
    key = Key("rooms", "albedo", 0, 0)
    mine = item(1.0)
    store.put(key, mine)
    mine.target.zero_()
    assert same(store.get(key), item(1.0))


def test_frames_on_disk_are_shared_between_tasks(tmp_path):
    store = disk(tmp_path)
    store.put(Key("rooms", "albedo", 1, 0), item(3.0))
    assert torch.equal(store.frames(Key("rooms", "depth", 1, 0), 1), item(3.0).frames)
    assert store.frames(Key("rooms", "depth", 1, 1), 1) is None
    assert store.frames(Key("rooms", "depth", 1, 0), 2) is None  # the second frame is not known
    assert store.get(Key("rooms", "depth", 1, 0)) is None  # nor is the label
    assert MemoryStore().frames(Key("rooms", "depth", 1, 0), 1) is None


def test_a_store_is_found_again_by_its_facts(tmp_path):
    key = Key("streets", "depth", 6, 0)
    disk(tmp_path).put(key, item(4.0))
    assert same(disk(tmp_path).get(key), item(4.0))
    for other in ({"facts": {"codec": "abd"}}, {"lengths": {"streets": 8}}, {"versions": 1}):
        assert disk(tmp_path, **other).get(key) is None
    assert len(list(tmp_path.iterdir())) == 4


def test_holes_take_no_space(tmp_path):
    store = disk(tmp_path, lengths={"streets": 100_000})
    store.put(Key("streets", "depth", 99_999, 1), item(1.0))
    apparent = sum(path.stat().st_size for path in store.folder.iterdir())
    assert apparent > 100_000 * 2 * 2 * 60 * 2
    assert store.nbytes < apparent / 20


def test_data_without_a_mark_is_not_taken(tmp_path):
    store = disk(tmp_path)
    key = Key("streets", "depth", 2, 0)
    store.put(key, item(1.0))
    np.lib.format.open_memmap(store.folder / "streets.depth.marks.npy", mode="r+")[2, 0] = 0
    assert disk(tmp_path).get(key) is None  # as after a kill between data and mark


def _fill(folder: Path, start: int) -> None:
    store = disk(folder, lengths={"streets": 40})
    for index in range(start, 40, 2):
        for version in range(2):
            store.put(Key("streets", "depth", index, version), item(index + version / 2))


def test_two_processes_fill_one_store(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = disk(tmp_path, lengths={"streets": 40})
    for index in range(40):
        for version in range(2):
            assert same(store.get(Key("streets", "depth", index, version)), item(index + version / 2))
    assert not list(store.folder.glob(".making-*"))
