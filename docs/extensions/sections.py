"""Lets a page take in a document of the repository, or one section of it, so that nothing is written twice.

A line ``{{ file CHANGELOG.md }}`` becomes that file without its front matter and title, a line
``{{ section CONTRIBUTING.md: Add a task }}`` what stands under that heading. Links that lead out of the site
become plain text, as the site does not have what they lead to.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^\{\{ (file|section) ([^:}]+?)(?:: ([^}]+?))? \}\}$", flags=re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)([^)\s]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for each page."""
    return _LINE.sub(lambda match: take_in(match[1], match[2], match[3]), markdown)


def take_in(kind: str, name: str, title: str | None) -> str:
    """The text of a file, or of a section of it.

    Raises:
        ValueError: no such file, or no such heading in it.
    """
    path = ROOT / name
    if not path.is_file():
        raise ValueError(f"a page takes in {name}, which is not there")
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    if kind == "section":
        found = re.search(
            rf"^(#+) {re.escape(title or '')}\n(.*?)(?=^\1 |\Z)", text, re.DOTALL | re.MULTILINE
        )
        if found is None:
            raise ValueError(f"a page takes in the section {title!r} of {name}, which has none of that name")
        text = found[2]
    else:
        text = re.sub(r"\A\s*# .*\n", "", text)
    return _LINK.sub(r"\1", text).strip() + "\n"
