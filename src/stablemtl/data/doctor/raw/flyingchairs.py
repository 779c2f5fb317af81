"""FlyingChairs' files: pairs that the split file does not list, holes in the flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.data.doctor.findings import Observation, Problem
from stablemtl.data.doctor.labels import holes
from stablemtl.data.doctor.raw.base import Arrays, RawChecks, Reading
from stablemtl.data.flyingchairs import FlyingChairs
from stablemtl.data.formats import read_flo, read_rgb


def _files(dataset: FlyingChairs, index: int) -> dict[str, Reading]:
    stem = dataset.root / "data" / f"{dataset.frames[index]:05d}"
    return {
        "img1": (Path(f"{stem}_img1.ppm"), read_rgb),
        "img2": (Path(f"{stem}_img2.ppm"), read_rgb),
        "flow": (Path(f"{stem}_flow.flo"), read_flo),
    }


def _inspect(dataset: FlyingChairs, index: int, arrays: Arrays) -> Iterator[Observation]:
    flow = arrays["flow"]
    problem = holes(flow, np.ones(flow.shape[:2], bool), "flow", f"{dataset.frames[index]:05d}")
    if problem is not None:
        yield problem


def _survey(root: Path, splits: Mapping[str, Any]) -> Iterator[tuple[str, Problem]]:
    """Pairs on disk that no split lists."""
    listed = {number for dataset in splits.values() for number in dataset.frames}
    for path in sorted((root / "data").glob("*_flow.flo")):
        number = path.name.split("_")[0]
        if not number.isdigit() or int(number) not in listed:
            yield (
                "",
                Problem(
                    severity="warning",
                    check="without-label",
                    message="pairs that the split file gives to no split are not read",
                    where=path.name,
                ),
            )


CHECKS = RawChecks(files=_files, inspect=_inspect, survey=_survey)
