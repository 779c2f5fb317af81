"""What must hold for the image and the label of any sample, whatever dataset it is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.data.doctor.findings import Finding, Measurement, Problem, Severity, examples
from stablemtl.data.sample import IGNORE_CLASS, Sample
from stablemtl.tasks import TASKS
from stablemtl.tasks.base import TaskSpec

VALID_CHECK = "all-invalid"
INVALID_SHARE = 0.5
"""More frames than this without a valid pixel: it is not the scenes, the labels are wrong or missing."""

RANGE_SLACK = 1e-3
"""Beyond [0, 1] by more than rounding."""

BLANK = 0.5 / 255
"""Images whose values all lie within less than a step of 8 bits."""


def look_at_image(sample: Sample) -> Iterator[Problem]:
    """Range and content of the images."""
    for name, image in (("image", sample.image), ("image_next", sample.image_next)):
        if image is None:
            continue
        if not bool(image.isfinite().all()):
            yield _problem("not-finite", f"{name} holds NaN or infinity", sample.key, about="image")
            continue
        least, most = float(image.min()), float(image.max())
        if least < -RANGE_SLACK or most > 1 + RANGE_SLACK:
            where = f"{sample.key} ({least:.3g} to {most:.3g})"
            yield _problem("image-range", f"{name} must be in [0, 1]", where, about="image")
        elif most - least < BLANK:
            where = f"{sample.key} ({most:.3g})"
            yield _problem(
                "blank-image", f"{name} is of one colour", where, severity="warning", about="image"
            )


def look_at_label(sample: Sample) -> Iterator[Problem | Measurement]:
    """Validity and range of the label."""
    task = sample.task
    share = float(sample.valid.float().mean())
    yield Measurement(check=VALID_CHECK, key=sample.key, values={"valid": share}, about=task)
    values = sample.target[sample.valid.expand_as(sample.target)]
    if not len(values):
        return
    spec = TASKS[task].spec
    if spec.classes:
        yield from _class_ids(values, spec, sample.key)
        return
    finite = values.isfinite()
    if not bool(finite.all()):
        where = f"{sample.key} ({100 * float((~finite).float().mean()):.2g} % of them)"
        yield _problem("not-finite", f"{task} holds NaN or infinity in valid pixels", where, about=task)
        values = values[finite]
    if task in ("albedo", "shading") and len(values):
        least, most = float(values.min()), float(values.max())
        if least < -RANGE_SLACK or most > 1 + RANGE_SLACK:
            where = f"{sample.key} ({least:.3g} to {most:.3g})"
            yield _problem(f"{task}-range", f"{task} must be in [0, 1] where it is valid", where, about=task)


def judge_valid(measurements: Sequence[Measurement], dataset: str, split: str) -> list[Finding]:
    """Frames without a valid pixel, for each task."""
    found = []
    for task in dict.fromkeys(measurement.about for measurement in measurements):
        shares = {m.key: m.values["valid"] for m in measurements if m.about == task}
        empty = [key for key, share in shares.items() if share == 0]
        if empty:
            found.append(
                Finding(
                    severity="error" if len(empty) > INVALID_SHARE * len(shares) else "warning",
                    check=VALID_CHECK,
                    dataset=dataset,
                    split=split,
                    message=f"{task} has no valid pixel in {len(empty)} of {len(shares)} frames",
                    about=task,
                    examples=examples(empty),
                    count=len(empty),
                )
            )
    return found


def _class_ids(values: Tensor, spec: TaskSpec, key: str) -> Iterator[Problem]:
    if values.is_floating_point():
        message = "class ids must be integers (int64)"
        yield _problem("class-ids", message, f"{key} ({values.dtype})", about=spec.name)
        return
    strange = sorted(set(torch.unique(values).tolist()) - set(range(len(spec.classes))))
    if strange:
        message = (
            f"class ids of valid pixels must be 0 to {len(spec.classes) - 1}; ignored ones are {IGNORE_CLASS}"
        )
        some = ", ".join(map(str, strange[:5]))
        yield _problem("class-ids", f"{message} and not valid", f"{key} (has {some})", about=spec.name)


def _problem(check: str, message: str, where: str, *, about: str, severity: Severity = "error") -> Problem:
    return Problem(severity=severity, check=check, message=message, where=where, about=about)


def holes(values: NDArray[Any], expected: NDArray[np.bool_], what: str, where: str) -> Problem | None:
    """A problem if a raw label (H, W) or (H, W, C) is not a number where one is expected, (H, W)."""
    finite = np.isfinite(values) if values.ndim == 2 else np.isfinite(values).all(-1)
    missing = expected & ~finite
    if not missing.any():
        return None
    share = float(missing.sum() / expected.sum())
    return Problem(
        severity="warning" if share > HOLE_SHARE else "note",
        check="not-finite",
        message=f"{what} holds NaN or infinity; these pixels count as not valid",
        where=f"{where} ({100 * share:.2g} % of the pixels)",
    )


HOLE_SHARE = 0.01
"""Official files have a few pixels without a label; more than this is worth a warning."""


def beyond_one(reflectance: NDArray[Any], known: NDArray[Any], what: str, where: str) -> Problem | None:
    """A problem if a stored reflectance (H, W, 3) is not in [0, 1] in more than a few known pixels (H, W)."""
    if not known.any():
        return None
    with np.errstate(invalid="ignore"):
        outside = np.any((reflectance > ALBEDO_LIMIT) | (reflectance < 0), axis=-1)
    share = float(outside[known].mean())
    if share <= ALBEDO_SHARE:
        return None
    values = reflectance[known & outside].astype(np.float64)
    reach = f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}"
    return Problem(
        severity="error" if share > ALBEDO_ERROR_SHARE else "warning",
        check="albedo-range",
        message=f"{what} must be in [0, 1]",
        where=f"{where} ({100 * share:.0f} % of the pixels outside: {reach})",
        about="albedo",
    )


ALBEDO_LIMIT, ALBEDO_SHARE, ALBEDO_ERROR_SHARE = 1.01, 0.01, 0.2
"""Reflectance above the limit is a warning on more of a frame than the first share, then an error."""
