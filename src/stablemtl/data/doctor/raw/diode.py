"""DIODE's files: holes where the mask says measured, masks that are none, normals not of unit length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.data.diode import Diode
from stablemtl.data.doctor.findings import Observation, Problem
from stablemtl.data.doctor.labels import holes
from stablemtl.data.doctor.normals import wrong_length
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading
from stablemtl.data.formats import read_npy, read_rgb

_ENDINGS = {"depth": "_depth.npy", "depth_mask": "_depth_mask.npy", "normal": "_normal.npy"}


def _files(dataset: Diode, index: int) -> dict[str, Reading]:
    stem = f"{dataset.folder / dataset.frames[index]}"
    found: dict[str, Reading] = {"image": (Path(f"{stem}.png"), read_rgb)}
    # Normals are a download of their own: frames without them are read all the same.
    kinds = _ENDINGS if index in set(dataset.indices("normal")) else ("depth", "depth_mask")
    return found | {kind: (Path(f"{stem}{_ENDINGS[kind]}"), read_npy) for kind in kinds}


def _inspect(dataset: Diode, index: int, arrays: Arrays) -> Iterator[Observation]:
    key = dataset.frames[index]
    mask = arrays["depth_mask"].reshape(arrays["depth_mask"].shape[:2])
    depth = arrays["depth"].reshape(arrays["depth"].shape[:2]).astype(np.float64)
    measured = mask > 0
    problem = holes(depth, measured, "depth", key)
    if problem is not None:
        yield problem
    with np.errstate(invalid="ignore"):
        empty = measured & (depth <= 0)
    if empty.any():
        yield Problem(
            severity="warning",
            check="depth-range",
            message="depth is 0 or negative where the mask says that it was measured",
            where=f"{key} ({100 * empty.sum() / measured.sum():.2g} % of the pixels)",
            about="depth",
        )
    if "normal" in arrays:
        normals = arrays["normal"].astype(np.float64)
        some = np.linalg.norm(normals, axis=-1) > 1e-6  # zeros where there is none
        problem = wrong_length(normals, some, key, "in the files")
        if problem is not None:
            yield problem


def _survey(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """Frames without normals, if others have them."""
    for split, dataset in splits.items():
        labelled = set(dataset.indices("normal"))
        for index, frame in enumerate(dataset.frames):
            if labelled and index not in labelled:
                yield (
                    split,
                    Problem(
                        severity="warning",
                        check="without-label",
                        message="frames without normals, though others have them",
                        where=f"{frame}_normal.npy",
                        about="normal",
                    ),
                )
        if not labelled:
            yield (
                split,
                Problem(
                    severity="warning",
                    check="without-label",
                    message="no frame has normals: they are an archive of their own (val_normals.tar.gz)",
                    where=str(dataset.folder),
                    about="normal",
                ),
            )


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=_survey)
