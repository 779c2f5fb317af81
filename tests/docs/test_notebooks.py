"""``examples/notebooks``: stored without outputs, and every cell runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel (the extra [dev])")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel (the extra [dev])")

FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SHOWN = {
    "predict.ipynb": ["factor to the truth", "points in m", "normal_depth", "maps.json"],
    "own_data.ipynb": ["0 errors, 0 warnings", "pipeline: ", "mean change"],
}
"""Notebook -> words that its outputs must have."""


def read(name: str) -> Any:
    return nbformat.read(FOLDER / name, as_version=4)


def test_there_is_one_for_each_purpose() -> None:
    assert set(NOTEBOOKS) == set(SHOWN)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = read(name)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs
    )
    for words in SHOWN[name]:
        assert words in shown, f"{name} does not show {words!r}"
    assert any("image/png" in output.get("data", {}) for output in outputs)
