"""``docs/extensions``: docstrings and documents of the repository as Markdown."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT

pytest.importorskip("griffe", reason="needs mkdocstrings (the extra [docs])")


def load(name: str) -> ModuleType:
    path = ROOT / "docs" / "extensions" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docstrings, sections = load("docstrings"), load("sections")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("as in :meth:`encode`", "as in `encode`"),
        (
            "see :class:`stablemtl.models.LatentCodec`",
            'see <autoref identifier="stablemtl.models.LatentCodec" optional><code>LatentCodec</code>'
            "</autoref>",
        ),
        (r"depth :math:`f b / z` here", "depth `f b / z` here"),
        (r":math:`\tfrac{1}{n} \sum_{i \in A} x_i`", "`(1) / (n) Σ_i ∈ A x_i`"),
        (r":math:`v' = q^c (v - \bar v) + \overline{w(s)}`", "`v' = q^c (v - mean(v)) + mean(w(s))`"),
        ("plain ``code``", "plain ``code``"),
    ],
)
def test_roles(written: str, shown: str) -> None:
    assert docstrings.to_markdown(written) == shown


def test_formulas_on_lines_of_their_own() -> None:
    text = "Mean.\n\n.. math:: a \\times b\n\nThen\n\n.. math::\n    c \\le d\n\nEnd."
    assert docstrings.to_markdown(text) == "Mean.\n\n    a × b\n\nThen\n\n\n    c ≤ d\n\nEnd."  # noqa: RUF001


def test_entries_for_several_arguments() -> None:
    text = (
        "Do.\n\nArgs:\n    fx, fy: focal lengths,\n        in px.\n    size: of it.\n"
        "Raises:\n    ValueError: no."
    )
    expected = (
        "Do.\n\nArgs:\n    fx: focal lengths,\n        in px.\n    fy: focal lengths,\n        in px.\n"
        "    size: of it.\nRaises:\n    ValueError: no."
    )
    assert docstrings.to_markdown(text) == expected


def test_doctests_become_code() -> None:
    text = "One.\n\n>>> f(1)  # doctest: +SKIP\n2\n\nMore."
    assert docstrings.to_markdown(text) == "One.\n\n\n```pycon\n>>> f(1)\n2\n```\n\nMore."


def test_sections_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "A.md").write_text(
        "---\nkind: x\n---\n# A\n\nFirst, [there](src/x.md), [web](https://arxiv.org).\n\n"
        "## Two\n\nSecond.\n\n## Three\n\nThird.\n"
    )
    monkeypatch.setattr(sections, "ROOT", tmp_path)
    whole = sections.on_page_markdown("Before\n\n{{ file A.md }}\n\nAfter")
    assert whole.startswith("Before\n\nFirst, there, [web](https://arxiv.org).")
    assert "kind: x" not in whole
    assert sections.on_page_markdown("{{ section A.md: Two }}").strip() == "Second."
    with pytest.raises(ValueError, match=r"'Four' of A\.md, which has none"):
        sections.on_page_markdown("{{ section A.md: Four }}")
    with pytest.raises(ValueError, match=r"takes in B\.md, which is not there"):
        sections.on_page_markdown("{{ file B.md }}")
