"""The documents at the root: their Python runs, their commands exist, their tables agree with the code."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl import cli
from stablemtl.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EMBEDDED = ROOT / "src" / "stablemtl" / "assets" / "nano" / "model_index.json"


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    assert match, f"README.md has no section {title!r}"
    return match[1]


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The globals of a module, as dataclasses and type hints expect them."""
    module = types.ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    return module.__dict__


# --- Python


def test_python_of_the_readme_runs_and_gives_what_its_comments_say(
    namespace: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with two frames of 48 by 64 px. A comment names a type and a shape, or a number."""
    if not EMBEDDED.is_file():
        pytest.skip("the embedded model is not in this checkout")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    frame = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)
    frame.save(tmp_path / "street.jpg")
    frame.transform(frame.size, Image.Transform.AFFINE, (1, 0, 2, 0, 1, 0)).save(tmp_path / "street_next.jpg")
    monkeypatch.chdir(tmp_path)
    checked = 0
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), namespace)
        for expression, dtype, shape in re.findall(
            r"^(\S+) +# (\w+) \((H, W[^)]*)\)", block, flags=re.MULTILINE
        ):
            array = eval(expression, namespace)
            assert str(array.dtype) == dtype, expression
            assert array.shape == eval(f"({shape})", {"H": 48, "W": 64}), expression
            checked += 1
        for expression, number in re.findall(r"^(\S.*?) +# ([+-]?\d+\.\d+)$", block, flags=re.MULTILINE):
            assert f"{eval(expression, namespace):+.2f}" == f"{float(number):+.2f}"
            checked += 1
    assert checked >= 4
    assert (tmp_path / "maps" / "depth.npz").is_file()


def test_examples_of_contributing_pass_their_own_tests(namespace: dict[str, object], tmp_path: Path) -> None:
    for block in blocks("CONTRIBUTING.md", "python"):
        exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    tests = {name: test for name, test in namespace.items() if name.startswith("test_")}
    assert len(tests) >= 5
    for name, test in tests.items():
        assert inspect.isfunction(test)
        folder = tmp_path / name
        folder.mkdir()
        test(*([folder] if "tmp_path" in inspect.signature(test).parameters else []))


# --- commands


def commands() -> list[str]:
    lines = "\n".join(blocks("README.md", "bash")).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [shlex.join(words[1:]) for words in split if words and words[0] == "stablemtl"]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_readme_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each named command, with the command below it, has all the options that the README gives it."""
    words = command.split()
    below = [words[1]] if words[0] in ("train", "data", "convert") else []
    status = cli.main([words[0], *below, "--help"])
    told = capsys.readouterr()
    assert status == 0, told.err
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", told.out), f"stablemtl {words[0]} has no {option}"


# --- tables


def test_table_of_tasks_agrees_with_the_code() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section("Tasks").splitlines()
        if line.startswith("| `")
    ]
    assert [row[0].strip("`") for row in rows] == list(TASKS), "one row for each task, in the order of TASKS"
    for name, shape, unit, _, _, metric in rows:
        spec = TASKS[name.strip("`")].spec
        assert shape == ("(H, W)" if spec.channels == 1 else f"(H, W, {spec.channels})")
        assert unit.split(";")[0] == spec.unit
        assert metric.startswith(f"`{spec.headline}`")
        assert ("higher" in metric) == spec.higher_is_better


def test_file_tree_names_real_files() -> None:
    """Each path at the start of a line of the tree exists; an indented name lies in the folder above it."""
    tree = re.search(r"```text\n(.*?)```", section("Files"), flags=re.DOTALL)
    assert tree
    folder = ROOT
    for line in tree[1].splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            path = ROOT / name
            folder = path if name.endswith("/") else ROOT
        else:
            path = folder / name
        assert path.exists(), f"the tree of the README names {path.relative_to(ROOT)}"
