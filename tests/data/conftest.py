"""Gives the tests the writers of fake datasets, which importlib mode keeps off the import path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    path = Path(__file__).with_name("fake_datasets.py")
    spec = importlib.util.spec_from_file_location("fake_datasets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def data_root(fakes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with all four fakes, shared: tests that change files write their own."""
    root: Path = fakes.write_all(tmp_path_factory.mktemp("data"))
    return root
