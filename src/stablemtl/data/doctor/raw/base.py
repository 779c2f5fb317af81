"""What a dataset's own checks of its files consist of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stablemtl.data.doctor.findings import Observation, Problem

Arrays = dict[str, NDArray[Any]]
Reader = Callable[[Path], NDArray[Any]]
Reading = tuple[Path, Reader]
"""A file and how to read it."""


@dataclass(frozen=True, kw_only=True)
class RawChecks:
    """Checks on the files of one dataset class, before its reader interprets them.

    Functions get the dataset as an object of that class.
    """

    files: Callable[[Any, int], dict[str, Reading]]
    """Kind of file to the file, for all that frame ``index`` needs. Pictures and labels are (H, W, ...);
    arrays of one axis have no size to compare."""
    inspect: Callable[[Any, int, Arrays], Iterable[Observation]]
    """What the arrays of ``files`` tell about frame ``index``; all are readable and of one size."""
    survey: Callable[[Path, Mapping[str, Any]], Iterable[tuple[str, Problem]]]
    """Problems of the whole dataset, each with its split, from its folder and its open splits."""


def no_survey(root: Path, splits: Mapping[str, Any]) -> Iterable[tuple[str, Problem]]:
    """Nothing to look for beyond the frames."""
    return ()
