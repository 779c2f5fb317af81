"""Virtual KITTI 2's files: colours of no class, depth in another unit or wrapped, labels without an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.depth import UNIT_CHECK, road_height, wrapped
from stablemtl.data.doctor.findings import Measurement, Observation, Problem
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading
from stablemtl.data.formats import read_png16, read_rgb
from stablemtl.data.sample import sorted_names
from stablemtl.data.vkitti import CLASS_COLOURS, VirtualKITTI2

SKY_CM = 65535
"""Stored depth of the sky, and of the far plane."""

ROAD_NEARER_M = 50.0
"""Road farther than this is a few rows thick, and its height inexact. In centimetres as stored / 100."""

UNKNOWN_SHARE = 0.01
"""More of a frame in colours of no class is an error: the file was resized, or its channels are swapped."""

UNDEFINED = (0, 0, 0)
"""A colour of the official list that is no class."""

_KINDS = {
    "rgb": ("rgb", "jpg"),
    "depth": ("depth", "png"),
    "classSegmentation": ("classgt", "png"),
    "forwardFlow": ("flow", "png"),
    "forwardSceneFlow": ("sceneFlow", "png"),
}


def _files(dataset: VirtualKITTI2, index: int) -> dict[str, Reading]:
    frame = dataset.frames[index]
    frames = dataset.root / frame.scene / frame.variation / "frames"

    def place(kind: str, number: int) -> Path:
        stem, suffix = _KINDS[kind]
        return frames / kind / frame.camera / f"{stem}_{number:05d}.{suffix}"

    found: dict[str, Reading] = {
        "rgb": (place("rgb", frame.number), read_rgb),
        "depth": (place("depth", frame.number), read_png16),
        "classSegmentation": (place("classSegmentation", frame.number), read_rgb),
    }
    if frame.has_next:
        found["rgb of the next frame"] = (place("rgb", frame.number + 1), read_rgb)
        found["forwardFlow"] = (place("forwardFlow", frame.number), read_png16)
        found["forwardSceneFlow"] = (place("forwardSceneFlow", frame.number), read_png16)
    return found


def _inspect(dataset: VirtualKITTI2, index: int, arrays: Arrays) -> Iterator[Observation]:
    frame = dataset.frames[index]
    key = f"{frame.scene}/{frame.variation}/{frame.camera}/{frame.number:05d}"
    yield from _colours(arrays["classSegmentation"], key)
    depth = arrays["depth"]
    if wrapped(depth, depth < SKY_CM, SKY_CM + 1):
        yield Problem(
            severity="error",
            check="depth-overflow",
            message="depth jumps from 655 m to 0 along surfaces: 16 bits of centimetres overflowed",
            where=key,
            about="depth",
            spoils=("depth", "normal"),
        )
    try:
        _, fy, _, v0 = dataset.intrinsics(frame, (depth.shape[0], depth.shape[1]))
    except ValueError as error:
        yield Problem(
            severity="error",
            check="index",
            message="intrinsic.txt does not fit the frames",
            where=f"{key}: {error}",
            spoils=("normal",),
        )
        return
    metres = depth / 100.0
    road = (arrays["classSegmentation"] == CLASS_COLOURS["Road"]).all(-1) & (metres < ROAD_NEARER_M)
    height = road_height(metres, road, v0, fy)
    if height is not None:
        yield Measurement(check=UNIT_CHECK, key=key, values={"height": height}, about="depth")


def _colours(image: NDArray[np.uint8], key: str) -> Iterator[Problem]:
    unknown = _unknown(image)
    share = float(unknown.mean())
    if share == 0:
        return
    row, column = (int(place[0]) for place in np.nonzero(unknown))
    message = "classSegmentation has colours of no class"
    if float(_unknown(image[..., ::-1]).mean()) < share / 2:
        message += "; with red and blue swapped they are known"
    yield Problem(
        severity="error" if share > UNKNOWN_SHARE else "warning",
        check="class-colours",
        message=message,
        where=f"{key} ({100 * share:.2g} % of the pixels, such as {tuple(image[row, column].tolist())})",
        about="semantic",
    )


def _unknown(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    wide = image.astype(np.int64)
    packed = wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2]
    known = [r * 65536 + g * 256 + b for r, g, b in (*CLASS_COLOURS.values(), UNDEFINED)]
    return ~np.isin(packed, known)


def _survey(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """Labels whose image is missing: their frames are not listed at all."""
    for split, dataset in splits.items():
        places = dict.fromkeys((frame.scene, frame.variation, frame.camera) for frame in dataset.frames)
        for scene, variation, camera in places:
            frames = root / scene / variation / "frames"
            numbers = {
                kind: {name.split("_")[-1].split(".")[0] for name in sorted_names(folder.glob("*_*.*"))}
                for kind in _KINDS
                if (folder := frames / kind / camera).is_dir()
            }
            images = numbers.pop("rgb")
            for kind, labelled in numbers.items():
                for number in sorted(labelled - images):
                    stem, suffix = _KINDS[kind]
                    yield (
                        split,
                        Problem(
                            severity="warning",
                            check="without-label",
                            message=f"{kind} labels without an image: the frames are not read",
                            where=f"{scene}/{variation}/frames/{kind}/{camera}/{stem}_{number}.{suffix}",
                            about=kind,
                        ),
                    )


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=_survey)
