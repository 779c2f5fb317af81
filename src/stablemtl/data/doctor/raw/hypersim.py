"""Hypersim's files: planar depth for distances, reflectance and normals out of range, a wrong split file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Measurement, Observation, Problem, Severity
from stablemtl.data.doctor.geometry import rays
from stablemtl.data.doctor.labels import beyond_one, holes
from stablemtl.data.doctor.normals import wrong_length
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading
from stablemtl.data.doctor.trials import AS_IS, Rule
from stablemtl.data.formats import read_hdf5
from stablemtl.data.hypersim import NO_ENTITY, OFFICIAL_FOCAL_PX, OFFICIAL_WIDTH_PX, Hypersim
from stablemtl.data.hypersim_lists import find_scenes, find_split_csv

Floats = NDArray[Any]

DISTANCE_RULE = Rule(
    check="depth-kind",
    subject="depth_meters, which must hold distances from the camera's centre,",
    measure="1 less the spread, in units of 2 %, of its ratio to |position - camera| is",
    margin=0.3,
    frame_margin=0.6,
    floor=-1.0,  # neither fits: positions in another frame of reference, or a camera with a lens of its own
    frame_floor=-1.0,
)
PLANAR = "to hold planar depth, along the camera's axis"

SPREAD = 0.02
"""Relative spread of the ratio at which a reading counts as not fitting; half floats spread by 0.0005, the
cosine over a frame of 60 degrees by 0.04."""

MAX_RATIO = 1.5
"""Distances [m] over positions [asset units]: a unit is at most a metre in the official scenes."""

_KINDS = {
    "color": "final",
    "diffuse_reflectance": "final",
    "depth_meters": "geometry",
    "normal_cam": "geometry",
    "normal_world": "geometry",
    "position": "geometry",
    "render_entity_id": "geometry",
}


def _files(dataset: Hypersim, index: int) -> dict[str, Reading]:
    frame = dataset.frames[index]
    images = scene_folder(dataset.root, frame.scene) / "images"
    return {
        kind: (
            images / f"scene_{frame.camera}_{group}_hdf5" / f"frame.{frame.number:04d}.{kind}.hdf5",
            read_hdf5,
        )
        for kind, group in _KINDS.items()
    }


def _inspect(dataset: Hypersim, index: int, arrays: Arrays) -> Iterator[Observation]:
    frame = dataset.frames[index]
    key = f"{frame.scene}/{frame.camera}/{frame.number:04d}"
    known = arrays["render_entity_id"] != NO_ENTITY
    for kind in ("depth_meters", "normal_cam", "diffuse_reflectance"):
        problem = holes(arrays[kind], known, kind, key)
        if problem is not None:
            yield problem
    normals = arrays["normal_cam"].astype(np.float64)
    length = np.linalg.norm(normals, axis=-1)
    some = known & (length > 1e-6)  # zero means no normal; NaN compares as False
    problem = wrong_length(normals, some, key, "in normal_cam")
    if problem is not None:
        yield problem
    problem = beyond_one(arrays["diffuse_reflectance"], known, "diffuse_reflectance", key)
    if problem is not None:
        yield problem
    camera = camera_positions(dataset.root, frame.scene, frame.camera)
    if camera is None or frame.number >= len(camera):
        yield Problem(
            severity="error",
            check="missing-file",
            message="no camera position: normals cannot be read",
            where=f"{frame.scene}/_detail/{frame.camera}/camera_keyframe_positions.hdf5, row {frame.number}",
            about="normal",
            spoils=("normal",),
        )
        return
    yield from _distance(
        arrays["depth_meters"].astype(np.float64), arrays["position"] - camera[frame.number], known, key
    )


def _distance(
    distance: Floats, to_point: Floats, known: NDArray[np.bool_], key: str
) -> Iterator[Observation]:
    """Distances against positions, both of shape (H, W, ...): which of two meanings, and which unit."""
    reach = np.linalg.norm(to_point.astype(np.float64), axis=-1)
    with np.errstate(invalid="ignore"):
        known = known & (distance > 0) & (reach > 1e-6) & np.isfinite(reach) & np.isfinite(distance)
    if known.sum() < MIN_PIXELS:
        return
    height, width = distance.shape
    ray = rays((height, width), OFFICIAL_FOCAL_PX * width / OFFICIAL_WIDTH_PX)
    cosine = 1 / np.linalg.norm(ray, axis=-1)
    ratio = distance[known] / reach[known]
    scores = {AS_IS: _evenness(ratio), PLANAR: _evenness(ratio / cosine[known])}
    yield Measurement(check=DISTANCE_RULE.check, key=key, values=scores)
    if np.median(ratio) > MAX_RATIO:
        yield Problem(
            severity="error",
            check="depth-unit",
            message="depth_meters is larger than the distance between position and camera",
            where=f"{key} ({np.median(ratio):.3g} times)",
            about="depth",
        )


MIN_PIXELS = 50
"""Fewer known pixels say nothing about a frame."""


def _evenness(ratio: Floats) -> float:
    """1 for a constant ratio, 0 for one that spreads by ``SPREAD``: half of the values are farther off."""
    middle = np.median(ratio)
    return float(max(0.0, 1 - np.median(np.abs(ratio - middle)) / (middle * SPREAD)))


def _survey(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """Frames that the split file names more than once, and scenes that it does not name."""
    path = find_split_csv(root)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            (row["scene_name"], row["camera_name"], row["frame_id"], row["split_partition_name"])
            for row in csv.DictReader(file)
        ]
    scenes = {scene for scene, *_ in rows}
    for (*frame, split), times in Counter(rows).items():
        if times > 1:
            where = "/".join(frame)
            yield split, _index_problem("warning", f"{path.name} lists frames more than once", where)
    homes: dict[tuple[str, ...], set[str]] = {}
    for *frame, split in rows:
        homes.setdefault(tuple(frame), set()).add(split)
    for place, names in homes.items():
        if len(names) > 1:
            where = f"{'/'.join(place)} ({', '.join(sorted(names))})"
            yield "", _index_problem("error", f"{path.name} puts frames into more than one split", where)
    for folder in sorted(root.glob("ai_*")):
        if folder.is_dir() and folder.name not in scenes:
            yield (
                "",
                Problem(
                    severity="note",
                    check="without-label",
                    message=f"scenes that {path.name} does not name are not read",
                    where=folder.name,
                ),
            )


def _index_problem(severity: Severity, message: str, where: str) -> Problem:
    return Problem(severity=severity, check="index", message=message, where=where)


@lru_cache(maxsize=4096)
def scene_folder(root: Path, scene: str) -> Path:
    return find_scenes(root, "any", {scene})[scene]


@lru_cache(maxsize=256)
def camera_positions(root: Path, scene: str, camera: str) -> NDArray[Any] | None:
    """World positions of a camera, (frames, 3); None if they cannot be read."""
    path = scene_folder(root, scene) / "_detail" / camera / "camera_keyframe_positions.hdf5"
    try:
        positions = read_hdf5(path)
    except (OSError, ValueError):
        return None
    return positions if positions.ndim == 2 else None


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=_survey)
