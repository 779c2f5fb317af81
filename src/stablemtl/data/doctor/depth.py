"""Depth: its unit, its sign, and 16 bits that were too few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Finding, Measurement, Problem, examples
from stablemtl.data.sample import Sample

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

UNIT_CHECK = "depth-unit"
MEDIAN_M = (0.05, 150.0)
"""Medians of real scenes lie far inside; millimetres and centimetres of rooms and streets above, mostly."""

CAMERA_HEIGHT_M = (0.6, 4.0)
"""Height of a car's camera above the road: 1.65 m in KITTI, 1.58 m in Virtual KITTI 2. Twice off is seen."""

STEPS = 65536
"""Values of 16 bits."""

OVERFLOW_UNITS_M = {"millimetres": 1e-3, "centimetres": 1e-2, "1/256 m": 1 / 256}
"""Steps in which 16-bit depth is stored."""

WRAP_BEND, WRAP_FLAT = 0.25, 0.005
"""How far inverse depth may be from a line: share of its step, and of the inverse of the largest depth."""

WRAP_SHARE, WRAP_LEAST = 3e-4, 8
"""Pixels of a frame at which a surface starts again at 0, as a share and a number beyond chance."""


def look_at_depth(sample: Sample) -> list[Problem | Measurement]:
    """Sign and wrap of a depth label; its median for the judgement of the unit."""
    valid = sample.valid[0].numpy()
    depth = sample.target[0].numpy()
    values = depth[valid]
    values = values[np.isfinite(values)]
    if not len(values):
        return []
    found: list[Problem | Measurement] = []
    if (values <= 0).any():
        message = "depth must be positive where it is valid"
        found.append(_problem("depth-range", message, f"{sample.key} (least {values.min():.3g})"))
    for name, unit in OVERFLOW_UNITS_M.items():
        if wrapped(depth, valid, STEPS * unit):
            jump = f"depth jumps from {STEPS * unit:.4g} m to 0 along surfaces"
            message = f"{jump}: 16 bits of {name} overflowed"
            found.append(_problem("depth-overflow", message, sample.key))
    values_of = {"median": float(np.median(values))}
    found.append(Measurement(check=UNIT_CHECK, key=sample.key, values=values_of, about="depth"))
    return found


def wrapped(depth: Floats, known: Mask, period: float) -> bool:
    """Whether surfaces of a map (H, W) go on at 0 when they reach ``period``.

    The inverse depth of a plane is linear in the pixel. Five pixels in a row, the last two of them a period
    too small, must be on one line: at an object's border they are not.
    """
    if not known.any() or depth[known].max() >= period:
        return False
    wide = np.where(known, depth, np.nan).astype(np.float64)
    count = 0
    for image in (wide, wide[:, ::-1], wide.T, wide.T[:, ::-1]):
        with np.errstate(all="ignore"):  # what is not known is NaN, and compares as False
            before, after = 1 / image, 1 / (image + period)
            row = [before[:, :-4], before[:, 1:-3], before[:, 2:-2], after[:, 3:-1], after[:, 4:]]
            slack = WRAP_BEND * np.abs(row[2] - row[1]) + WRAP_FLAT / period
            straight = np.all(
                [np.abs(row[i] - 2 * row[i + 1] + row[i + 2]) < slack for i in range(3)], axis=0
            )
            count += int((straight & (image[:, 2:-2] > period / 2) & (image[:, 3:-1] < period / 2)).sum())
    return count > max(WRAP_LEAST, WRAP_SHARE * depth.size)


def road_height(depth: Floats, road: Mask, row_of_horizon: float, focal_y: float) -> float | None:
    """Height of the camera above the road's pixels [m, if depth is], their median; None without road."""
    rows = np.nonzero(road)[0]
    if len(rows) < ROAD_PIXELS:
        return None
    return float(np.median((rows - row_of_horizon) / focal_y * depth[road]))


ROAD_PIXELS = 20
"""Fewer pixels of road say nothing about a frame."""


def judge_unit(measurements: Sequence[Measurement], dataset: str, split: str) -> list[Finding]:
    """Whether depths, heights of cameras over the road, or scales against other files can be in metres."""
    found = []
    for name, (least, most), meaning in (
        ("median", MEDIAN_M, "the median depth of a typical frame"),
        ("height", CAMERA_HEIGHT_M, "the camera's height above the road, computed from depth,"),
    ):
        values = {m.key: m.values[name] for m in measurements if name in m.values}
        if not values:
            continue
        typical = float(np.median(list(values.values())))
        if least <= typical <= most:
            continue
        found.append(
            Finding(
                severity="error",
                check=UNIT_CHECK,
                dataset=dataset,
                split=split,
                message=f"depth is not in metres: {meaning} is {typical:.3g}, not {least:g} to {most:g}",
                about="depth",
                examples=examples(values),
                count=len(values),
            )
        )
    return found[:1] if len(found) > 1 else found


def _problem(check: str, message: str, where: str) -> Problem:
    return Problem(severity="error", check=check, message=message, where=where, about="depth")
