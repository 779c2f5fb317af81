"""``docs/datasets.md``: its Python runs, its table of weights is the published one."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, run_page, text

from stablemtl.data import STABLEMTL_PAIRS

PAGE = "docs/datasets.md"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with fakes of all public datasets."""
    place = ROOT / "tests" / "data" / "fake_datasets.py"
    spec = importlib.util.spec_from_file_location("fake_datasets", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root: Path = module.write_all(tmp_path_factory.mktemp("data"))
    return root


def test_python_of_the_page_runs(
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    namespace: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data").symlink_to(data_root)
    monkeypatch.chdir(tmp_path)
    assert run_page(PAGE, namespace, H=5, W=7) == 1
    assert "component 1: hypersim, vkitti2" in capsys.readouterr().out


def test_weights_of_the_page() -> None:
    rows = re.findall(r"([a-z0-9]+), ([a-z ]+) \| ([0-9.]+) \|", text(PAGE))
    told = {(name, task.replace(" ", "_"), float(weight)) for name, task, weight in rows}
    assert told == set(STABLEMTL_PAIRS[:11])
