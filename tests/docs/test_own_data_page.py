"""``docs/own-data.md``: its manifest is read, its class found."""

from __future__ import annotations

import csv
import io
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import blocks, compare, text

from stablemtl.data import ManifestDataset, open_datasets
from stablemtl.data.catalog import _registered
from stablemtl.data.exr import write_exr
from stablemtl.data.formats import write_png16, write_rgb
from stablemtl.tasks import TASKS
from stablemtl.tasks.semantic import CLASSES

PAGE = "docs/own-data.md"
SIZE = (10, 14)


def python_block(word: str) -> str:
    """The page's one block of Python that has the word."""
    (found,) = (code for code in blocks(PAGE, "python") if word in code)
    return found


def write_files(folder: Path, manifest: str) -> None:
    """Every file that the manifest names."""
    for row in csv.DictReader(io.StringIO(manifest)):
        for column, file in row.items():
            if column == "split" or not file:
                continue
            if column in ("image", "image_next"):
                write_rgb(folder / file, np.full((*SIZE, 3), 99, np.uint8))
            elif column == "depth":
                write_png16(folder / file, np.full(SIZE, 2500, np.uint16))
            elif column == "normal":
                write_exr(folder / file, np.full((*SIZE, 3), (0, 0, 1), np.float32))
            else:
                write_rgb(folder / file, np.full(SIZE, 26, np.uint8))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's dataset in ``data/photos``."""
    (manifest,) = blocks(PAGE, "csv")
    folder = tmp_path / "data" / "photos"
    write_files(folder, manifest)
    (folder / "manifest.csv").write_text(manifest)
    (folder / "dataset.toml").write_text(blocks(PAGE, "toml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def test_the_manifest_of_the_page(data: Path, namespace: dict[str, Any]) -> None:
    code = python_block("ManifestDataset(")
    exec(compile(code, PAGE, "exec"), namespace)
    dataset, sample = namespace["dataset"], namespace["sample"]
    assert sum(compare(line, namespace, {}) for line in code.splitlines()) == 2
    assert sample.target.unique().tolist() == [2.5]
    assert dataset.load(0, "semantic").target.unique().tolist() == [list(CLASSES).index("vehicle")]
    assert dataset.load(1, "normal").target[:, 0, 0].tolist() == [0, 0, 1]
    assert ManifestDataset("data/photos", "test").tasks == ("semantic",)


def test_a_line_of_jsonl(data: Path) -> None:
    line = re.search(r'`(\{"image".*\})`', text(PAGE))
    assert line
    (data / "photos" / "manifest.csv").unlink()
    (data / "photos" / "manifest.jsonl").write_text(line[1] + "\n")
    assert ManifestDataset("data/photos").tasks == ("depth",)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's class as a package that pip has installed."""
    project = tomllib.loads(blocks(PAGE, "toml")[-1])["project"]
    ((group, points),) = project["entry-points"].items()
    ((point, value),) = points.items()
    described = tmp_path / "site" / "harbour_data-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (described / "entry_points.txt").write_text(f"[{group}]\n{point} = {value}\n")
    (tmp_path / "site" / f"{value.partition(':')[0]}.py").write_text(python_block("class Harbour"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    _registered.cache_clear()
    yield
    monkeypatch.undo()
    sys.modules.pop("harbour_data", None)
    _registered.cache_clear()


@pytest.mark.usefixtures("installed")
def test_the_class_of_the_page(data: Path) -> None:
    depth = np.full(SIZE, 3.0)
    depth[0, 4] = np.nan
    write_rgb(data / "harbour" / "train" / "0001.jpg", np.full((*SIZE, 3), 51, np.uint8))
    np.save(data / "harbour" / "train" / "0001.npy", depth)
    datasets = open_datasets(data)
    assert list(datasets) == ["harbour", "photos"]
    sample = datasets["harbour"].load(0, "depth")
    assert (sample.dataset, sample.key) == ("harbour", "0001")
    assert sample.target[0, 0, 3] == 3.0
    assert not sample.valid[0, 0, 4]
    assert sample.valid.sum() == 10 * 14 - 1


def test_tables_name_every_task_and_class() -> None:
    page = text(PAGE)
    for name in TASKS:
        assert f"`{name}`" in page
    words = " ".join(page.split())
    assert f"The classes are {', '.join(list(CLASSES)[:-1])} and {list(CLASSES)[-1]}." in words
