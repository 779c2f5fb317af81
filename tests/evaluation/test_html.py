"""The page: one file, all figures, nothing fetched, nothing broken."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from stablemtl.evaluation.html import report_html
from stablemtl.evaluation.protocols import PAPER, native_benchmark
from stablemtl.evaluation.report import Failure, Report
from stablemtl.evaluation.samples import Unreadable
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.scoring import score
from stablemtl.evaluation.summary import summarize

_EMPTY = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags close, and keeps text, rows and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.rows: list[int] = []
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []
        assert self.anchors == [f"#{name}" for name in self.ids]  # what the page leads to is in it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name == "src"]
        self.anchors += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "p" or self.open[-1] == "p":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(*scores: Score, **entries: Any) -> Report:
    known = {"model": "a <b> & c", "single_stream": False, "split": "test", "limit": None, "device": "cpu"}
    return Report(**{**known, "dtype": "float32", **entries}, scores=scores)


@pytest.fixture
def scores(toys: Any, oracle: Any) -> list[Score]:
    benchmarks = [replace(PAPER[i], dataset="toys") for i in (0, 2, 4)]
    benchmarks.append(native_benchmark("toys", "normal"))
    return [score(toys(3), benchmark, oracle(), resamples=5) for benchmark in benchmarks]


def test_everything_is_in_one_file(scores: list[Score]) -> None:
    sheet = Image.new("RGB", (40, 30), (200, 10, 10))
    bad = replace(scores[1], unreadable=(Unreadable(index=7, error="no <file>"),))
    one = report(
        scores[0], bad, *scores[2:], failures=(Failure(dataset="diode", error="gone"),), seeds={"r": 3}
    )
    page = Page(report_html(one, sheets={"toys depth, worst": sheet}))
    kinds = [re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", link) for link in page.links]
    assert all(kinds), "the page must not fetch anything"
    pictures = [Image.open(io.BytesIO(base64.b64decode(kind[2]))) for kind in kinds if kind]
    assert [picture.format for picture in pictures] == [
        "PNG",
        "PNG",
        "PNG",
        "JPEG",
    ]  # radar, 2 profiles, sheet
    assert pictures[-1].size == (40, 30)
    for word in (
        "Evaluation of a <b> & c", "toys depth, sample 7: no <file>", "diode: gone", "abs_rel", "miou",
        "IoU of each class: toys semantic", "traffic light", "scale and shift", "images in all",
        "every second row and column of the laser points is left", "resamples 1000, seed 0", "data r 3",
        "toys semantic miou higher 3", "toys optical_flow epe [px] lower 3", "1 process ",
        "epe [px] mean distance between the ends of predicted and true motion", "toys depth, worst",
        "torch 2", "the protocol's default", "error / true depth",
    ):  # fmt: skip
        assert word.lower() in page.text.lower(), word
    for one_score in one.scores:
        assert one_score.checksum in page.text


def test_figures_are_those_of_the_tables(scores: list[Score]) -> None:
    one = report(*scores)
    text = Page(report_html(one)).text
    for line in one.markdown().splitlines()[2:]:
        for cell in line.strip("| ").split(" | "):
            assert cell.strip() in text
    classes = scores[0].model
    known = [name for name in classes if name.startswith("iou/") and classes[name] == classes[name]]
    assert known
    assert all(f"{100 * classes[name]:.2f}" in text for name in known)


def test_table_2_stands_there_if_it_can(toys: Any, oracle: Any) -> None:
    found = score(toys(2), replace(PAPER[4]), oracle(), resamples=2)
    one = report(found)
    assert "Table 2" not in Page(report_html(one)).text
    summary = summarize(one)
    assert summary is not None
    page = Page(report_html(one, summary=summary))
    assert "StableMTL (paper)" in page.text
    assert "Not the paper's test sets" in page.text
    assert page.rows.count(len(summary.rows[0].cells) + 2) >= len(summary.rows) + 1  # every row is complete
    assert "albedo RMSE midintrinsics Delta_m %" in page.text


def test_nothing_scored() -> None:
    empty = Score(
        benchmark=native_benchmark("toys", "depth"), n=0, model={}, constant={}, constant_value=[], ceiling={}
    )
    page = Page(report_html(report(empty)))
    assert "toys depth: no sample could be scored" in page.text
    assert page.links == []
