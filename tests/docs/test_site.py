"""The documentation site builds without a warning, asks nothing of other machines, and leaves nothing out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from pages import ROOT

import stablemtl
from stablemtl.tasks import TASKS, build_task

pytest.importorskip("material", reason="needs mkdocs-material (the extra [docs])")
pytest.importorskip("mkdocstrings", reason="needs mkdocstrings (the extra [docs])")

LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}
"""Tags whose address a browser fetches by itself -> where it stands."""

METRIC = {
    "depth": {"encoding": "log"},
    "optical_flow": {"encoding": "calibrated"},
    "scene_flow": {"encoding": "calibrated"},
}


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.places |= {values["id"]} if "id" in values else set()
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in LOADED and values.get(LOADED[tag]):
            self.loaded.append(values[LOADED[tag]])
        self.loaded += re.findall(r"url\(([^)]+)\)", values.get("style", ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI does."""
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Path below the site -> page. The page for what is not found has addresses of a server's root."""
    found = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    del found["404.html"]
    return found


def inside(page: str, pages: dict[str, Page], site: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link of the page that stays in the site: as written, its file, its fragment."""
    for link in pages[page].links:
        parts = urlsplit(link)
        if not parts.scheme and not parts.netloc:
            path = (site / page).parent / unquote(parts.path) if parts.path else site / page
            yield link, path.resolve(), unquote(parts.fragment)


def test_no_link_is_broken(pages: dict[str, Page], site: Path) -> None:
    assert len(pages) > 25
    broken = []
    for page in pages:
        for link, path, fragment in inside(page, pages, site):
            if not path.is_file():
                broken.append(f"{page}: {link}")
            elif fragment and path.suffix == ".html":
                places = pages[path.relative_to(site).as_posix()].places
                if fragment not in places:
                    broken.append(f"{page}: {link} has no such place")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_elsewhere(pages: dict[str, Page], site: Path) -> None:
    for name, page in pages.items():
        assert page.loaded
        for address in page.loaded:
            address = address.strip("'\"")
            assert not urlsplit(address).netloc, f"{name} loads {address}"
            if not address.startswith("data:"):
                assert ((site / name).parent / unquote(urlsplit(address).path)).exists(), f"{name}: {address}"
    for path in site.rglob("*.css"):
        style = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style), (
            f"{path.name} loads from elsewhere"
        )
    for path in site.rglob("*.svg"):
        assert not re.search(r"(?:xlink:href|href|src)=\"(?:https?:)?//", path.read_text(encoding="utf-8")), (
            path.name
        )


def test_nothing_that_is_no_page_is_published(site: Path) -> None:
    assert not [path for path in site.rglob("*") if path.suffix in (".py", ".pyc", ".ipynb")]


def test_every_public_name_is_on_the_api_pages(pages: dict[str, Page]) -> None:
    places = {place for name, page in pages.items() if name.startswith("api/") for place in page.places}
    missing = [name for name in stablemtl.__all__ if f"stablemtl.{name}" not in places]
    assert not missing, f"no page of the API describes {', '.join(missing)}"


def test_every_convention_is_told(pages: dict[str, Page]) -> None:
    told = pages["tasks.html"].text
    for name, task in TASKS.items():
        assert task.spec.convention in told, name
        assert f"`{task.spec.headline}`" in (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    for name, options in METRIC.items():
        spec = build_task(name, **options).spec
        assert spec.convention.removesuffix(" Targets are in metres.") in told, f"{name} with {options}"


def test_docstrings_have_no_markup_of_another_kind(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        if name.startswith("api/"):
            assert not re.search(r":(?:class|func|meth|mod|math|attr):", page.text), name
            assert ".. math::" not in page.text, name
            assert "doctest: +" not in page.text, name


def test_no_placeholder_is_left(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert not re.search(r"\{\{ (?:file|section) |\bTODO\b|\bTBD\b", page.text), name


def test_pages_are_in_the_navigation_once() -> None:
    entries = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert len(entries) == len(set(entries))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(entries) == there


def test_the_theme_asks_for_no_fonts() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert config["strict"] is True
