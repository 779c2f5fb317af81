"""All checks of one frame: its files first, then the samples that the reader makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.doctor.depth import look_at_depth
from stablemtl.data.doctor.files import complete, relative
from stablemtl.data.doctor.findings import Measurement, Observation, Problem
from stablemtl.data.doctor.flow import look_at_flow, repaired
from stablemtl.data.doctor.labels import look_at_image, look_at_label
from stablemtl.data.doctor.normals import look_at_normals
from stablemtl.data.doctor.raw import RAW, RawChecks
from stablemtl.data.doctor.raw.base import Arrays
from stablemtl.data.doctor.scene_flow import look_at_scene_flow
from stablemtl.data.sample import Dataset, Sample
from stablemtl.data.vkitti import VirtualKITTI2

_SHAPE_ERRORS = ("image_next must be", "target must be (", "valid must be (")
"""How ``Sample`` begins to say that sizes disagree."""


def examine(dataset: Dataset, index: int, tasks: Sequence[str], root: Path) -> tuple[list[Observation], int]:
    """What is seen of frame ``index``, and how many samples were loaded.

    Args:
        dataset: to read from.
        index: of the frame.
        tasks: labels to load, those that the frame has.
        root: the dataset's folder; paths are told from here.
    """
    seen: list[Observation] = []
    checks = RAW.get(type(dataset))
    intact = True
    if checks is not None:
        arrays, problems = _read(dataset, index, checks, root)
        seen += problems
        intact = arrays is not None
        if arrays is not None:
            seen += checks.inspect(dataset, index, arrays)
    spoilt = {task for problem in seen if isinstance(problem, Problem) for task in problem.spoils}
    samples: dict[str, Sample] = {}
    for task in tasks:
        if task in spoilt:
            continue
        try:
            samples[task] = dataset.load(index, task)
        except Exception as error:  # a reader of the user's own may raise anything
            if intact:  # else the files have told already
                seen.append(_unreadable(error, f"frame {index}", task))
    seen += _look(dataset, index, samples)
    return seen, len(samples)


def _read(
    dataset: Dataset, index: int, checks: RawChecks, root: Path
) -> tuple[Arrays | None, list[Observation]]:
    """The arrays of all files of a frame; None, and what is wrong, if they are not whole and of one size."""
    arrays: Arrays = {}
    problems: list[Observation] = []
    absent = False
    for kind, (path, read) in checks.files(dataset, index).items():
        where = relative(path, root)
        try:
            arrays[kind] = read(path)
            if not complete(path):
                raise ValueError("the end of the file is missing")
        except FileNotFoundError:
            absent = True  # told by the inventory, which looks at all frames
        except Exception as error:  # whatever a decoder makes of a damaged file
            reason = _one_line(error).replace(str(path), path.name)
            problems.append(
                Problem(
                    severity="error",
                    check="unreadable",
                    message=f"{kind} files are damaged",
                    where=f"{where}: {reason}",
                    about=kind,
                )
            )
    sizes = {kind: array.shape[:2] for kind, array in arrays.items() if array.ndim > 1}
    if not problems and len(set(sizes.values())) > 1:
        first, *_ = checks.files(dataset, index).values()
        text = ", ".join(f"{kind} {size[0]}x{size[1]}" for kind, size in _odd_ones(sizes).items())
        problems.append(
            Problem(
                severity="error",
                check="size",
                message="all files of a frame must have one size",
                where=f"{relative(first[0], root)}: {text}",
            )
        )
    return (None if absent or problems else arrays), problems


def _odd_ones(sizes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """One kind of each size, the most frequent size last."""
    ranked = sorted(sizes.items(), key=lambda item: list(sizes.values()).count(item[1]))
    chosen: dict[tuple[int, ...], str] = {}
    for kind, size in ranked:
        chosen.setdefault(size, kind)
    return {kind: size for size, kind in chosen.items()}


def _look(dataset: Dataset, index: int, samples: dict[str, Sample]) -> Iterator[Observation]:
    """Images and labels of a frame, and what its labels say of each other."""
    pair = next((sample for sample in samples.values() if sample.image_next is not None), None)
    if samples:
        yield from look_at_image(pair or next(iter(samples.values())))
    for sample in samples.values():
        yield from look_at_label(sample)
    if "depth" in samples:
        yield from look_at_depth(samples["depth"])
    if "normal" in samples:
        yield from look_at_normals(samples["normal"], samples.get("depth"))
    flow: NDArray[Any] | None = None
    if "optical_flow" in samples and samples["optical_flow"].image_next is not None:
        seen = look_at_flow(samples["optical_flow"])
        if seen is not None:
            yield seen
        trial = seen if isinstance(seen, Measurement) else None
        flow = repaired(samples["optical_flow"].target.numpy().astype(np.float64), trial)
    if flow is not None and {"scene_flow", "depth"} <= set(samples):
        measured = look_at_scene_flow(
            samples["scene_flow"],
            samples["depth"],
            flow,
            samples["optical_flow"].valid[0].numpy(),
            _camera(dataset, index, samples["depth"]),
        )
        if measured is not None:
            yield measured


def _camera(dataset: Dataset, index: int, depth: Sample) -> tuple[float, float, float, float] | None:
    """fx, fy, u0, v0 [px] where the dataset tells them."""
    if not isinstance(dataset, VirtualKITTI2):
        return None
    return dataset.intrinsics(dataset.frames[index], (depth.valid.shape[1], depth.valid.shape[2]))


def _unreadable(error: Exception, where: str, task: str) -> Problem:
    text = _one_line(error)
    if isinstance(error, ValueError) and text.startswith(_SHAPE_ERRORS):
        return Problem(
            severity="error",
            check="size",
            message=f"{task}: frames of a pair, image, label and mask must have one size",
            where=f"{where}: {text}",
            about=task,
        )
    missing = isinstance(error, FileNotFoundError)
    return Problem(
        severity="error",
        check="missing-file" if missing else "unreadable",
        message=f"{task} samples cannot be loaded" + (": files are missing" if missing else ""),
        where=f"{where}: {text}",
        about=task,
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError | OSError) and text else f"{type(error).__name__}: {text}"
