"""The report of an evaluation as one HTML file that needs nothing else: pictures are in it."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from stablemtl.evaluation.plots import gains, profile_plots, radar_plot, reference_of
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.summary import Summary

if TYPE_CHECKING:
    from PIL import Image

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b }
body { max-width: 1280px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.25em; margin-top: 2em } h3 { font-size: 1.05em }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.92em; font-variant-numeric: tabular-nums }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #888 } .number { text-align: right; white-space: nowrap }
.bar { display: inline-block; height: 0.7em; background: #1f6fb4; margin-right: 0.5em }
.bad { color: #a00000 } .note, .small { color: #555 } code { font-size: 0.9em; overflow-wrap: anywhere }
img { max-width: 100%; height: auto } figure { margin: 1em 0 } figcaption { color: #555 }
"""
_JPEG_QUALITY = 88

Rows = Sequence[Sequence[str]]


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
    parts = [f"<h1>{escape(title)}</h1>", _facts(report), *_failures(report)]
    if summary is not None:
        parts += ["<h2>As a row of the paper's Table 2</h2>", _markdown(summary.markdown())]
        parts += [f"<p class=note>Delta_m: against {escape(summary.baseline)}.</p>"]
        parts += [f"<p class=note>{escape(note)}</p>" for note in summary.notes]
    parts += ["<h2>All figures</h2>", _markdown(report.markdown()), _LEGEND]
    parts += _plots(report, baseline)
    parts += _classes(report.scores)
    if sheets:
        parts.append("<h2>Worst and best images</h2><p class=note>Frame, ground truth, prediction as it was")
        parts.append("compared, error (black: none; yellow: the largest of the picture).</p>")
        parts += [_picture(name, _jpeg(sheet), "jpeg") for name, sheet in sheets.items()]
    parts += ["<h2>How it was scored</h2>", *_protocols(report.scores)]
    parts += ["<h2>To get the same figures again</h2>", *_origin(report)]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


_LEGEND = (
    "<p class=note>constant: best constant prediction; ceiling: ground truth through the codec; gain: model "
    "over constant; not aligned: model in the task's own unit, without a fit.</p>"
)


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
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        yield f"<h2 class=bad>Left out</h2><ul class=bad>{items}</ul>"


def _plots(report: Report, baseline: Report | None) -> Iterator[str]:
    name, reference = reference_of(report.scores, baseline)
    radar = radar_plot(gains(report.scores, reference), name)
    profiles = profile_plots(report.scores)
    if radar is None and not profiles:
        return
    yield "<h2>Plots</h2>"
    if radar is not None:
        yield _picture(f"How many times better than {name}, by headline figure", radar, "png")
    for title, plot in profiles.items():
        yield _picture(title[0].upper() + title[1:], plot, "png")


def _classes(scores: Sequence[Score]) -> Iterator[str]:
    """IoU of each class, with bars."""
    for score in scores:
        iou = {name.partition("/")[2]: v for name, v in score.model.items() if name.startswith("iou/")}
        if not iou:
            continue
        yield f"<h2>IoU of each class: {escape(score.benchmark.name)}</h2>"
        yield "<table><tr><th>class</th><th class=number>IoU %</th><th></th><th class=number>95 %</th></tr>"
        for name, value in iou.items():
            low, high = score.intervals.get(f"iou/{name}", (math.nan, math.nan))
            bounds = "" if math.isnan(low) else f"{100 * low:.1f} .. {100 * high:.1f}"
            known = not math.isnan(value)
            bar = f'<span class=bar style="width:{200 * value:.0f}px"></span>' if known else ""
            cell = f"{100 * value:.2f}" if known else "-"
            yield f"<tr><td>{escape(name)}</td><td class=number>{cell}</td><td>{bar}</td>"
            yield f"<td class=number>{bounds}</td></tr>"
        yield "</table>"


def _protocols(scores: Sequence[Score]) -> Iterator[str]:
    head = (
        "benchmark",
        "protocol",
        "size",
        "pixels",
        "fit",
        "average",
        "clip and the like",
        "departs from use",
    )
    rows = []
    for b in (score.benchmark for score in scores):
        size = " x ".join(map(str, b.size)) if isinstance(b.size, tuple) else str(b.size)
        options = ", ".join(f"{name} {value}" for name, value in b.metric_options.items())
        rows.append(
            (b.name, b.protocol, size, b.mask, b.alignment, b.aggregation, options, "; ".join(b.quirks))
        )
    yield _table(head, rows, numbers=0)


def _origin(report: Report) -> Iterator[str]:
    limit = {None: "the protocol's default", 0: "none"}.get(report.limit, str(report.limit))
    rows = [
        ("model", report.model),
        ("samples of a benchmark at most", limit),
        ("computed on", f"{report.device}, {report.dtype}, {report.processes} process(es)"),
        ("time", f"{report.seconds:.1f} s"),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("seeds of rendered data", json.dumps(dict(report.seeds)) if report.seeds else "-"),
        ("confidence intervals", ", ".join(f"{name} {value:g}" for name, value in report.bootstrap.items())),
    ]
    yield _table(("", ""), rows, numbers=0)
    yield "<h3>Frames</h3><p class=note>SHA-256 of the names of the frames scored, in their order.</p>"
    lists = [(s.benchmark.name, str(s.n), str(s.unlabelled), s.checksum) for s in report.scores]
    yield _table(("benchmark", "scored", "without a valid pixel", "checksum"), lists, numbers=0)


def _markdown(text: str) -> str:
    """The table in a Markdown text; the first columns of words to the left, as it says itself."""
    lines = [
        [cell.strip() for cell in line[1:-1].split(" | ")] for line in text.splitlines() if line[:1] == "|"
    ]
    head, marks, *rows = lines
    words = sum(not mark.endswith(":") for mark in marks)
    return _table(head, rows, numbers=len(head) - words)


def _table(head: Sequence[str], rows: Rows, *, numbers: int) -> str:
    """``numbers``: how many of the last columns are aligned to the right."""
    first = len(head) - numbers

    def row(cells: Sequence[str], kind: str) -> str:
        tagged = (
            f"<{kind}{' class=number' if i >= first else ''}>{escape(cell)}</{kind}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(tagged)}</tr>"

    lines = [row(head, "th")] if any(head) else []
    lines += [row(cells, "td") for cells in rows]
    return "<div class=wide><table>\n" + "\n".join(lines) + "\n</table></div>"


def _picture(title: str, data: bytes, kind: str) -> str:
    code = base64.b64encode(data).decode("ascii")
    alt = escape(title, quote=True)
    return (
        f'<figure><img alt="{alt}" src="data:image/{kind};base64,{code}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _jpeg(picture: Image.Image) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, format="JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()
