"""Cityscapes' files: labels that are no label ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stablemtl.data.cityscapes import IMAGE_SUFFIX, LABEL_SUFFIX, Cityscapes
from stablemtl.data.doctor.findings import Finding, Measurement, Observation, Problem, examples
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading, no_survey
from stablemtl.data.formats import read_rgb

IDS_CHECK = "class-ids"

LARGEST_ID = 33
"""Label ids are 0 to 33."""

LARGEST_TRAIN_ID, TRAIN_VOID = 18, 255
"""Train ids, another numbering that is saved under similar names, are 0 to 18, and 255 for the rest."""


def _files(dataset: Cityscapes, index: int) -> dict[str, Reading]:
    frame = dataset.frames[index]
    images, labels = (_folder(dataset, kind) / frame.city for kind in ("leftImg8bit", "gtFine"))
    return {
        "leftImg8bit": (images / f"{frame.stem}{IMAGE_SUFFIX}", read_rgb),
        "labelIds": (labels / f"{frame.stem}{LABEL_SUFFIX}", read_rgb),
    }


def _folder(dataset: Cityscapes, kind: str) -> Path:
    """The split's folder, directly in the root or one folder down, as the reader has it."""
    direct = dataset.root / kind / dataset.split
    nested = sorted(dataset.root.glob(f"*/{kind}/{dataset.split}"))
    return next((folder for folder in (direct, *nested) if folder.is_dir()), direct)


def _inspect(dataset: Cityscapes, index: int, arrays: Arrays) -> Iterator[Observation]:
    key = dataset.frames[index].stem
    labels = arrays["labelIds"]
    if not (labels[..., 1:] == labels[..., :-1]).all():
        message = "labelIds must be grey pictures, these have colours: are they gtFine_color?"
        yield _problem(message, key)
        return
    ids = np.unique(labels)
    strange = ids[ids > LARGEST_ID]
    yield Measurement(check=IDS_CHECK, key=key, values={"largest": float(ids.max())})
    if not len(strange):
        return
    message = f"label ids must be 0 to {LARGEST_ID}"
    known = ids[ids <= LARGEST_ID]
    if set(strange.tolist()) == {TRAIN_VOID} and (known <= LARGEST_TRAIN_ID).all():
        message += "; these look like train ids (gtFine_labelTrainIds)"
    yield _problem(message, f"{key} (has {', '.join(map(str, strange[:5].tolist()))})")


def judge_ids(measurements: Sequence[Measurement], dataset: str, split: str) -> list[Finding]:
    """Labels that never name vegetation, sky or a car are in another numbering."""
    largest = {m.key: m.values["largest"] for m in measurements}
    if not largest or max(largest.values()) > LARGEST_TRAIN_ID:
        return []
    return [
        Finding(
            severity="error",
            check=IDS_CHECK,
            dataset=dataset,
            split=split,
            message=f"no label id above {LARGEST_TRAIN_ID}: these look like train ids (gtFine_labelTrainIds)",
            about="semantic",
            examples=examples(largest),
            count=len(largest),
        )
    ]


def _problem(message: str, where: str) -> Problem:
    return Problem(
        severity="error",
        check=IDS_CHECK,
        message=message,
        where=where,
        about="semantic",
        spoils=("semantic",),
    )


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=no_survey)
