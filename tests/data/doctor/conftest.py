"""Gives the tests good data and faults, which importlib mode keeps off the import path."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def load_module(name: str) -> ModuleType:
    """A file of this folder as a module."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"doctor_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def good_data() -> ModuleType:
    return load_module("good_data")


@pytest.fixture(scope="session")
def good_root(good_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder without a fault, shared: tests that change files take a copy."""
    root: Path = good_data.write_all(tmp_path_factory.mktemp("good"))
    return root


@pytest.fixture
def copy_of_good(good_root: Path, tmp_path: Path) -> Callable[..., Path]:
    """``copy_of_good("hypersim", ...)``: a data folder with some of the good datasets, by folder, or all."""

    def copy(*folders: str) -> Path:
        for folder in folders or [path.name for path in good_root.iterdir()]:
            shutil.copytree(good_root / folder, tmp_path / "data" / folder)
        return tmp_path / "data"

    return copy
