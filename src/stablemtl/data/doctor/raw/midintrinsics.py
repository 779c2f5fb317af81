"""MIDIntrinsics' files: reflectance out of range, holes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stablemtl.data.doctor.findings import Observation
from stablemtl.data.doctor.labels import beyond_one, holes
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading, no_survey
from stablemtl.data.exr import read_exr
from stablemtl.data.midintrinsics import MIDIntrinsics


def _files(dataset: MIDIntrinsics, index: int) -> dict[str, Reading]:
    frame = dataset.frames[index]
    folder = dataset.folder / frame.scene
    return {
        "dir_*_mip2": (folder / f"dir_{frame.light}_mip2.exr", read_exr),
        "albedo": (folder / "albedo.exr", read_exr),
    }


def _inspect(dataset: MIDIntrinsics, index: int, arrays: Arrays) -> Iterator[Observation]:
    frame = dataset.frames[index]
    albedo = arrays["albedo"]
    everywhere = np.ones(albedo.shape[:2], bool)
    key = f"{frame.scene}/dir_{frame.light}"
    for name, array, where in (("albedo", albedo, frame.scene), ("dir_*_mip2", arrays["dir_*_mip2"], key)):
        problem = holes(array, everywhere, name, where)
        if problem is not None:
            yield problem
    problem = beyond_one(albedo, everywhere, "albedo.exr", frame.scene)
    if problem is not None:
        yield problem


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=no_survey)
