"""``docs/evaluation.md``: its Python gives what its comments say, its commands and files exist."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from stablemtl import cli
from stablemtl.evaluation.prediction_files import SUFFIXES, FilePredictor
from stablemtl.evaluation.protocols import NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/evaluation.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def _test_readme() -> ModuleType:
    """``blocks`` of the tests of the README, which importlib mode keeps off the import path."""
    spec = importlib.util.spec_from_file_location("test_readme", Path(__file__).with_name("test_readme.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = _test_readme().blocks


def test_python_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    checked = 0
    for block in blocks(PAGE, "python"):
        exec(compile(block, PAGE, "exec"), namespace)
        for expression, value in re.findall(r"^(\w\S*) +# ([\d('].*)$", block, flags=re.MULTILINE):
            assert eval(expression, namespace) == eval(value)
            checked += 1
        for expression, value in re.findall(r"^(round\(.*\)) +# ([\d.]+)$", block, flags=re.MULTILINE):
            assert eval(expression, namespace) == float(value)
            checked += 1
    assert checked == 4
    assert (tmp_path / "still" / "motorcycle" / "optical_flow" / "motorcycle.flo").is_file()


def test_facts_of_the_page_are_read(tmp_path: Path) -> None:
    (text,) = blocks(PAGE, "json")
    (tmp_path / "predictions.json").write_text(text)
    assert FilePredictor(tmp_path).name == json.loads(text)["name"]


def test_tables_are_complete() -> None:
    for name in (*NAMES, *SUFFIXES):
        assert f"`{name}`" in TEXT


def commands() -> list[str]:
    split = (shlex.split(line, comments=True) for line in "\n".join(blocks(PAGE, "bash")).splitlines())
    return [shlex.join(words) for words in split if words]


@pytest.mark.parametrize("command", commands())
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, name, *words = command.split()
    if program == "python":
        told = (ROOT / name).read_text(encoding="utf-8")
    else:
        assert cli.main([name, "--help"]) == 0
        told = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", told), f"{program} {name} has no {option}"
