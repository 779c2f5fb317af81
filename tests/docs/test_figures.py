"""``docs/figures``: drawn by their script, for light and dark pages, with numbers that the code confirms."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pages import ROOT

FOLDER = ROOT / "docs" / "figures"
MODULES = ("make", "concepts", "conventions", "drawing")


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    """``make.py``, imported as Python does when the file is run."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("make")
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name, None)


def test_every_figure_is_there_for_both_kinds_of_page(make: ModuleType, tmp_path: Path) -> None:
    drawn = {path.name for path in make.main(tmp_path)}
    assert drawn == {path.name for path in FOLDER.glob("*.svg")}
    for name in drawn:
        fresh, kept = (ElementTree.parse(folder / name).getroot() for folder in (tmp_path, FOLDER))
        assert fresh.attrib["viewBox"] == kept.attrib["viewBox"], f"{name} is not what the script draws now"
    for name in {name.rpartition("-")[0] for name in drawn}:
        assert {f"{name}-light.svg", f"{name}-dark.svg"} <= drawn
        assert (tmp_path / f"{name}-light.svg").read_bytes() != (tmp_path / f"{name}-dark.svg").read_bytes()


def test_every_figure_is_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for path in FOLDER.glob("*.svg"):
        kind = path.stem.rpartition("-")[2]
        assert f"figures/{path.name}#only-{kind})" in pages, path.name


def test_passes_of_the_published_schedule(make: ModuleType) -> None:
    """Counted in the released code for two frames and for one, see the source of the figure."""
    passes = make.concepts.passes
    assert passes(7, shared=False) == {"UNet": 49, "encoder": 63, "decoder": 7, "text encoder": 49}
    assert passes(7, frames=1, shared=False)["encoder"] == 49
    assert passes(1, shared=False)["UNet"] == 7


@pytest.mark.parametrize(("tasks", "frames"), [(7, 2), (1, 1), (3, 2)])
def test_passes_here_are_those_of_the_model(
    make: ModuleType, nano: Any, tasks: int, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = copy.deepcopy(nano)
    told = make.concepts.passes(tasks, frames=frames, shared=True)
    seen = {"UNet": 0, "encoder": 0, "decoder": 0, "text encoder": 0}

    def count(owner: Any, method: str, name: str, argument: int) -> None:
        original = getattr(owner, method)

        def counted(*arguments: Any, **options: Any) -> Any:
            seen[name] += len(arguments[argument])
            return original(*arguments, **options)

        monkeypatch.setattr(owner, method, counted)

    count(pipe.vae, "encode", "encoder", 0)
    count(pipe.vae, "decode", "decoder", 0)
    count(pipe.model, "_run", "UNet", 3)  # of so many tasks, of one input
    images = [np.random.default_rng(i).integers(0, 256, (24, 32, 3), np.uint8) for i in range(frames)]
    pipe(*images, tasks=list(pipe.tasks)[:tasks], processing_resolution=32)
    assert seen == told
