from __future__ import annotations

import importlib
import shutil

import pytest

from stablemtl.data import (
    CATALOG,
    STABLEMTL_PAIRS,
    Mixture,
    catalog,
    collate,
    datasets_in,
    describe_class,
    mixture_entries,
    open_datasets,
)
from stablemtl.tasks import TASKS


def test_tables_agree():
    assert catalog() == CATALOG
    assert {name for name, _, _ in STABLEMTL_PAIRS} <= set(CATALOG)
    assert len({info.folder for info in CATALOG.values()}) == len(CATALOG)
    for name, info in CATALOG.items():
        assert info.build.name == name
        assert set(info.build.tasks) <= set(TASKS)
        assert set(info.splits) <= {"train", "val", "test"}
        assert set(info.splits.values()) <= set(info.build.splits)
        assert set(info.splits.values()) == set(info.official)
        assert "test" in info.splits


def test_open_datasets(data_root, caplog):
    datasets = open_datasets(data_root)
    assert list(datasets) == ["hypersim", "vkitti2", "flyingthings3d", "flyingchairs"]
    for name, dataset in datasets.items():
        assert dataset.name == name
        for pair, task, _ in STABLEMTL_PAIRS:
            assert pair != name or task in dataset.tasks
    assert [len(dataset) for dataset in datasets.values()] == [2, 6, 2, 2]
    assert [len(dataset) for dataset in open_datasets(data_root, "val").values()] == [1, 2, 1, 1]
    assert not caplog.records
    assert list(open_datasets(data_root, "test")) == ["vkitti2", "flyingthings3d", "flyingchairs"]
    assert "left out: hypersim" in caplog.text


def test_open_some(fakes, tmp_path):
    fakes.write_vkitti2(tmp_path / "vkitti2")
    assert list(open_datasets(tmp_path)) == ["vkitti2"]
    shutil.rmtree(tmp_path / "vkitti2")
    with pytest.raises(
        FileNotFoundError, match=r"no dataset with a train split in .*\. It must .* hypersim, vkitti2, Flying"
    ):
        open_datasets(tmp_path)
    with pytest.raises(FileNotFoundError, match="no data folder"):
        open_datasets(tmp_path / "missing")
    with pytest.raises(ValueError, match="unknown split 'dev'; choose from train, val, test"):
        open_datasets(tmp_path, "dev")


def test_the_published_mixture_of_real_readers(data_root):
    mixture = Mixture(mixture_entries(open_datasets(data_root)), batch_size=2)
    for step, task in enumerate(mixture.tasks):
        batch = collate(mixture.batch(step))
        assert batch.task == task
        assert len(batch) == 2
        assert (batch.image_next is not None) == (task in ("optical_flow", "scene_flow"))


def test_a_part_that_no_dataset_has(fakes, tmp_path):
    (tmp_path / "cityscapes").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no dataset with a train split .* \(cityscapes has none\)"):
        open_datasets(tmp_path)


catalog_module = importlib.import_module("stablemtl.data.catalog")  # its name is a function's as well


class Yard:
    """What another package might register."""

    name = "yard"
    tasks = ("depth",)
    splits = ("train",)

    def __init__(self, root, split="train"):
        self.root, self.split = root, split


def test_what_the_catalog_says_about_a_class():
    info = describe_class(Yard)
    assert (info.name, info.folder, info.splits) == ("yard", "yard", {"train": "train"})
    assert info.build("somewhere", "train").root == "somewhere"

    class Court(Yard):
        folder = "court_v2"
        splits = {"test": "validation"}  # noqa: RUF012

    assert describe_class(Court).folder == "court_v2"
    assert describe_class(Court).splits == {"test": "validation"}

    class Bare:
        name = "bare"

    assert describe_class(Bare).splits == {"train": "train", "val": "val", "test": "test"}

    class Wrong(Yard):
        splits = ("training", "test")

    with pytest.raises(ValueError, match="splits of yard must name train, val or test, got training"):
        describe_class(Wrong)
    with pytest.raises(ValueError, match="must be a class with a string `name`"):
        describe_class(object)


class Point:
    """An entry point."""

    def __init__(self, name, build):
        self.name, self.value, self.build = name, f"somewhere:{build.__name__}", build

    def load(self):
        return self.build


@pytest.fixture
def registered(monkeypatch):
    """Sets the registered classes; forgets them afterwards."""

    def register(*classes):
        points = [Point(str(number), build) for number, build in enumerate(classes)]
        monkeypatch.setattr(catalog_module, "entry_points", lambda group: points)
        catalog_module._registered.cache_clear()

    yield register
    monkeypatch.undo()
    catalog_module._registered.cache_clear()


def test_registered_classes_join_the_catalog(registered, tmp_path):
    registered(Yard)
    assert list(catalog()) == [*CATALOG, "yard"]
    (tmp_path / "yard").mkdir()
    assert list(datasets_in(tmp_path)) == ["yard"]
    assert isinstance(open_datasets(tmp_path)["yard"], Yard)


def test_a_name_that_is_in_use(registered):
    registered(type("Hypersim", (), {"name": "hypersim"}))
    with pytest.raises(ValueError, match="registers hypersim, a name that is in use; taken are hypersim, "):
        catalog()
    registered(Yard, Yard)
    with pytest.raises(ValueError, match="registers yard, a name that is in use"):
        catalog()
