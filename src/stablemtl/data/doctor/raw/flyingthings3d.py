"""FlyingThings3D's files: the signs of disparity and of its change, images that belong to no pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Measurement, Observation, Problem, Severity
from stablemtl.data.doctor.labels import holes
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading
from stablemtl.data.doctor.trials import AS_IS, Rule
from stablemtl.data.flyingthings3d import FlyingThings3D
from stablemtl.data.formats import read_flo, read_pfm, read_rgb
from stablemtl.data.sample import sorted_names

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

CHANGE_RULE = Rule(
    check="disparity-change",
    subject="disparity change",
    measure="share of it that agrees with the next disparity, or with the expansion of the image, is",
    margin=0.2,  # of rendered pairs, 0.87 agrees and 0.13 disagrees with the expansion
    frame_margin=0.9,  # objects that turn expand and shrink at once: 0.63 was seen
    floor=0.5,
    frame_floor=0.0,
    misfit="warning",
)
NEGATED = "negated; files hold the later disparity less the earlier one, negated like the disparities"

POSITIVE_SHARE = 0.01
"""Share of positive stored disparities that rounding or a broken pixel may leave."""

CHANGING = 0.005
"""Relative change of disparity below which neither sign can be told."""

SMOOTH = 0.05
"""Neighbours whose disparity differs by more than this share lie on different surfaces."""

MIN_PIXELS = 50
"""Fewer pixels with a change say nothing about a frame."""

SIDEWAYS_SHARE = 0.1
"""Motion that a purely sideways move of the camera may leave unexplained: occluded pixels, rounding."""

_FLOW, _DISPARITY, _CHANGE = "flow/left/into_future", "disparity/left", "disparity_change/left/into_future"


def _files(dataset: FlyingThings3D, index: int) -> dict[str, Reading]:
    number = dataset.frames[index]
    base = dataset.root / dataset.split
    images = base / f"image_{dataset.render_pass}" / "left"
    return {
        "image": (images / f"{number:07d}.png", read_rgb),
        "image of the next frame": (images / f"{number + 1:07d}.png", read_rgb),
        "disparity": (base / _DISPARITY / f"{number:07d}.pfm", read_pfm),
        "disparity_change": (base / _CHANGE / f"{number:07d}.pfm", read_pfm),
        "flow": (base / _FLOW / f"{number:07d}.flo", read_flo),
    }


def _moved_sideways(disparity: Floats, flow: Floats) -> bool:
    """A still scene and a camera that only moved aside: flow in proportion to disparity, no change of it."""
    seen = np.isfinite(flow).all(-1) & (disparity > 0)
    aside = np.stack([disparity, disparity], -1)[seen]
    moved = flow[seen].astype(np.float64)
    scale = (aside * moved).sum(0) / np.maximum((aside * aside).sum(0), 1e-12)  # of u and of v
    left_over = np.abs(moved - scale * aside).mean()
    return bool(left_over < SIDEWAYS_SHARE * np.abs(moved).mean())


def _inspect(dataset: FlyingThings3D, index: int, arrays: Arrays) -> Iterator[Observation]:
    number = dataset.frames[index]
    key = f"{number:07d}"
    everywhere = np.ones(arrays["disparity"].shape[:2], bool)
    for kind in ("disparity", "disparity_change", "flow"):
        problem = holes(arrays[kind], everywhere, kind, f"{dataset.split}/{key}")
        if problem is not None:
            yield problem
    with np.errstate(invalid="ignore"):
        positive = float((arrays["disparity"] > 0).mean())
    if positive > POSITIVE_SHARE:
        yield Problem(
            severity="error",
            check="disparity-sign",
            message="stored disparities must not be positive: the release stores them negated",
            where=f"{dataset.split}/disparity/left/{key}.pfm ({100 * positive:.0f} % of the pixels)",
            about="scene_flow",
            spoils=("scene_flow",),
        )
        return
    disparity = -arrays["disparity"].astype(np.float64)
    change = -arrays["disparity_change"].astype(np.float64)
    if not change.any() and arrays["flow"].any() and not _moved_sideways(disparity, arrays["flow"]):
        yield Problem(
            severity="warning",
            check=CHANGE_RULE.check,
            message="disparity change is zero everywhere, though there is motion",
            where=f"{dataset.split}/{key}",
            about="scene_flow",
        )
        return
    scores = change_trial(disparity, change, arrays["flow"].astype(np.float64), _next(dataset, number))
    if scores is not None:
        yield Measurement(check=CHANGE_RULE.check, key=f"{dataset.split}/{key}", values=scores)


def change_trial(
    disparity: Floats, change: Floats, flow: Floats, following: Floats | None
) -> dict[str, float] | None:
    """Score of a disparity change and of its negative, in [0, 1]; None where nothing can be said.

    With the next frame's disparity: the share of pixels whose later disparity is found there. Without: a
    surface that comes nearer by a factor q expands the image by q, so that du/dx + dv/dy = 2 (q - 1) on
    average; the score is the part of |q - 1| where both have the same sign.

    Args:
        disparity, change: [px, positive disparities], shape (H, W).
        flow: [px], shape (H, W, 2).
        following: disparity of the next frame [px, positive], shape (H, W), if there is one.
    """
    with np.errstate(all="ignore"):
        growth = change / disparity
        usable = (disparity > 0) & np.isfinite(growth) & np.isfinite(flow).all(-1)
    if following is not None and following.shape == disparity.shape:
        return _against_next(disparity, change, flow, following, usable)
    inner = (slice(1, -1), slice(1, -1))
    divergence = (flow[1:-1, 2:, 0] - flow[1:-1, :-2, 0] + flow[2:, 1:-1, 1] - flow[:-2, 1:-1, 1]) / 2
    usable = usable[inner] & (np.abs(growth[inner]) > CHANGING)
    usable &= _same_surface(disparity) & np.isfinite(divergence)
    if usable.sum() < MIN_PIXELS:
        return None
    weight = np.abs(growth[inner][usable])
    agreeing = np.sign(divergence[usable]) == np.sign(growth[inner][usable])
    share = float((weight * agreeing).sum() / weight.sum())
    return {AS_IS: share, NEGATED: 1 - share}


def _against_next(
    disparity: Floats, change: Floats, flow: Floats, following: Floats, usable: Mask
) -> dict[str, float] | None:
    height, width = disparity.shape
    y, x = np.mgrid[:height, :width]
    left, top = np.floor(x + flow[..., 0]), np.floor(y + flow[..., 1])
    usable = usable & (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1)
    left, top = left[usable].astype(int), top[usable].astype(int)
    around = np.stack([following[top + down, left + right] for down in (0, 1) for right in (0, 1)])
    before, told = disparity[usable], change[usable]
    nearest = np.clip(before + told, around.min(0), around.max(0))
    seen = nearest - before  # change to the next disparity, between pixels the one that suits most
    moving = np.maximum(np.abs(seen), np.abs(told))
    clear = np.isfinite(seen) & (moving > CHANGING * before)
    if clear.sum() < MIN_PIXELS:
        return None
    return {
        name: float((np.abs(sign * told - seen) <= moving / 2)[clear].mean())
        for name, sign in ((AS_IS, 1), (NEGATED, -1))
    }


def _same_surface(disparity: Floats) -> Mask:
    """Inner pixels whose four neighbours have almost the same disparity, shape (H - 2, W - 2)."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    filled = np.nan_to_num(disparity)
    with np.errstate(all="ignore"):
        spread = (cv2.dilate(filled, cross) - cv2.erode(filled, cross)) / disparity
    return np.asarray((spread < SMOOTH)[1:-1, 1:-1])


def _next(dataset: FlyingThings3D, number: int) -> Floats | None:
    """Disparity of the frame after ``number`` [px], where it is on disk and readable."""
    path = dataset.root / dataset.split / _DISPARITY / f"{number + 1:07d}.pfm"
    try:
        return -read_pfm(path).astype(np.float64) if path.is_file() else None
    except (OSError, ValueError):
        return None


def _survey(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """Images that belong to no pair, as their flow is missing."""
    for split, dataset in splits.items():
        paired = {*dataset.frames, *(number + 1 for number in dataset.frames)}
        names = sorted_names((root / split / f"image_{dataset.render_pass}" / "left").glob("*.png"))
        alone = [name for name in names if not name[:-4].isdigit() or int(name[:-4]) not in paired]
        severity: Severity = "warning" if len(alone) > ALONE_SHARE * len(names) else "note"
        for name in alone:
            yield (
                split,
                Problem(
                    severity=severity,
                    check="without-label",
                    message="images without a flow to or from them are not read",
                    where=f"{split}/image_{dataset.render_pass}/left/{name}",
                ),
            )


ALONE_SHARE = 0.05
"""The official subset leaves out some frames; more than this is worth a warning."""

CHECKS = RawChecks(files=_files, inspect=_inspect, survey=_survey)
