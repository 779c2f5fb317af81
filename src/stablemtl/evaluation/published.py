"""The paper's tables of results, as data: StableMTL, arXiv 2506.08013, Tables 2 to 5 and Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stablemtl.evaluation.delta_m import Score, delta_m

Cells = tuple[float | None, ...]
"""One figure for each of ``COLUMNS``; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One of the eight columns of Table 2."""

    task: str
    dataset: str
    headline: str
    """Name of the figure, as metrics give it."""
    title: str
    """Figure and unit, as printed."""
    factor: float = 1.0
    """From the metric's figure to the printed one: 100 for per cents."""
    digits: int = 2
    """Decimals, as printed."""


COLUMNS: tuple[Column, ...] = (
    Column(task="semantic", dataset="cityscapes", headline="miou", title="mIoU %", factor=100),
    Column(task="normal", dataset="diode", headline="mean_angular_error", title="mAE deg"),
    Column(task="depth", dataset="kitti_depth", headline="abs_rel", title="AbsRel %", factor=100),
    Column(task="depth", dataset="diode", headline="abs_rel", title="AbsRel %", factor=100),
    Column(task="optical_flow", dataset="kitti_flow", headline="epe", title="EPE-2D px"),
    Column(task="scene_flow", dataset="kitti_flow", headline="epe3d", title="EPE-3D m", digits=4),
    Column(task="shading", dataset="midintrinsics", headline="rmse", title="RMSE", digits=4),
    Column(task="albedo", dataset="midintrinsics", headline="rmse", title="RMSE", digits=4),
)
"""The columns of Tables 2 to 5, in their order."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed row."""

    table: str
    """``T2`` to ``T5`` for the tables, ``F5`` for Figure 5."""
    name: str
    cells: Cells
    delta_m: float | None
    """As printed [%]; None where a cell is missing."""


def _row(table: str, name: str, delta: float | None, *cells: float | None) -> Row:
    return Row(table=table, name=name, cells=cells, delta_m=delta)


BASELINE = _row("T2", "single-task baseline", 0.0, 48.17, 22.27, 14.21, 32.56, 10.36, 0.2735, 0.2551, 0.2145)
"""One model for each task. Table 2 prints the last two cells the other way round; Table 8 has them right, and
only with those do the other rows' Delta_m follow from their cells."""

ROWS: tuple[Row, ...] = (
    BASELINE,
    _row("T2", "JTR", None, 45.75, 40.23, 26.39, 66.39, None, None, None, None),
    _row("T2", "JTR*", -106.87, 20.46, 50.91, 39.27, 73.14, 34.92, 0.5176, 0.3030, 0.3565),
    _row("T2", "DiffusionMTL", None, 30.09, 35.64, 21.10, 45.19, None, None, None, None),
    _row("T2", "DiffusionMTL*", -78.76, 45.92, 44.56, 24.83, 58.17, 36.60, 0.3502, 0.3004, 0.3660),
    _row("T2", "StableMTL-S", -1.57, 52.57, 23.94, 15.64, 33.36, 12.76, 0.2618, 0.2310, 0.2077),
    _row("T2", "StableMTL", 4.78, 55.79, 23.27, 14.98, 33.03, 10.76, 0.2313, 0.2346, 0.2016),
    _row("T3", "all datasets", 4.14, 55.08, 23.36, 14.03, 32.97, 11.22, 0.2297, 0.2350, 0.2061),
    _row("T3", "no VKITTI 2 in flows", -24.30, 53.47, 23.69, 13.74, 33.54, 24.15, 0.4126, 0.2367, 0.2103),
    _row("T3", "no FT3D in flows", 0.01, 55.28, 22.29, 14.82, 33.21, 13.60, 0.2541, 0.2383, 0.2012),
    _row("T3", "no VKITTI 2 in geometry", -3.10, 44.55, 23.79, 17.98, 34.13, 11.99, 0.2456, 0.2236, 0.2110),
    _row("T3", "no Hypersim in geometry", -23.46, 50.12, 52.65, 18.26, 45.27, 12.40, 0.2484, 0.2279, 0.2107),
    _row("T4", "rho = 0", 3.41, 54.90, 22.88, 14.90, 32.57, 11.45, 0.2400, 0.2351, 0.2023),
    _row("T4", "shared q, k, v", 0.85, 48.38, 24.15, 16.17, 33.24, 11.06, 0.2327, 0.2295, 0.2066),
    _row("T4", "no single-stream start", -3.11, 44.69, 23.35, 15.60, 33.21, 12.17, 0.2647, 0.2325, 0.2110),
    _row("T4", "no multi-stream", -1.57, 52.57, 23.94, 15.64, 33.36, 12.76, 0.2618, 0.2310, 0.2077),
    _row("F5", "no isolation", -4.11, 48.68, 23.93, 15.52, 34.82, 12.96, 0.2583, 0.2379, 0.2178),
    _row("T5", "sampled, rho = 0.0", 3.41, 54.90, 22.88, 14.90, 32.57, 11.45, 0.2400, 0.2351, 0.2023),
    _row("T5", "sampled, rho = 0.2", 3.70, 54.86, 23.49, 14.71, 32.61, 11.00, 0.2378, 0.2349, 0.2047),
    _row("T5", "sampled, rho = 0.4", 4.14, 55.08, 23.36, 14.03, 32.97, 11.22, 0.2297, 0.2350, 0.2061),
    _row("T5", "sampled, rho = 0.6", 4.00, 53.97, 23.26, 15.22, 32.94, 10.90, 0.2284, 0.2348, 0.2029),
    _row("T5", "sampled, rho = 0.8", 2.72, 52.95, 23.02, 14.73, 32.89, 11.21, 0.2386, 0.2349, 0.2093),
    _row("T5", "several at once", 3.50, 54.65, 23.82, 15.02, 33.15, 10.96, 0.2311, 0.2338, 0.2064),
    _row("T5", "argmax", 3.65, 54.45, 23.09, 14.98, 32.87, 11.22, 0.2299, 0.2339, 0.2071),
    _row("T5", "uniform", 3.60, 54.77, 22.69, 15.02, 32.70, 11.32, 0.2398, 0.2313, 0.2057),
)
"""The rows of Tables 2 to 5 and of Figure 5a. A star marks methods that the authors extended to seven tasks.
Tables 3 to 5 were made with two heads of task attention, Table 2's StableMTL with four."""


def delta_of(cells: Sequence[float | None], baseline: Sequence[float | None]) -> tuple[float | None, int]:
    """Delta_m over the columns that both have [%], and how many those are; None for none.

    Args:
        cells, baseline: one figure for each of ``COLUMNS``, as printed.
    Raises:
        ValueError: as :func:`stablemtl.evaluation.delta_m`.
    """
    metrics: dict[str, list[float]] = {}
    references: dict[str, list[float]] = {}
    for column, cell, reference in zip(COLUMNS, cells, baseline, strict=True):
        if cell is not None and reference is not None:
            metrics.setdefault(column.task, []).append(cell)
            references.setdefault(column.task, []).append(reference)
    if not metrics:
        return None, 0
    scores: tuple[dict[str, Score], dict[str, Score]] = ({**metrics}, {**references})
    return delta_m(*scores), sum(map(len, metrics.values()))
