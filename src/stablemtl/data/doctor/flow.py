"""Optical flow against the two images: sign, order of axes and unit.

The next image is warped back by the flow and compared with the first one. For a flow f at pixel p the error
is e(f) = |next(p + f) - image(p)|, at most that of unrelated pixels; the score of a flow is the part of the
error of no motion that it removes, (sum e(0) - e(f)) / sum e(0), where pixels that leave the frame count as
no gain. A right flow scores 0.4 to 0.6 on average (occlusions, light and sampling keep the rest), a wrong
one usually below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Measurement, Problem
from stablemtl.data.doctor.trials import AS_IS, Rule
from stablemtl.data.sample import Sample

Floats = NDArray[Any]
Reading = Callable[[Floats, Floats, float, float], tuple[Floats, Floats]]

READINGS: dict[str, Reading] = {
    AS_IS: lambda u, v, w, h: (u, v),
    "negated (flow of the second frame, or frames swapped)": lambda u, v, w, h: (-u, -v),
    "to have u and v swapped": lambda u, v, w, h: (v, u),
    "to have u flipped": lambda u, v, w, h: (-u, v),
    "to have v flipped (v must point down)": lambda u, v, w, h: (u, -v),
    "to have u and v swapped and negated": lambda u, v, w, h: (-v, -u),
    "64 times too large": lambda u, v, w, h: (u / 64, v / 64),
    "64 times too small": lambda u, v, w, h: (u * 64, v * 64),
    "divided by the size of the frame": lambda u, v, w, h: (u * w, v * h),
    "multiplied by the size of the frame": lambda u, v, w, h: (u / w, v / h),
    "divided by half the size of the frame": lambda u, v, w, h: (u * w / 2, v * h / 2),
    "twice too large": lambda u, v, w, h: (u / 2, v / 2),
    "twice too small": lambda u, v, w, h: (u * 2, v * 2),
}
"""What may have been done to the flow (u, v), to what repairs it in a frame of (w, h) pixels."""

RULE = Rule(
    check="flow-convention",
    subject="optical flow",
    measure="part of the difference between the images that the flow explains is",
    margin=0.05,  # right flows of rendered sets lead by 0.18 and more
    frame_margin=0.2,  # of 6,500 right frames, two have a reading that leads by more than 0.05, by 0.11
    floor=-0.05,  # a flow that does worse than none; a right one that explains nothing is near 0
    frame_floor=-0.15,  # the least of those is -0.07
)

MAX_PIXELS = 20_000
"""Valid pixels compared per frame, evenly spread: enough for a share, and quick at any size."""

STATIC = 1 / 255
"""Images that differ less than this on average show no motion that could be judged."""

MOVING_PX = 0.5
"""Flow of at least this mean length must make the two images differ."""

MIN_PIXELS = 50
"""Fewer valid pixels say nothing about a frame."""


def look_at_flow(sample: Sample) -> Problem | Measurement | None:
    """Trial of one frame; a problem if both images are the same; None where nothing can be said."""
    assert sample.image_next is not None
    rows, columns = np.nonzero(sample.valid[0].numpy())
    if len(rows) < MIN_PIXELS:
        return None
    step = -(-len(rows) // MAX_PIXELS)
    rows, columns = rows[::step], columns[::step]
    u, v = sample.target[:, rows, columns].numpy().astype(np.float64)
    image = sample.image[:, rows, columns].numpy().T
    following = np.ascontiguousarray(sample.image_next.numpy().transpose(1, 2, 0))
    if np.array_equal(sample.image.numpy(), sample.image_next.numpy()):
        if float(np.hypot(u, v).mean()) < MOVING_PX:
            return None
        return Problem(
            severity="error",
            check="same-frames",
            message="both frames of the pair are the same picture, though the flow is not zero",
            where=sample.key,
        )
    still = following[rows, columns]
    # Errors end at the typical difference of unrelated pixels, so that what is hidden later counts little.
    shuffled = np.random.default_rng(0).permutation(len(rows))
    unrelated = float(np.abs(image - still[shuffled]).mean())
    error_still = np.minimum(np.abs(image - still).mean(-1), unrelated)
    if error_still.mean() < STATIC:
        return None
    height, width = sample.image.shape[-2:]
    scores = {}
    for name, reading in READINGS.items():
        du, dv = reading(u, v, width, height)
        x, y = columns + du, rows + dv
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        warped = _at(following, np.where(inside, x, 0.0), np.where(inside, y, 0.0))
        error = np.minimum(np.abs(image - warped).mean(-1), unrelated)
        scores[name] = float(np.where(inside, error_still - error, 0.0).sum() / error_still.sum())
    return Measurement(check=RULE.check, key=sample.key, values=scores)


def repaired(flow: Floats, trial: Measurement | None) -> Floats:
    """The flow (2, H, W) in the reading that fits the images: itself, unless another one fits far better."""
    if trial is None:
        return flow
    best = max(trial.values, key=lambda name: trial.values[name])
    if trial.values[best] - trial.values[AS_IS] <= RULE.frame_margin:
        return flow
    height, width = flow.shape[-2:]
    return np.stack(READINGS[best](flow[0], flow[1], width, height))


def _at(image: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear values (N, 3) of an image (H, W, 3) at N points."""
    columns = min(len(x), 10_000)  # OpenCV maps are at most 32,767 px long
    padding = -len(x) % columns
    grid = [np.pad(p, (0, padding)).reshape(-1, columns).astype(np.float32) for p in (x, y)]
    values = cv2.remap(image, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values).reshape(-1, 3)[: len(x)]
