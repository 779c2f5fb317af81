"""Dataset classes of other packages, found by their entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stablemtl.data import catalog as catalog_of_datasets
from stablemtl.data import collate, datasets_in, mixture_entries, open_datasets
from stablemtl.data.catalog import ENTRY_POINTS, _registered
from stablemtl.data.mixture import Mixture

SOURCE = """
from pathlib import Path
import torch
from stablemtl.data import Sample

class Orchard:
    name = "{name}"
    tasks = ("depth",)
    folder = "trees"
    splits = {{"train": "summer", "test": "winter"}}

    def __init__(self, root, split):
        self.frames = sorted(Path(root, split).iterdir())

    def __len__(self):
        return len(self.frames)

    def indices(self, task):
        return range(len(self.frames))

    def load(self, index, task):
        return Sample(
            image=torch.zeros(3, 4, 6),
            target=torch.full((1, 4, 6), float(self.frames[index].read_text())),
            valid=torch.ones(1, 4, 6, dtype=torch.bool),
            task=task,
            dataset=self.name,
            key=self.frames[index].name,
        )
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(name="orchard")``: a package as pip leaves it, with a dataset class of that name."""

    def make(name: str = "orchard", value: str = "orchard_data:Orchard") -> None:
        site = tmp_path / "site"
        (site / "orchard_data-1.0.dist-info").mkdir(parents=True)
        (site / "orchard_data.py").write_text(SOURCE.format(name=name))
        described = site / "orchard_data-1.0.dist-info"
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard-data\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\norchard = {value}\n")
        monkeypatch.syspath_prepend(site)
        _registered.cache_clear()

    _registered.cache_clear()
    yield make
    monkeypatch.undo()
    sys.modules.pop("orchard_data", None)
    _registered.cache_clear()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, depths in {"summer": (2.5, 4.0), "winter": (8.0,)}.items():
        (tmp_path / "data" / "trees" / split).mkdir(parents=True)
        for i, depth in enumerate(depths):
            (tmp_path / "data" / "trees" / split / f"{i}.txt").write_text(str(depth))
    return tmp_path / "data"


def test_an_installed_class_is_opened_like_any_other(install: Install, data: Path) -> None:
    assert "orchard" not in datasets_in(data)
    install()
    assert list(catalog_of_datasets())[-1] == "orchard"
    datasets = open_datasets(data)
    assert list(datasets) == ["orchard"]
    assert datasets["orchard"].load(1, "depth").target[0, 0, 0] == 4.0
    assert open_datasets(data, "test")["orchard"].load(0, "depth").target[0, 0, 0] == 8.0
    with pytest.raises(FileNotFoundError, match=r"no dataset with a val split in .* \(orchard has none\)"):
        open_datasets(data, "val")
    batch = collate(Mixture(mixture_entries(datasets), batch_size=2).batch(0))
    assert (batch.task, set(batch.keys)) == ("depth", {"0.txt", "1.txt"})


def test_a_name_that_is_in_use_is_refused(install: Install, data: Path) -> None:
    install(name="hypersim")
    with pytest.raises(ValueError, match="orchard_data:Orchard registers hypersim, a name that is in use"):
        open_datasets(data)


def test_something_else_than_a_class_is_refused(install: Install, data: Path) -> None:
    install(value="orchard_data:Path")
    with pytest.raises(ValueError, match=r"must be a class with a string `name`"):
        open_datasets(data)
