"""Every page: its Python runs and gives what its comments say, its commands are those of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import HEIGHT, ROOT, WIDTH, blocks, check_command, compare, page_commands, run_page

PAGES = {
    "docs/index.md": 5,
    "docs/tasks.md": 3,
    "docs/predict.md": 7,
    "docs/folders.md": 2,
    "docs/video.md": 4,
    "docs/large-images.md": 1,
    "docs/files.md": 9,
    "docs/metres.md": 4,
    "docs/confidence.md": 6,
    "docs/performance.md": 0,
}
"""Page -> comments of its Python that name a value. Pages that need data have tests of their own."""

SPECIAL = {"docs/own-data.md", "docs/datasets.md", "docs/evaluation.md"}


def markdown() -> list[str]:
    """Every document with commands, from the root of the repository."""
    pages = [
        "README.md",
        "CONTRIBUTING.md",
        "examples/own_data/README.md",
        "src/stablemtl/assets/nano/README.md",
    ]
    return [*pages, *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("reader")
def test_page_runs(page: str, namespace: dict[str, Any]) -> None:
    assert run_page(page, namespace, H=HEIGHT, W=WIDTH) >= PAGES[page]


def test_no_page_with_python_is_forgotten() -> None:
    with_python = {page for page in markdown() if page.startswith("docs/") and blocks(page, "python")}
    assert with_python == set(PAGES) | SPECIAL


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page in markdown() for command in page_commands(page)]
)
def test_command_is_one_of_the_program(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        check_command(command)
    except AssertionError as error:
        told = capsys.readouterr()
        pytest.fail(f"{page}: {command}\n{error}\n{told.err[-2000:]}")


# --- the helper itself: a test that cannot fail is none


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("stablemtl predict a.jpg --owt maps", "is refused"),
        ("stablemtl predict a.jpg --batch-size many", "is refused"),
        ("stablemtl foretell a.jpg", "no command 'foretell'"),
        ("accelerate launch -m stablemtl train stage3", "is refused"),
        ("pip install '.[ap]'", "no extra"),
        ("make coffee", "no target coffee"),
        ("python examples/missing.py", "there is no examples/missing.py"),
        ("python examples/opencv_flow.py --into x", "has no --into"),
        ("wget something", "nobody knows"),
    ],
)
def test_wrong_commands_are_found(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=message):
        check_command(command)


def test_wrong_comments_are_found() -> None:
    import numpy as np

    values: dict[str, Any] = {"x": np.zeros((4, 6), np.float32), "y": 0.125, "z": "in metres"}
    sizes = {"H": 4, "W": 6}
    assert compare("x  # float32 (H, W)", values, sizes)
    assert compare("x.shape  # (H, W)", values, sizes)
    assert compare("y  # 0.12, nearly", values, sizes) is False
    assert compare("z  # '... metres'", values, sizes)
    assert not compare("x = 3  # float32 (H, W)", values, sizes)
    assert not compare("x  # what it is", values, sizes)
    for wrong in (
        "x  # float32 (W, H)",
        "x  # float64 (H, W)",
        "y  # 0.13",
        "z  # 'in feet'",
        "z  # 'in ... feet'",
    ):
        with pytest.raises(AssertionError):
            compare(wrong, values, sizes)


def test_unknown_marks_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pages

    (tmp_path / "page.md").write_text("<!-- ran -->\n```python\nx = 1\n```\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(AssertionError, match="unknown mark 'ran'"):
        run_page("page.md", {})
