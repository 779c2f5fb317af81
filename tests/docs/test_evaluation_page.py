"""``docs/evaluation.md``: its Python gives what its comments say, facts are read, tables complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, run_page, text

from stablemtl.evaluation.prediction_files import SUFFIXES, FilePredictor
from stablemtl.evaluation.protocols import NAMES

PAGE = "docs/evaluation.md"


def test_python_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(PAGE, namespace) == 4
    assert (tmp_path / "still" / "motorcycle" / "optical_flow" / "motorcycle.flo").is_file()


def test_facts_of_the_page_are_read(tmp_path: Path) -> None:
    (facts,) = blocks(PAGE, "json")
    (tmp_path / "predictions.json").write_text(facts)
    assert FilePredictor(tmp_path).name == json.loads(facts)["name"]


def test_tables_are_complete() -> None:
    for name in (*NAMES, *SUFFIXES):
        assert f"`{name}`" in text(PAGE)
