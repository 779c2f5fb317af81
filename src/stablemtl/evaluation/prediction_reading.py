"""Reads one predicted map from a file, whatever its kind; see :mod:`stablemtl.evaluation.prediction_files`.

Letters: C, H, W channels, height and width of a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.exr import read_exr
from stablemtl.data.formats import read_flo, read_npy
from stablemtl.tasks.base import TaskSpec
from stablemtl.writers import PNG16_KEY, read_png16_values

_UNKNOWN_FLOW = 1e9  # .flo marks pixels without flow by larger numbers


def read_values(path: Path, spec: TaskSpec, png_scale: Mapping[str, float]) -> NDArray[Any]:
    """The map as stored, (H, W) or (H, W, C); nan where the file says that there is none.

    Args:
        path: of the file.
        spec: of the task that it is of.
        png_scale: task -> value of one step of a PNG that does not say so itself.
    Raises:
        ValueError: damaged, or a PNG whose numbers mean nothing known.
    """
    suffix = path.suffix
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".exr":
        return read_exr(path)
    if suffix == ".png":
        return _read_png(path, spec, png_scale.get(spec.name))
    flow = read_flo(path)
    return np.where(np.abs(flow) > _UNKNOWN_FLOW, np.float32(np.nan), flow)


def as_ids(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Class ids as integers; floats are taken if they are whole.

    Raises:
        ValueError: they are not.
    """
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise ValueError(f"{path} must hold class ids, got fractions. Take the class of the largest score.")
    return values.astype(np.int64)


def _read_npz(path: Path) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            name = "values" if "values" in names or len(names) != 1 else names[0]
            values: NDArray[Any] = archive[name]
            valid = archive["valid"] if "valid" in names and name == "values" else None
    except KeyError as error:
        raise ValueError(f"{path} must have one array, or one named 'values'; it has {names}.") from error
    except Exception as error:  # of many kinds: zip, zlib, pickles that are refused
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error
    if valid is None or values.dtype.kind != "f":
        return values
    return np.where(valid if values.ndim == 2 else valid[:, :, None], values, np.float32(np.nan))


def _read_png(path: Path, spec: TaskSpec, scale: float | None) -> NDArray[Any]:
    import cv2
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            says = PNG16_KEY in getattr(picture, "text", {})
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable PNG file: {error}") from error
    if says:
        return read_png16_values(path)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise ValueError(f"{path} is not a readable PNG file, or it is damaged.")
    numbers: NDArray[Any] = stored if stored.ndim == 2 else stored[:, :, 2::-1][:, :, : spec.channels]
    if spec.classes:
        return numbers
    if scale is None:
        raise ValueError(
            f"{path} does not say what its numbers mean. Write "
            f'{{"png_scale": {{"{spec.name}": value of one step}}}} into predictions.json, or use another '
            "format."
        )
    return numbers.astype(np.float32) * np.float32(scale)
