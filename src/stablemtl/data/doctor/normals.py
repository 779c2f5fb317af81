"""Surface normals: their axes, their sign, and their length.

What is seen faces the camera, so a normal away from it makes an acute angle with the ray of its pixel. That
holds for every pixel and tells most confusions of axes; where the dataset has depth, the normals of the depth
map tell the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Measurement, Problem
from stablemtl.data.doctor.geometry import axis_readings, facets, focal_px, rays
from stablemtl.data.doctor.trials import AS_IS, Rule
from stablemtl.data.sample import Sample

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

RULE = Rule(
    check="normal-convention",
    subject="the normal map",
    measure="share of pixels where it points away from the camera, and agrees with depth if there is depth,",
    margin=0.1,  # a confused axis costs some tenths in rooms and streets
    frame_margin=0.3,  # a single frame may show one wall only
    floor=0.6,
    frame_floor=0.3,
)

MAX_PIXELS = 10_000
"""Valid pixels looked at per frame, evenly spread."""

MIN_PIXELS = 50
"""Fewer valid pixels say nothing about a frame."""

FACING = -0.1
"""Smallest cosine between normal and ray: 6 degrees of slack, for shading normals and a guessed focal."""

AGREEING = float(np.cos(np.radians(30)))
"""Normals of a depth map are coarse; axes differ by 90 degrees."""

LENGTH_SLACK = 0.02
"""Half floats are off by 0.001."""

LENGTH_SHARE = 0.01
"""Share of a frame's valid pixels that may have another length: anti-aliased borders in some renderings."""

LENGTH_ERROR = 0.1
"""A typical length off by more than this is a wrong code; less may come from filtering."""

_READINGS = {AS_IS: np.eye(3), **axis_readings()}
_MATRICES = np.stack([matrix.ravel() for matrix in _READINGS.values()], axis=-1)  # (9, readings)


def look_at_normals(sample: Sample, depth: Sample | None) -> list[Problem | Measurement]:
    """Length and axes of the normals of a frame, with its depth if the dataset has one of the same size."""
    valid = sample.valid[0].numpy()
    normals = sample.target.numpy().transpose(1, 2, 0).astype(np.float64)
    found: list[Problem | Measurement] = []
    problem = wrong_length(normals, valid, sample.key, "of the label")
    if problem is not None:
        found.append(problem)
    scores = trial(
        normals,
        valid,
        focal_px(sample.dataset, valid.shape[1]),
        None if depth is None or depth.valid.shape != sample.valid.shape else depth,
    )
    if scores is not None:
        found.append(Measurement(check=RULE.check, key=sample.key, values=scores))
    return found


def wrong_length(normals: Floats, valid: Mask, where: str, what: str) -> Problem | None:
    """A problem if more than a few normals (H, W, 3) are not of unit length where valid."""
    if not valid.any():
        return None
    length = np.linalg.norm(normals[valid], axis=-1)
    off = ~(np.abs(length - 1) <= LENGTH_SLACK)  # NaN counts as off
    if off.mean() <= LENGTH_SHARE:
        return None
    typical = float(np.median(length))
    return Problem(
        severity="warning" if abs(typical - 1) <= LENGTH_ERROR else "error",
        check="normal-length",
        message=f"normals {what} must be of unit length",
        where=f"{where} (median {typical:.3g}, {100 * off.mean():.2g} % of the pixels off)",
    )


def trial(normals: Floats, valid: Mask, focal: float, depth: Sample | None) -> dict[str, float] | None:
    """Score of every reading of the axes; None if too few pixels are valid.

    Args:
        normals: shape (H, W, 3).
        valid: where they mean something, shape (H, W).
        focal: focal length [px].
        depth: depth label of the same frame.
    """
    length = np.linalg.norm(normals, axis=-1)
    places = _some(valid & np.isfinite(length) & (length > 0))
    if places is None:
        return None
    size = (valid.shape[0], valid.shape[1])
    unit = normals[places] / length[places][:, None]
    ray = rays(size, focal)[places]
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    scores = _shares(unit, ray, FACING)
    if depth is not None:
        facing, known = facets(depth.target[0].numpy().astype(np.float64), depth.valid[0].numpy(), focal)
        places = _some(valid & known & np.isfinite(length) & (length > 0))
        if places is not None:
            unit = normals[places] / length[places][:, None]
            agreeing = _shares(unit, facing[places], AGREEING)
            scores = {name: (score + agreeing[name]) / 2 for name, score in scores.items()}
    return scores


def _some(mask: Mask) -> tuple[NDArray[np.intp], ...] | None:
    rows, columns = np.nonzero(mask)
    if len(rows) < MIN_PIXELS:
        return None
    step = -(-len(rows) // MAX_PIXELS)
    return rows[::step], columns[::step]


def _shares(vectors: Floats, others: Floats, least: float) -> dict[str, float]:
    """For each reading of the vectors (N, 3), the share whose cosine with the others is ``least`` or more."""
    products = (others[:, :, None] * vectors[:, None, :]).reshape(-1, 9)
    cosines = products @ _MATRICES  # row r, column c of a matrix weighs others[r] * vectors[c]
    return dict(zip(_READINGS, (cosines >= least).mean(0).tolist(), strict=True))
