"""How docstrings become pages: what their plain text says in reST or in one line, in Markdown and in several.

A docstring is written for those who read the source. Four of its habits mean nothing in Markdown, and are
turned into what does: roles (``:class:`LatentCodec```), formulas (``.. math::`` and ``:math:``), doctests
outside of a section, and one entry for several arguments (``fx, fy: focal lengths``).
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:py:)?(?:class|meth|func|mod|attr|data|exc|obj):`(~?)([^`<]+?)`")
_FORMULA_ROLE = re.compile(r":math:`([^`]+)`")
_SECTION = re.compile(r"^(\s*)(Args|Returns|Raises|Yields|Examples?|Attributes|Warns|Note):\s*$")
_SHARED = re.compile(r"^(\s+)((?:\*{0,2}\w+, )+\*{0,2}\w+):\s(.*)$")
_PROMPT = re.compile(r"^\s*(>>>|\.\.\.)( |$)")
_FLAG = re.compile(r"\s+# doctest: \+\w+\s*$")


class Docstrings(Extension):
    """Rewrites the docstring of every object that is collected."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Griffe calls this once for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """The docstring as Markdown with Google sections."""
    return _with_links(_with_formulas(_with_one_name_each(_with_fenced_doctests(text))))


def _with_links(text: str) -> str:
    """Roles with a full path become links to its place, if a page has it; others become code."""

    def link(match: re.Match[str]) -> str:
        path = match[2].strip()
        shown = path.rpartition(".")[2] if match[1] or path.startswith("stablemtl.") else path.lstrip(".")
        if not path.startswith("stablemtl."):
            return f"`{shown}`"
        return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'

    return _ROLE.sub(link, text)


def _with_formulas(text: str) -> str:
    """Formulas as code: pages that ask nothing of other machines draw none."""
    text = _FORMULA_ROLE.sub(lambda match: f"`{_plain(match[1])}`", text)
    lines, formula = [], False
    for line in text.splitlines():
        begun = re.match(r"^(\s*)\.\. math::\s*(.*)$", line)
        if begun:
            lines.append(f"{begun[1]}    {_plain(begun[2])}" if begun[2] else "")
            formula = not begun[2]
            continue
        if formula and line.strip():
            line = _plain(line)
        lines.append(line)
        formula = formula and (not line.strip() or line.startswith("    "))
    return "\n".join(lines)


_SIGNS = {
    r"\tfrac": r"\frac",
    r"\dfrac": r"\frac",
    r"\lVert": "‖",
    r"\rVert": "‖",
    r"\sum": "Σ",
    r"\sqrt": "√",
    r"\cdot": "·",
    r"\times": "×",  # noqa: RUF001
    r"\in": "∈",
    r"\le": "≤",
    r"\ge": "≥",
    r"\approx": "≈",
    r"\alpha": "α",  # noqa: RUF001
    r"\beta": "β",
    r"\sigma": "σ",  # noqa: RUF001
    r"\lambda": "λ",
    r"\tau": "τ",
    r"\theta": "θ",
    r"\left": "",
    r"\right": "",
    r"\quad": "  ",
    r"\,": " ",
    r"\;": " ",
    r"\|": "‖",
    r"\ldots": "...",
    r"\min": "min",
    r"\max": "max",
    r"\log": "log",
    r"\exp": "exp",
}


def _plain(formula: str) -> str:
    """A formula without TeX's markup, for reading in a line."""
    formula = re.sub(r"\\(?:bar|overline)(?:\{([^{}]*)\}| ?(\w))", lambda m: f"mean({m[1] or m[2]})", formula)
    formula = re.sub(r"\\(?:mathrm|text|mathbf|operatorname|mathbb|hat|tilde)\{([^{}]*)\}", r"\1", formula)
    for sign, plain in _SIGNS.items():
        end = r"(?![A-Za-z])" if sign[-1].isalpha() else ""
        formula = re.sub(re.escape(sign) + end, plain.replace("\\", r"\\"), formula)
    formula = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1) / (\2)", formula)
    formula = re.sub(r"\\frac(\w)(\w)", r"\1/\2", formula)
    return re.sub(r"\{([^{}]*)\}", r"\1", formula)


def _with_one_name_each(text: str) -> str:
    """``a, b: text`` in a list of arguments becomes an entry for each."""
    lines, section, margin = [], "", ""
    entries: list[str] = []  # entries that share the text being read, but the first

    def finish() -> None:
        lines.extend(line for entry in entries for line in entry.splitlines())
        entries.clear()

    for line in text.splitlines():
        begun = _SECTION.match(line)
        if begun:
            finish()
            section, margin = begun[2], begun[1]
        indent = line[: len(line) - len(line.lstrip())]
        if section in ("Args", "Attributes") and line.strip() and len(indent) <= len(margin) + 4:
            finish()
            shared = _SHARED.match(line)
            if shared:
                first, *others = shared[2].split(", ")
                lines.append(f"{indent}{first}: {shared[3]}")
                entries += [f"{indent}{name}: {shared[3]}" for name in others]
                continue
        if entries and line.strip():
            entries[:] = [f"{entry}\n{line}" for entry in entries]
        lines.append(line)
    finish()
    return "\n".join(lines)


def _with_fenced_doctests(text: str) -> str:
    """Runs of ``>>>`` become blocks of code, without the flags that are for doctest alone."""
    lines: list[str] = []
    inside, margin = False, ""
    for line in text.splitlines():
        prompt = _PROMPT.match(line)
        if prompt and not inside:
            margin = line[: len(line) - len(line.lstrip())]
            lines += ["", f"{margin}```pycon"]
            inside = True
        elif inside and not line.strip():
            lines += [f"{margin}```"]
            inside = False
        lines.append(_FLAG.sub("", line) if prompt else line)
    return "\n".join([*lines, f"{margin}```"] if inside else lines)
