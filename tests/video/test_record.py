"""The record of a run, the identity of a model, and the files of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stablemtl import StableMTLModel
from stablemtl.tasks import TASKS, build_task
from stablemtl.video import VideoMaps
from stablemtl.video.arrays import Chunk, chunk_name, read_chunk, stored_type
from stablemtl.video.identity import weights_of
from stablemtl.video.record import Work, fingerprint_of, read_json, write_json


def chunk(work: Work, first: int, frames: int) -> None:
    path = work.folder / "depth" / chunk_name(first)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes([first] * 10))
    work.add_chunk(first, frames, [path], {"done": np.array(first + frames)})


def test_chunks_are_found_again(tmp_path: Path) -> None:
    work = Work(tmp_path, "abc", resume=True)
    assert work.finished_chunks() == (0, {})
    chunk(work, 0, 4)
    chunk(work, 4, 4)
    (work.folder / "depth" / ".half.npz").write_bytes(b"half")
    again = Work(tmp_path, "abc", resume=True)
    frames, state = again.finished_chunks()
    assert (frames, int(state["done"])) == (8, 8)
    assert sorted(path.name for path in again.folder.iterdir()) == [
        "chunks",
        "depth",
        "run.json",
        "state-000008.npz",
    ]
    assert [path.name for path in again.arrays("depth")] == ["000000.npz", "000004.npz"]


@pytest.mark.parametrize("damage", ["altered", "missing", "state", "record"])
def test_what_is_not_whole_is_not_used(tmp_path: Path, damage: str) -> None:
    work = Work(tmp_path, "abc", resume=True)
    chunk(work, 0, 4)
    chunk(work, 4, 4)
    if damage == "altered":
        (work.folder / "depth" / "000000.npz").write_bytes(b"0123456789")
    elif damage == "missing":
        (work.folder / "depth" / "000004.npz").unlink()
    elif damage == "state":
        (work.folder / "state-000008.npz").unlink()
    else:
        (work.folder / "chunks" / "000000.json").write_text("{", encoding="utf-8")
    assert Work(tmp_path, "abc", resume=True).finished_chunks() == (0, {})


def test_the_work_of_another_run_is_deleted(tmp_path: Path) -> None:
    chunk(Work(tmp_path, "abc", resume=True), 0, 4)
    assert Work(tmp_path, "abd", resume=True).finished_chunks() == (0, {})
    chunk(Work(tmp_path, "abd", resume=True), 0, 4)
    assert Work(tmp_path, "abd", resume=True).finished_chunks()[0] == 4
    assert Work(tmp_path, "abd", resume=False).finished_chunks() == (0, {})


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"é": [1, None]})
    assert read_json(tmp_path / "a" / "b.json") == {"é": [1, None]}
    assert read_json(tmp_path / "none.json") == {}
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    assert read_json(tmp_path / "list.json") == {}


def test_fingerprint() -> None:
    one = fingerprint_of(a=1, b={"c": 2.0, "d": None})
    assert one == fingerprint_of(b={"d": None, "c": 2.0}, a=1)
    assert one != fingerprint_of(a=1, b={"c": 2.1, "d": None})


def test_weights_tell_models_apart(make_tiny_model: Callable[..., StableMTLModel]) -> None:
    first, second = (make_tiny_model(("depth", "normal")) for _ in range(2))
    assert weights_of(first) == weights_of(second)
    with torch.no_grad():
        next(second.parameters()).add_(1e-3)
    assert weights_of(first) != weights_of(second)
    assert weights_of(first) != weights_of(first.half())


def test_types_of_arrays() -> None:
    depth = TASKS["depth"].spec
    assert stored_type(depth, "float16", 80.0) == np.float16
    assert stored_type(depth, "float32", 80.0) == np.float32
    assert stored_type(depth, "float16", 1e5) == np.float32  # it would overflow
    assert stored_type(TASKS["semantic"].spec, "float16", 7.0) == np.uint8


def test_a_file_of_arrays_says_what_it_holds(tmp_path: Path) -> None:
    task = build_task("optical_flow", encoding="calibrated", scale_px=16.0)
    content = Chunk(first=32, notes={"33": "shows no motion"})
    for value in (1.0, 2.0):
        content.values.append(np.full((4, 6, 2), value, np.float16))
        content.valid.append(np.ones((4, 6), bool))
        content.scale.append([1.0, 1.0])
        content.shift.append([0.0, 0.0])
    content.write(tmp_path / chunk_name(32), task, [16384, 17000], 1 / 16384)
    back = read_chunk(tmp_path / "000032.npz")
    assert back["values"].shape == (2, 4, 6, 2)
    assert back["values"].dtype == np.float16
    np.testing.assert_allclose(back["time_s"], [1.0, 17000 / 16384])
    assert (str(back["task"]), str(back["unit"])) == ("optical_flow", "px")
    assert str(back["notes"]) == '{"33": "shows no motion"}'
    with np.load(tmp_path / "000032.npz", allow_pickle=False) as archive:  # any reader of NumPy can
        assert archive["values"][1, 0, 0, 0] == 2.0


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no video\.json: no video was predicted into it"):
        VideoMaps(tmp_path)
    (tmp_path / "000000.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a file of a video's arrays"):
        read_chunk(tmp_path / "000000.npz")
