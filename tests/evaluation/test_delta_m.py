"""Delta_m against the paper's tables (arXiv 2506.08013, Tables 2 to 5 and Figure 5)."""

from __future__ import annotations

import math

import pytest

from stablemtl.evaluation import delta_m
from stablemtl.tasks import TASKS

Row = tuple[float, float, float, float, float, float, float, float]
# mIoU, mAE, AbsRel KITTI and DIODE, EPE-2D, EPE-3D, shading RMSE, albedo RMSE.
# Table 2 swaps the last two of the baseline; Table 8 has them right, and only so do the other rows follow.
BASELINE: Row = (48.17, 22.27, 14.21, 32.56, 10.36, 0.2735, 0.2551, 0.2145)
ROWS: dict[str, tuple[float, Row]] = {
    "T2 single-task": (0.00, BASELINE),
    "T2 JTR*": (-106.87, (20.46, 50.91, 39.27, 73.14, 34.92, 0.5176, 0.3030, 0.3565)),
    "T2 DiffusionMTL*": (-78.76, (45.92, 44.56, 24.83, 58.17, 36.60, 0.3502, 0.3004, 0.3660)),
    "T2 StableMTL-S": (-1.57, (52.57, 23.94, 15.64, 33.36, 12.76, 0.2618, 0.2310, 0.2077)),
    "T2 StableMTL": (4.78, (55.79, 23.27, 14.98, 33.03, 10.76, 0.2313, 0.2346, 0.2016)),
    "T3 #1": (4.14, (55.08, 23.36, 14.03, 32.97, 11.22, 0.2297, 0.2350, 0.2061)),
    "T3 #2": (-24.30, (53.47, 23.69, 13.74, 33.54, 24.15, 0.4126, 0.2367, 0.2103)),
    "T3 #3": (0.01, (55.28, 22.29, 14.82, 33.21, 13.60, 0.2541, 0.2383, 0.2012)),
    "T3 #4": (-3.10, (44.55, 23.79, 17.98, 34.13, 11.99, 0.2456, 0.2236, 0.2110)),
    "T3 #5": (-23.46, (50.12, 52.65, 18.26, 45.27, 12.40, 0.2484, 0.2279, 0.2107)),
    "T4 rho 0": (3.41, (54.90, 22.88, 14.90, 32.57, 11.45, 0.2400, 0.2351, 0.2023)),
    "T4 shared qkv": (0.85, (48.38, 24.15, 16.17, 33.24, 11.06, 0.2327, 0.2295, 0.2066)),
    "T4 no init": (-3.11, (44.69, 23.35, 15.60, 33.21, 12.17, 0.2647, 0.2325, 0.2110)),
    "F5 no isolation": (-4.11, (48.68, 23.93, 15.52, 34.82, 12.96, 0.2583, 0.2379, 0.2178)),
    "T5 rho 0.2": (3.70, (54.86, 23.49, 14.71, 32.61, 11.00, 0.2378, 0.2349, 0.2047)),
    "T5 rho 0.6": (4.00, (53.97, 23.26, 15.22, 32.94, 10.90, 0.2284, 0.2348, 0.2029)),
    "T5 rho 0.8": (2.72, (52.95, 23.02, 14.73, 32.89, 11.21, 0.2386, 0.2349, 0.2093)),
    "T5 top k": (3.50, (54.65, 23.82, 15.02, 33.15, 10.96, 0.2311, 0.2338, 0.2064)),
    "T5 argmax": (3.65, (54.45, 23.09, 14.98, 32.87, 11.22, 0.2299, 0.2339, 0.2071)),
    "T5 uniform": (3.60, (54.77, 22.69, 15.02, 32.70, 11.32, 0.2398, 0.2313, 0.2057)),
}


def by_task(row: Row) -> dict[str, float | list[float]]:
    semantic, normal, kitti, diode, optical_flow, scene_flow, shading, albedo = row
    values: list[float | list[float]] = [
        semantic,
        normal,
        [kitti, diode],
        optical_flow,
        scene_flow,
        shading,
        albedo,
    ]
    return dict(zip(TASKS, values, strict=True))


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_the_paper(name: str) -> None:
    printed, row = ROWS[name]
    assert delta_m(by_task(row), by_task(BASELINE)) == pytest.approx(printed, abs=0.03)


def test_by_hand() -> None:
    # semantic +10 %; depth: +20 % and -10 %, hence +5 % as one task
    result = delta_m({"semantic": 0.55, "depth": (8, 22)}, {"semantic": 0.5, "depth": (10, 20)})
    assert result == pytest.approx((10 + 5) / 2)


def test_order_of_tasks_does_not_matter() -> None:
    metrics = by_task(ROWS["T2 StableMTL"][1])
    backwards = dict(reversed(metrics.items()))
    assert delta_m(backwards, by_task(BASELINE)) == pytest.approx(delta_m(metrics, by_task(BASELINE)))


def test_missing_tasks_are_named() -> None:
    full = {"semantic": 1.0, "normal": 2.0, "albedo": 3.0}
    with pytest.raises(ValueError, match="metrics lacks normal, albedo: Delta_m compares the same tasks"):
        delta_m({"semantic": 1.0}, full)
    with pytest.raises(ValueError, match="baseline lacks normal, albedo"):
        delta_m(full, {"semantic": 1.0})
    with pytest.raises(ValueError, match="baseline must hold at least one task, got none"):
        delta_m({}, {})


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(ValueError, match="unknown task 'normals'; choose from albedo, depth, normal"):
        delta_m({"normals": 1.0}, {"normals": 1.0})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_baseline_must_be_above_zero(value: float) -> None:
    with pytest.raises(ValueError, match=rf"baseline\['depth'\] must be finite and above 0, got {value}"):
        delta_m({"depth": [1.0, 1.0]}, {"depth": [1.0, value]})


def test_figures_must_be_finite() -> None:
    with pytest.raises(ValueError, match=r"metrics\['shading'\] must be finite, got nan"):
        delta_m({"shading": math.nan}, {"shading": 1.0})


def test_test_sets_must_match() -> None:
    with pytest.raises(
        ValueError, match=r"metrics\['depth'\] and baseline\['depth'\] must list the same test sets"
    ):
        delta_m({"depth": 1.0}, {"depth": [1.0, 2.0]})
    with pytest.raises(ValueError, match="a task must have at least one figure, got an empty list"):
        delta_m({"depth": []}, {"depth": []})
