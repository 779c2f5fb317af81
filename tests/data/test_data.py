from __future__ import annotations

import shutil

import pytest

from stablemtl.data import (
    DATASETS,
    FOLDERS,
    SPLITS,
    STABLEMTL_PAIRS,
    Mixture,
    collate,
    mixture_entries,
    open_datasets,
)


def test_tables_agree():
    assert list(DATASETS) == list(FOLDERS)
    for names in SPLITS.values():
        assert list(names) == list(DATASETS)
    assert {name for name, _, _ in STABLEMTL_PAIRS} == set(DATASETS)


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
        FileNotFoundError, match=r"no dataset with a train split .* hypersim, vkitti2, FlyingThings3D"
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
