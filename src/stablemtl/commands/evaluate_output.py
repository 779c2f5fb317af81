"""What ``stablemtl evaluate`` writes and prints.

The document of ``--json`` has the fields of ``report.json`` (those of
:class:`stablemtl.evaluation.report.Report`; figures that are not finite are null) and

``summary``
    the paper's Table 2 with our rows: ``baseline``, ``columns`` (``dataset``, ``task``, ``headline``,
    ``title``), ``rows`` (``name``, ``cells`` in the unit of the title, ``delta_m`` in %, how many ``columns``
    it is over), ``notes``; null unless something of the protocol ``paper`` was scored
``out``
    the JSON file that was written

With ``--pictures`` it has ``model``, ``field_of_view_deg``, ``pictures`` (name -> list of ``name``,
``value``, ``reference``, ``unit``, ``pixels``), ``versions`` and ``out``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from stablemtl.commands.evaluate import EvaluateConfig
    from stablemtl.evaluation.pictures import Examined
    from stablemtl.evaluation.report import Report
    from stablemtl.evaluation.summary import Summary
    from stablemtl.pipeline import StableMTLPipeline


def write_report(
    report: Report,
    out: Path,
    *,
    summary: Summary | None,
    baseline: Report | None,
    sheets: Mapping[str, Image.Image],
) -> None:
    """``out`` (JSON), and the tables, the records and the page beside it."""
    from stablemtl.evaluation.html import report_html
    from stablemtl.writers import staged_file

    with staged_file(out.with_suffix(".md")) as beside:
        tables = [report.markdown()] + ([] if summary is None else [summary.markdown()])
        beside.write_text("\n".join(tables), encoding="utf-8")
    report.save_records(out.with_suffix(".parquet"))
    with staged_file(out.with_suffix(".html")) as beside:
        page = report_html(report, summary=summary, baseline=baseline, sheets=sheets)
        beside.write_text(page, encoding="utf-8")
    report.save(out)


def report_document(report: Report, summary: Summary | None, out: Path) -> dict[str, Any]:
    """The document of ``--json``."""
    table = None if summary is None else summary.to_dict()
    return {**report.to_dict(), "summary": table, "out": str(out)}


def checks_document(pictures: Mapping[str, Examined], config: EvaluateConfig) -> dict[str, Any]:
    """The model, and the checks of each picture."""
    from stablemtl.evaluation.report import versions

    return {
        "model": config.model,
        "field_of_view_deg": config.field_of_view,
        "pictures": {name: [one.to_dict() for one in found.checks] for name, found in pictures.items()},
        "versions": versions(),
    }


def write_checks(pictures: Mapping[str, Examined], config: EvaluateConfig, out: Path) -> None:
    """``out`` (JSON), and the page with the maps beside it."""
    from stablemtl.evaluation.html_checks import checks_html
    from stablemtl.writers import staged_file

    content = checks_document(pictures, config)
    with staged_file(out.with_suffix(".html")) as beside:
        page = checks_html(
            pictures,
            model=config.model,
            field_of_view_deg=config.field_of_view,
            versions=content["versions"],
        )
        beside.write_text(page, encoding="utf-8")
    with staged_file(out) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def print_checks(pictures: Mapping[str, Examined], out: Path) -> None:
    """A line for each check of each picture."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("picture", "check", "unit")
    for column in ("model", "reference", "pixels"):
        table.add_column(column, justify="right")
    for name, found in pictures.items():
        for check in found.checks:
            figures = ("-" if math.isnan(v) else f"{v:.4g}" for v in (check.value, check.reference))
            table.add_row(*map(Text, (name, check.name, check.unit, *figures, str(check.pixels))))
    console.print(table)
    console.print(Text("reference: no motion; the best single grey; a wall that faces the camera"))
    console.print(Text(f"all figures in {out}"))


def draw_cases(
    report: Report, config: EvaluateConfig, pipe: StableMTLPipeline | None, folder: Path
) -> dict[str, Image.Image]:
    """Writes sheets of the worst and the best images of each benchmark; title -> sheet."""
    from stablemtl.evaluation.cases import case_sheet
    from stablemtl.evaluation.prediction_files import FilePredictor
    from stablemtl.evaluation.predictor import PipelinePredictor, Predictor
    from stablemtl.evaluation.runner import open_benchmarks
    from stablemtl.writers import write_picture

    sheets: dict[str, Image.Image] = {}
    if config.data is None:
        return sheets
    jobs, _ = open_benchmarks(config.data, protocol=config.protocol, split=config.split)
    datasets = {job.benchmark.name: job.dataset for job in jobs}
    for score in report.scores:
        b = score.benchmark
        if b.name not in datasets or score.n < 2:
            continue
        predictor: Predictor
        if pipe is not None:
            predictor = PipelinePredictor(pipe, single_stream=config.single_stream)
        else:
            assert config.predictions is not None
            predictor = FilePredictor(config.predictions, variant=b.variant)
        for kind, cases in (("worst", score.worst), ("best", score.best)):
            sheet = case_sheet(datasets[b.name], b, predictor, cases[: config.cases])
            write_picture(folder / f"{b.name.replace(' ', '-')}-{kind}.png", sheet)
            sheets[f"{b.name}, {kind}"] = sheet
    return sheets


def print_report(report: Report, summary: Summary | None, out: Path) -> None:
    """The tables on stdout."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(report.table())
    console.print(Text("constant: best constant prediction; ceiling: ground truth through the codec;"))
    console.print(Text("gain: model over constant; not aligned: model in the task's own unit, without a fit"))
    if summary is not None:
        console.print(summary.table())
        console.print(Text(f"Delta_m: against {summary.baseline}"))
        for note in summary.notes:
            console.print(Text(note))
    console.print(Text(f"all figures in {out}; {report.seconds:.1f} s ({report.device}, {report.dtype})"))


def print_failures(report: Report) -> None:
    """What was left out, on stderr."""
    from rich.console import Console
    from rich.text import Text

    errors = Console(stderr=True, highlight=False)
    for failure in report.failures:
        errors.print(Text(f"left out: {failure.dataset}: {failure.error}"))
    for score in report.scores:
        for sample in score.unreadable:
            errors.print(Text(f"left out: {score.benchmark.name}, sample {sample.index}: {sample.error}"))
        if score.n == 0:
            errors.print(Text(f"{score.benchmark.name}: no sample could be scored"))
    count = sum(len(score.unreadable) for score in report.scores)
    if count:
        errors.print(Text(f"{count} sample{'' if count == 1 else 's'} could not be read"))
