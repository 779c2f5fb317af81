"""Scene flow against depth and optical flow.

A pixel p of depth z is the point P = z K^-1 p. Scene flow moves it to P + S, which must be seen at p + f:
what is checked is K (P + S), divided by its depth, against p + f.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Measurement
from stablemtl.data.doctor.geometry import FOCAL_PER_WIDTH, USUAL_FOCAL_PER_WIDTH, axis_readings
from stablemtl.data.doctor.trials import AS_IS, Rule
from stablemtl.data.sample import Sample

Floats = NDArray[Any]

RULE = Rule(
    check="scene-flow",
    subject="scene flow",
    measure="share of pixels that it moves, with their depth, to where optical flow says is",
    margin=0.05,  # right labels score 1.00, with y flipped on a flat road 0.83
    frame_margin=0.15,
    floor=0.5,
    frame_floor=0.25,
    misfit="warning",  # without a reading that fits, depth, flow or camera may be what is off
)

MAX_PIXELS = 4_000
"""Pixels reprojected per frame in some sixty readings, evenly spread."""

MIN_PIXELS = 50
"""Fewer pixels with all three labels and some motion say nothing about a frame."""

MOVING_PX = 1.0
"""Slower pixels end at the right place in any reading."""

SLACK_PX, SLACK_SHARE = 0.5, 0.05
"""A pixel ends at the right place within half a pixel or a twentieth of its flow: depth comes in steps."""

LATERAL = 1e-3
"""Lateral motion over depth from which on it tells the focal length."""

FOCAL_RANGE = (0.3, 4.0)
"""Focal length over the width of the frame: 118 to 14 degrees from side to side."""

_SCALES = {
    "10 times too small (or depth 10 times too large)": 10.0,
    "100 times too small (or depth 100 times too large)": 100.0,
    "10 times too large (or depth 10 times too small)": 0.1,
    "100 times too large (or depth 100 times too small)": 0.01,
    "2.56 times too small (or depth 2.56 times too large: 1/256 m read as cm)": 2.56,
    "2.56 times too large (or depth 2.56 times too small: cm read as 1/256 m)": 1 / 2.56,
    "1000 times too large (or depth 1000 times too small)": 0.001,
}
_READINGS: dict[str, Floats] = {
    AS_IS: np.eye(3),
    **axis_readings(),
    **{name: scale * np.eye(3) for name, scale in _SCALES.items()},
}


def look_at_scene_flow(
    scene_flow: Sample,
    depth: Sample,
    flow: Floats,
    flow_valid: NDArray[np.bool_],
    camera: tuple[float, float, float, float] | None,
) -> Measurement | None:
    """Trial of one frame; None where nothing can be said.

    Args:
        scene_flow: sample of the task of that name.
        depth: of the same frame and size.
        flow: optical flow of the same frame [px], shape (2, H, W).
        flow_valid: shape (H, W).
        camera: fx, fy, u0, v0 [px]; ``None``: the focal length that the dataset is known for, or the one that
            the labels ask for, in each reading of their own.
    """
    size = scene_flow.valid.shape[1:]
    if depth.valid.shape[1:] != size or flow_valid.shape != size:
        return None
    usable = scene_flow.valid[0].numpy() & depth.valid[0].numpy() & flow_valid
    usable &= np.hypot(*np.nan_to_num(flow)) > MOVING_PX
    rows, columns = np.nonzero(usable)
    if len(rows) < MIN_PIXELS:
        return None
    step = -(-len(rows) // MAX_PIXELS)
    rows, columns = rows[::step], columns[::step]
    motion = scene_flow.target[:, rows, columns].numpy().astype(np.float64).T
    z = depth.target[0, rows, columns].numpy().astype(np.float64)
    u, v = flow[:, rows, columns].astype(np.float64)
    focals: tuple[float, float] | None
    if camera is None:
        center = ((size[1] - 1) / 2, (size[0] - 1) / 2)
        ratio = FOCAL_PER_WIDTH.get(scene_flow.dataset)
        focals = (ratio * size[1], ratio * size[1]) if ratio else None
    else:
        center, focals = camera[2:], camera[:2]
    pixel = np.stack([columns - center[0], rows - center[1]], axis=-1)  # from the centre
    flowed = np.stack([u, v], axis=-1)
    slack = np.maximum(SLACK_PX, SLACK_SHARE * np.hypot(u, v))
    scores = {}
    for name, matrix in _READINGS.items():
        read = motion @ matrix.T
        focal = np.array(focals or (_fitting_focal(pixel, z, flowed, read, size[1]),) * 2)
        with np.errstate(all="ignore"):  # NaN compares as False
            moved = pixel * z[:, None] + focal * read[:, :2]
            error = moved / (z + read[:, 2])[:, None] - pixel - flowed
            there = (z + read[:, 2] > 0) & (np.hypot(*error.T) <= slack)
        scores[name] = float(there.mean())
    return Measurement(check=RULE.check, key=scene_flow.key, values=scores)


def _fitting_focal(pixel: Floats, z: Floats, flow: Floats, motion: Floats, width: int) -> float:
    """The focal length [px] at which most pixels move as the flow says; NaN if no camera has it.

    For the lateral axes, with pixels p from the centre: (p + f)(z + Sz) = p z + focal S.
    """
    lateral = motion[:, :2]
    usable = np.abs(lateral) > LATERAL * z[:, None]
    if usable.sum() < MIN_PIXELS:
        return USUAL_FOCAL_PER_WIDTH * width
    needed = (pixel + flow) * (z + motion[:, 2])[:, None] - pixel * z[:, None]
    fitting = float(np.median(needed[usable] / lateral[usable]))
    least, most = FOCAL_RANGE
    return fitting if least * width <= fitting <= most * width else float("nan")
