"""The shelf of models: only those named, loaded on first use, the last few kept."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stablemtl import StableMTLPipeline
from stablemtl.app.shelf import Shelf
from stablemtl.exported.manifest import Manifest, describe_files
from stablemtl.tasks import TASKS


def test_models_are_loaded_on_first_use_and_kept(tiny_folder: Path) -> None:
    shelf = Shelf([str(tiny_folder)])
    name = next(iter(shelf.offers))
    assert shelf.loaded == ()
    with shelf.use(name) as first:
        assert shelf.loaded == (name,)
    with shelf.use(name) as again:
        assert again is first


def test_the_longest_unused_goes(tiny_folder: Path, tmp_path: Path) -> None:
    shelf = Shelf([str(shutil.copytree(tiny_folder, tmp_path / name)) for name in "abc"], keep=2)
    for name in "abac":
        with shelf.use(name):
            pass
    assert shelf.loaded == ("a", "c")


def test_what_is_known_without_weights(tiny_folder: Path) -> None:
    shelf = Shelf([str(tiny_folder), "nano", "nano"])
    assert list(shelf.offers) == [tiny_folder.name, "nano"]
    assert shelf.offer(tiny_folder.name).folder == str(tiny_folder)
    assert shelf.offer("nano").tasks == tuple(TASKS)
    assert shelf.offer("nano").streams == ("multi", "single")
    assert shelf.offer("nano").no_attention == ""
    assert shelf.loaded == ()


def test_nothing_but_the_names_given_is_looked_up(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "other")
    shelf = Shelf([str(tiny_folder)])
    for name in ("other", str(tmp_path / "other"), "nano", "", str(tiny_folder), f"../{tiny_folder.name}"):
        with pytest.raises(ValueError, match="is not offered; choose from"), shelf.use(name):
            pass


def test_wrong_names_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="models is empty"):
        Shelf([])
    with pytest.raises(ValueError, match="unknown model 'nanoo'"):
        Shelf(["nano", "nanoo"])
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        Shelf([str(tmp_path / "a" / "b")])


def test_folders_of_one_name_cannot_be_told_apart(tiny_folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_folder, tmp_path / tiny_folder.name)
    with pytest.raises(ValueError, match="told apart by their folder's name"):
        Shelf([str(tiny_folder), str(other)])


def test_a_model_serves_one_at_a_time(tiny_folder: Path) -> None:
    shelf = Shelf([str(tiny_folder)])
    name = next(iter(shelf.offers))
    inside = threading.Event()

    def second() -> None:
        with shelf.use(name):
            inside.set()

    with shelf.use(name):
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.2)
    assert inside.wait(10)
    thread.join()


def test_an_exported_model_is_offered_too(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(
        runtime="onnx",
        streams="multi",
        tasks=("depth", "normal"),
        pair_tasks=(),
        second_frame="duplicate",
        task_options={},
        default_processing_resolution=128,
        latent_channels=4,
        downscale=4,
        dtype="float32",
        opset=20,
        source="tiny",
    )
    for graph in manifest.graphs.values():
        (tmp_path / graph).write_bytes(b"a graph")
    replace(manifest, files=describe_files(tmp_path.iterdir())).write(tmp_path)
    shelf = Shelf([str(tmp_path)], device="cuda")
    offer = shelf.offer(tmp_path.name)
    assert (offer.tasks, offer.streams) == (("depth", "normal"), ("multi",))
    assert "does not give its attention" in offer.no_attention
    loaded = StableMTLPipeline.from_pretrained(tiny_folder)
    monkeypatch.setattr("stablemtl.exported.load_exported", lambda folder: loaded, raising=False)
    with shelf.use(tmp_path.name) as pipe:
        assert pipe is loaded
