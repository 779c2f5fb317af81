"""What tests of the pages share: their blocks of code, the Python run in order, the commands parsed for real.

A page is a Markdown file of the repository. Its ``python`` blocks are one program, run in a folder that the
test has prepared; a comment behind an expression that reads as its value is compared with it. Every line of
its ``bash`` blocks is parsed by the command that it names, with all its options and values; the lines of a
block below ``<!-- run -->`` are carried out as well, between the Python before and after them. A block below
``<!-- shown only: why -->`` is not run.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from stablemtl import cli

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 48, 64  # of the frames that pages are run with
_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n+)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)
_COMMENT = re.compile(r"^(?P<expression>\S.*?) {2,}# (?P<comment>.+)$")
_ARRAY = re.compile(r"(?P<dtype>\w+) \((?P<shape>[^)]*)\)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    mark: str
    """What the comment before it says: empty, ``run``, ``shown only: ...``."""


def text(page: str) -> str:
    """The page, named from the root of the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def page_blocks(page: str) -> list[Block]:
    """Every fenced block, in order."""
    return [
        Block(language=found["language"], code=found["code"], mark=found["mark"] or "")
        for found in _BLOCK.finditer(text(page))
    ]


def blocks(page: str, language: str) -> list[str]:
    """The code of the blocks in one language."""
    return [block.code for block in page_blocks(page) if block.language == language]


# --- Python


def run_page(page: str, namespace: dict[str, Any], **sizes: int) -> int:
    """Runs the page in the working directory.

    Args:
        page: its blocks are run in order.
        namespace: globals of its Python, kept.
        sizes: what letters in shapes stand for, such as ``H=48, W=64``.
    Returns:
        How many comments were compared with the value before them.
    """
    checked = 0
    for block in page_blocks(page):
        if block.mark.startswith("shown only: "):
            continue
        assert block.mark in ("", "run"), f"{page}: unknown mark {block.mark!r}"
        if block.language == "python":
            exec(compile(block.code, page, "exec"), namespace)
            checked += sum(compare(line, namespace, sizes) for line in block.code.splitlines())
        elif block.language == "bash" and block.mark == "run":
            for words in command_lines([block.code]):
                assert words[0] == "stablemtl", f"{page}: only stablemtl is run, not {words[0]}"
                assert cli.main(words[1:]) == 0, f"{page}: {shlex.join(words)} failed"
    return checked


def compare(line: str, namespace: dict[str, Any], sizes: dict[str, int]) -> bool:
    """Whether the line's comment is the value of its expression; True if there was something to compare.

    ``x  # 3.14`` compares to the digits written, ``x  # 'a ... b'`` what stands around the dots,
    ``x  # float32 (H, W)`` type and shape, and any other comment that is a Python literal, with letters for
    sizes, by equality.
    """
    found = _COMMENT.match(line)
    if found is None:
        return False
    try:
        ast.parse(found["expression"], mode="eval")
    except SyntaxError:
        return False
    array = _ARRAY.match(found["comment"])
    if array and hasattr(np, array["dtype"]):
        value = eval(found["expression"], namespace)
        assert str(value.dtype) == array["dtype"], line
        assert tuple(value.shape) == eval(f"({array['shape']},)", dict(sizes)), line
        return True
    try:
        told = eval(found["comment"], {"__builtins__": {}, **sizes})
    except (SyntaxError, NameError, TypeError):
        return False  # words
    value = eval(found["expression"], namespace)
    if isinstance(told, str) and "..." in told:
        assert all(part.strip() in value for part in told.split("...")), f"{line}: it is {value!r}"
    elif isinstance(told, float):
        digits = len(found["comment"].partition(".")[2])
        assert round(float(value), digits) == told, f"{line}: it is {value}"
    else:
        assert value == told, f"{line}: it is {value}"
    return True


# --- commands


def command_lines(codes: list[str]) -> list[list[str]]:
    """The words of every command; what is piped or redirected goes only as far as that."""
    lines = "\n".join(codes).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [words for line in split for words in _parts(line) if words]


def _parts(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in ("&&", ";"):
            yield part
            part = []
        elif word in (">", "|", "&"):
            break
        else:
            part.append(word)
    yield part


def page_commands(page: str) -> list[str]:
    """Every command of the page's ``bash`` blocks, each once."""
    return list(dict.fromkeys(shlex.join(words) for words in command_lines(blocks(page, "bash"))))


def check_command(command: str) -> None:
    """What the command names exists: the program, its command, every option with its value.

    Raises:
        AssertionError: it does not, or nobody knows how to check it.
    """
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    program = words[0].removeprefix(".venv/bin/")
    assert program in _CHECKS, f"nobody knows how to check {command!r}"
    _CHECKS[program](words[1:])


def parse(arguments: list[str]) -> None:
    """Lets the command line read the arguments, as it would before doing what they say."""
    if "--help" in arguments or not arguments:
        return
    name = arguments[0]
    if name == "--version":
        return
    assert name in cli.available(), f"stablemtl has no command {name!r}"
    module = importlib.import_module(cli.COMMANDS[name][0])
    seen: list[Any] = []

    def run(config: Any) -> int:
        seen.append(config)
        return 0

    with mock.patch.object(module, "run", functools.wraps(module.run)(run)):
        status = cli.main(arguments)
    assert status == 0, f"stablemtl {shlex.join(arguments)} is refused"
    assert seen, f"stablemtl {shlex.join(arguments)} was not read to its end"


def _python(words: list[str]) -> None:
    if words[:2] == ["-m", "stablemtl"]:
        parse(words[2:])
    elif words[0] == "-m":
        assert words[1] in ("venv", "http.server"), words
    else:
        script = ROOT / words[0]
        assert script.is_file(), f"there is no {words[0]}"
        told = script.read_text(encoding="utf-8")
        for option in (word for word in words if word.startswith("--")):
            name = option.removeprefix("--").replace("-", "_")
            assert option in told or re.search(rf"^    {name}: ", told, re.M), f"{words[0]} has no {option}"


def _pip(words: list[str]) -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = {
        extra for word in words for group in re.findall(r"\[([\w,]+)\]", word) for extra in group.split(",")
    }
    assert words[0] == "install"
    assert extras <= set(project["optional-dependencies"]), f"no extra of that name: {words}"


def _make(words: list[str]) -> None:
    makefile = text("Makefile")
    for target in words:
        assert re.search(rf"^{target}:", makefile, re.M), f"no target {target} in the Makefile"


def _launched(words: list[str]) -> None:
    place = words.index("-m")
    assert words[place + 1] == "stablemtl", words
    parse(words[place + 2 :])


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "stablemtl": parse,
    "python": _python,
    "python3": _python,
    "pip": _pip,
    "make": _make,
    "accelerate": _launched,
    "torchrun": _launched,
    "pre-commit": lambda words: None,
    "git": lambda words: None,
    "cd": lambda words: None,
    "mkdir": lambda words: None,
    "mkdocs": lambda words: None,
    "scripts/newcomer.sh": lambda words: None,
    "scripts/make_nano.sh": lambda words: None,
}
