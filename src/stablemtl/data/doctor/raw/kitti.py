"""The files of KITTI depth and KITTI flow 2015: depth and disparity in another unit, frames listed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.depth import UNIT_CHECK, road_height
from stablemtl.data.doctor.findings import Measurement, Observation, Problem
from stablemtl.data.doctor.geometry import focal_px
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading, no_survey
from stablemtl.data.formats import read_png16, read_rgb
from stablemtl.data.kitti_depth import DEPTH_FOLDERS, FRAME_LIST, PICTURE_FOLDERS, KittiDepth
from stablemtl.data.kitti_flow import BASELINE_M, KittiFlow, read_calibration

HORIZON = 0.46
"""Row of the horizon over the height of the frame: 172.9 of 375 px."""

ROAD_ROWS, ROAD_COLUMNS = (0.8, 0.97), (0.4, 0.6)
"""Part of a frame that shows the road in front of the car, if no other car is close."""

STEPS_PER_METRE = STEPS_PER_PX = 256


def _depth_files(dataset: KittiDepth, index: int) -> dict[str, Reading]:
    frame = dataset.frames[index]
    return {
        "picture": (_find(dataset.root, frame.picture, PICTURE_FOLDERS), read_rgb),
        "depth": (_find(dataset.root, frame.depth, DEPTH_FOLDERS), read_png16),
    }


def _find(root: Path, path: str, folders: Sequence[str]) -> Path:
    places = [root / folder / path for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


def _inspect_depth(dataset: KittiDepth, index: int, arrays: Arrays) -> Iterator[Observation]:
    depth, picture = arrays["depth"], dataset.frames[index].picture
    height, width = depth.shape
    focal = listed_focals(dataset.root / FRAME_LIST).get(picture) or focal_px("kitti_depth", width)
    found = road_height(
        depth / STEPS_PER_METRE, _ahead((height, width)) & (depth > 0), HORIZON * height, focal
    )
    if found is not None:
        yield Measurement(check=UNIT_CHECK, key=picture, values={"height": found}, about="depth")


@lru_cache(maxsize=8)
def listed_focals(path: Path) -> dict[str, float]:
    """Picture to focal length [px], from the list of frames; empty without one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [line.split() for line in lines if line.strip()]
    return {row[0]: float(row[2]) for row in rows if row[2].replace(".", "", 1).isdigit()}


def _survey_depth(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    for split, dataset in splits.items():
        for frame, times in Counter(dataset.frames).items():
            if times > 1:
                yield (
                    split,
                    Problem(
                        severity="warning",
                        check="index",
                        message=f"{FRAME_LIST} lists frames more than once",
                        where=frame.picture,
                    ),
                )


def _flow_files(dataset: KittiFlow, index: int) -> dict[str, Reading]:
    number = dataset.frames[index]
    pair = {kind: dataset.folder / kind / f"{number:06d}_10.png" for kind in _MAPS}
    return {
        "image_2": (dataset.folder / "image_2" / f"{number:06d}_10.png", read_rgb),
        "image_2 of the next frame": (dataset.folder / "image_2" / f"{number:06d}_11.png", read_rgb),
        **{kind: (path, read_png16) for kind, path in pair.items()},
        "calib_cam_to_cam": (dataset.folder / "calib_cam_to_cam" / f"{number:06d}.txt", _calibration),
    }


_MAPS = ("flow_occ", "disp_occ_0", "disp_occ_1")


def _calibration(path: Path) -> NDArray[np.float64]:
    focal, center = read_calibration(path)
    return np.array([focal, *center])


def _inspect_flow(dataset: KittiFlow, index: int, arrays: Arrays) -> Iterator[Observation]:
    key = f"{dataset.frames[index]:06d}"
    focal, _, v0 = arrays["calib_cam_to_cam"]
    disparity = arrays["disp_occ_0"] / STEPS_PER_PX
    size = (disparity.shape[0], disparity.shape[1])
    depth = BASELINE_M * focal / np.maximum(disparity, 1 / STEPS_PER_PX)
    found = road_height(depth, _ahead(size) & (disparity > 0), float(v0), float(focal))
    if found is not None:
        yield Measurement(check=UNIT_CHECK, key=key, values={"height": found}, about="depth")


def _ahead(size: tuple[int, int]) -> NDArray[np.bool_]:
    """The part of a frame in front of the car, (H, W)."""
    part = np.zeros(size, bool)
    rows, columns = (
        slice(int(limits[0] * length), int(limits[1] * length))
        for limits, length in zip((ROAD_ROWS, ROAD_COLUMNS), size, strict=True)
    )
    part[rows, columns] = True
    return part


DEPTH_CHECKS = RawChecks(files=_depth_files, inspect=_inspect_depth, survey=_survey_depth)
FLOW_CHECKS = RawChecks(files=_flow_files, inspect=_inspect_flow, survey=no_survey)
