"""What the doctor says: findings, and the observations of single frames that they are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From bad to harmless. Errors spoil training or scores; notes are good to know."""

MAX_EXAMPLES = 5
"""Frames or files that a finding names; ``count`` says how many there are."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or good to know, with a split of a dataset."""

    severity: Severity
    check: str
    """Short id of the check, a key of ``CHECKS``."""
    dataset: str
    """Name of the dataset; empty for the data folder itself."""
    split: str
    """The dataset's own name of the split, several joined by a comma; empty for the dataset as a whole."""
    message: str
    """What was expected and what was found."""
    about: str = ""
    """Task, or kind of file, that it is about; empty for all."""
    examples: tuple[str, ...] = ()
    """Some of the files or frames, at most ``MAX_EXAMPLES``."""
    count: int = 1
    """How many files or frames."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with one frame or file. Problems with the same words become one finding."""

    severity: Severity
    check: str
    message: str
    """The same words for every frame with this problem."""
    where: str
    """The file or the frame."""
    about: str = ""
    spoils: tuple[str, ...] = ()
    """Tasks whose labels are not looked at in this frame, because they cannot be right."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Figures of one frame, judged together with those of all other frames of the split."""

    check: str
    key: str
    """Name of the frame."""
    values: Mapping[str, float] = field(default_factory=dict)
    about: str = ""


Observation = Problem | Measurement

CHECKS: dict[str, str] = {
    "folder": "what lies in the data folder and is no dataset",
    "frame-count": "frames of a split against the official release",
    "empty-split": "splits without a frame",
    "index": "the dataset opens, and lists every frame once and in one split",
    "missing-file": "files that the dataset lists are on disk",
    "without-label": "images on disk that have no label, or labels without an image",
    "unreadable": "files can be read to their end",
    "size": "frames of a pair, and images and labels, have the same size",
    "image-range": "images are in [0, 1]",
    "blank-image": "images are not of one colour",
    "same-frames": "the two frames of a pair differ if there is motion",
    "not-finite": "labels are numbers where they are valid",
    "all-invalid": "some pixels of a label are valid",
    "depth-kind": "Hypersim files hold distances, not planar depth",
    "depth-unit": "depth is in metres",
    "depth-range": "depth is positive",
    "depth-overflow": "16-bit depth has not wrapped around",
    "flow-convention": "the next image, warped back by the flow, fits the first one",
    "scene-flow": "scene flow, depth and optical flow agree",
    "disparity-sign": "FlyingThings3D stores disparities negated",
    "disparity-change": "disparities grow where the image expands",
    "class-colours": "every class colour is known",
    "class-ids": "every class id is known",
    "normal-convention": "normals point away from the camera and agree with depth",
    "normal-length": "normals are of unit length",
    "albedo-range": "reflectance is in [0, 1]",
    "shading-range": "shading is in [0, 1]",
}
"""Every check by its id, with what holds where it passes."""

_EXPLAINED_BY: dict[tuple[str, str], tuple[str, ...]] = {
    ("all-invalid", "depth"): ("depth-unit", "depth-overflow", "depth-range"),
    ("all-invalid", "normal"): ("depth-unit", "depth-overflow"),
    ("all-invalid", "semantic"): ("class-colours", "class-ids"),
    ("all-invalid", "scene_flow"): ("disparity-sign",),
    ("all-invalid", "albedo"): ("albedo-range",),
    ("scene-flow", ""): ("depth-unit", "depth-overflow"),
    ("depth-unit", "depth"): ("depth-overflow",),
}
"""(check, about) to the checks that, failing in the same split, make it fail as well."""


def gather(dataset: str, split: str, problems: Iterable[Problem]) -> list[Finding]:
    """One finding for all problems with the same words; a file or frame counts once."""
    places: dict[tuple[Severity, str, str, str], dict[str, None]] = {}
    for problem in problems:
        kind = (problem.severity, problem.check, problem.message, problem.about)
        places.setdefault(kind, {})[problem.where] = None
    return [
        Finding(
            severity=severity,
            check=check,
            dataset=dataset,
            split=split,
            message=message,
            about=about,
            examples=examples(where),
            count=len(where),
        )
        for (severity, check, message, about), where in places.items()
    ]


def examples(places: Iterable[str]) -> tuple[str, ...]:
    """The first few."""
    return tuple(list(places)[:MAX_EXAMPLES])


def without_consequences(findings: Sequence[Finding]) -> list[Finding]:
    """Findings, less those that only follow from another one of the same split."""
    present = {(finding.dataset, finding.split, finding.check) for finding in findings}
    return [
        finding
        for finding in findings
        if not any(
            (finding.dataset, finding.split, cause) in present
            for cause in _EXPLAINED_BY.get((finding.check, finding.about), ())
        )
    ]


def join_splits(findings: Iterable[Finding]) -> list[Finding]:
    """What is said of several splits of a dataset in the same words, about the same files, said once."""
    joined: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        kind = (finding.dataset, finding.severity, finding.check, finding.message, *finding.examples)
        if kind in joined and finding.split:
            splits = ", ".join([joined[kind].split, finding.split])
            joined[kind] = replace(joined[kind], split=splits)
        else:
            joined[kind] = finding
    return list(joined.values())


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings and notes; otherwise in the order given."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
