"""The report of an evaluation as one HTML file that needs nothing else: pictures are in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from stablemtl.evaluation.figures import figure_facts, with_unit
from stablemtl.evaluation.html_page import jpeg, note, page, picture, table
from stablemtl.evaluation.plots import gains, profile_plots, radar_plot, reference_of
from stablemtl.evaluation.report import COLUMNS, NUMBERS, Report
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.summary import Summary

if TYPE_CHECKING:
    from PIL import Image


def report_html(
    report: Report,
    *,
    summary: Summary | None = None,
    baseline: Report | None = None,
    sheets: Mapping[str, Image.Image] | None = None,
) -> str:
    """The whole page.

    Args:
        report: of an evaluation.
        summary: its row of the paper's table, of :func:`stablemtl.evaluation.summarize`.
        baseline: what the radar is relative to; the best constant prediction if left out.
        sheets: title -> worst or best images.
    """
    title = f"Evaluation of {report.model or 'a model'}" + (
        " (single-stream)" if report.single_stream else ""
    )
    sections: dict[str, Sequence[str]] = {
        "Left out": list(_failures(report)),
        "As a row of the paper's Table 2": [] if summary is None else list(_summary(summary)),
        "All figures": list(_figures(report)),
        "Plots": list(_plots(report, baseline)),
        **_classes(report.scores),
        "Worst and best images": list(_cases(sheets or {})),
        "How it was scored": [_protocols(report.scores)],
        "To get the same figures again": list(_origin(report)),
    }
    return page(title, sections, introduction=[_facts(report)])


def _facts(report: Report) -> str:
    counts = f"{len(report.scores)} benchmarks, {sum(score.n for score in report.scores)} images in all"
    return f"<p>Protocol {escape(report.protocol)}, {escape(report.split)} split: {counts}.</p>"


def _failures(report: Report) -> Iterator[str]:
    lines = [f"{failure.dataset}: {failure.error}" for failure in report.failures]
    for score in report.scores:
        lines += [f"{score.benchmark.name}, sample {one.index}: {one.error}" for one in score.unreadable]
        if score.n == 0:
            lines.append(f"{score.benchmark.name}: no sample could be scored")
    if lines:
        yield f"<ul class=bad>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _summary(summary: Summary) -> Iterator[str]:
    head = ["", *("\n".join(lines) for lines in summary.head), "Delta_m\n%"]
    yield table(head, summary.cells(), kinds=["", *["number"] * (len(head) - 1)], pinned=True)
    yield note(f"Delta_m: against {summary.baseline}.")
    yield from (note(text) for text in summary.notes)


def _figures(report: Report) -> Iterator[str]:
    words = len(COLUMNS) - NUMBERS
    yield table(COLUMNS, list(report.rows()), kinds=[""] * words + ["number"] * NUMBERS, pinned=True)
    yield note(
        "constant: best constant prediction; ceiling: ground truth through the codec; gain: model over "
        "constant; not aligned: model in the task's own unit, without a fit."
    )
    meanings = {
        (with_unit(score.task, name), figure_facts(score.task, name).meaning): None
        for score in report.scores
        for name in (score.headline, *score.benchmark.also)
    }
    known = [cells for cells in meanings if cells[-1]]
    if known:
        yield f"<h3>What they are</h3>{table(('figure', 'what it is'), known, kinds=('', 'text'))}"


def _plots(report: Report, baseline: Report | None) -> Iterator[str]:
    name, reference = reference_of(report.scores, baseline)
    radar = radar_plot(gains(report.scores, reference), name)
    plots = {} if radar is None else {f"How many times better than {name}, by headline figure": radar}
    plots |= {title[0].upper() + title[1:]: plot for title, plot in profile_plots(report.scores).items()}
    if plots:
        pictures = "\n".join(picture(title, plot, "png", look="plot") for title, plot in plots.items())
        yield f"<div class=grid>\n{pictures}\n</div>"


def _classes(scores: Sequence[Score]) -> dict[str, Sequence[str]]:
    """IoU of each class with bars, for each benchmark that has classes."""
    sections: dict[str, Sequence[str]] = {}
    for score in scores:
        iou = {name.partition("/")[2]: v for name, v in score.model.items() if name.startswith("iou/")}
        if iou:
            heading = f"IoU of each class: {score.benchmark.name}"
            sections[heading] = list(_class_table(iou, score.intervals))
    return sections


def _class_table(iou: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    yield "<div class=wide><table><tr><th>class</th><th class=number>IoU %</th><th class=number>95 %</th>"
    yield "<th class=bars></th></tr>"
    for name, value in iou.items():
        low, high = intervals.get(f"iou/{name}", (math.nan, math.nan))
        bounds = "" if math.isnan(low) else f"{100 * low:.1f} .. {100 * high:.1f}"
        known = not math.isnan(value)
        bar = f'<span class=bar style="width:{14 * value:.2f}em"></span>' if known else ""
        cell = f"{100 * value:.2f}" if known else "-"
        yield f"<tr><td>{escape(name)}</td><td class=number>{cell}</td>"
        yield f"<td class=number>{bounds}</td><td class=bars>{bar}</td></tr>"
    yield "</table></div>"


def _cases(sheets: Mapping[str, Image.Image]) -> Iterator[str]:
    if not sheets:
        return
    yield note(
        "Frame, ground truth, prediction as it was compared, and error: black for none, yellow for the "
        "largest of the picture, grey where there is no label."
    )
    pictures = "\n".join(picture(name, jpeg(sheet), "jpeg", look="sheet") for name, sheet in sheets.items())
    yield f"<div class=grid>\n{pictures}\n</div>"


def _protocols(scores: Sequence[Score]) -> str:
    head = ("benchmark", "protocol", "size [px]", "pixels", "fit", "average", "options", "departs from use")
    rows = []
    for b in (score.benchmark for score in scores):
        size = " x ".join(map(str, b.size)) if isinstance(b.size, tuple) else str(b.size)
        options = ", ".join(f"{name} {value}" for name, value in b.metric_options.items())
        rows.append(
            (b.name, b.protocol, size, b.mask, b.alignment, b.aggregation, options, "; ".join(b.quirks))
        )
    kinds = ("", "", "", "text", "", "", "text", "text")
    used = [i for i in range(len(head)) if not rows or any(row[i] for row in rows)]
    chosen = [[cells[i] for i in used] for cells in (head, kinds, *rows)]
    return table(chosen[0], chosen[2:], kinds=chosen[1], pinned=True)


def _origin(report: Report) -> Iterator[str]:
    limit = {None: "the protocol's default", 0: "none"}.get(report.limit, str(report.limit))
    processes = f"{report.processes} process" + ("" if report.processes == 1 else "es")
    seeds = ", ".join(f"{name} {seed}" for name, seed in report.seeds.items())
    rows = [
        ("model", report.model),
        ("samples of a benchmark at most", limit),
        ("computed on", f"{report.device}, {report.dtype}, {processes}"),
        ("time", f"{report.seconds:.1f} s"),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("seeds of rendered data", seeds or "-"),
        ("confidence intervals", ", ".join(f"{name} {value:g}" for name, value in report.bootstrap.items())),
    ]
    yield table(("", ""), rows, kinds=("", "text"))
    yield f"<h3>Frames</h3>{note('SHA-256 of the names of the frames scored, in their order.')}"
    lists = [(s.benchmark.name, str(s.n), str(s.unlabelled), s.checksum) for s in report.scores]
    head = ("benchmark", "scored", "without a valid pixel", "checksum")
    yield table(head, lists, kinds=("", "number", "number", "code"), pinned=True)
