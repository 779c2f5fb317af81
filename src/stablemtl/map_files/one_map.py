"""One map to one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemtl import writers
from stablemtl.map_files.formats import MAP_ENDINGS, why_not
from stablemtl.map_files.layers import write_exr_map
from stablemtl.map_files.palette import write_palette
from stablemtl.names import choose

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction

SUFFIXES = (".png", ".npz", ".npy", ".flo", ".exr")
_SUFFIX_OF = {name: Path(f"x{ending}").suffix for name, ending in MAP_ENDINGS.items()} | {
    "exr": ".exr",
    "npy": ".npy",
}
_UNKNOWN_FLOW = np.float32(1e10)  # Middlebury's mark for pixels without flow


def format_of(path: Path, bits: int, name: str | None = None) -> str:
    """The format that a suffix stands for, a name of ``FORMATS`` or ``npy``; or ``name``, if given.

    Raises:
        ValueError: unknown suffix or name, a wrong ``bits``, or a name that goes with another suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot write {path.name!r}: the suffix must be one of {', '.join(SUFFIXES)}.")
    if bits not in (8, 16) or (bits == 16 and suffix != ".png"):
        raise ValueError(f"bits must be 8, or 16 with the suffix .png; got bits={bits} with {suffix}.")
    if name is None:
        if suffix == ".png":
            return "png16" if bits == 16 else "picture"
        return suffix[1:]
    choose("format of one map", name, _SUFFIX_OF)
    if suffix != _SUFFIX_OF[name]:
        raise ValueError(f"the format {name!r} goes with the suffix {_SUFFIX_OF[name]}, got {path.name!r}.")
    return name


def write_map(path: Path, prediction: Prediction, name: str) -> None:
    """Write a map in the format of that name.

    Args:
        path: the file; missing folders are made.
        prediction: the map.
        name: ``npy``, ``exr`` or a key of ``MAP_ENDINGS``; 16-bit PNG takes any map of up to 3 channels here.
    Raises:
        ValueError: unknown format, or one that cannot hold the map.
    """
    choose("format of one map", name, _SUFFIX_OF)
    if name == "npz":
        arrays = {"values": prediction.values, "valid": prediction.valid}
        writers.write_npz(path, arrays, prediction.facts())
    elif name == "npy":
        writers.write_npy(path, prediction.values)
    elif name == "exr":
        write_exr_map(path, prediction)
    elif name == "png16":
        writers.write_png16(path, prediction.values, prediction.valid, prediction.facts())
    elif name == "palette":
        write_palette(path, prediction)
    elif name == "picture":
        writers.write_picture(path, prediction.colorize())
    else:
        _write_flow(path, prediction, name)


def _write_flow(path: Path, prediction: Prediction, name: str) -> None:
    from stablemtl.data.formats import write_flo, write_kitti_flow

    if not prediction.is_flow_in_px:
        raise ValueError(
            f"{'.flo' if name == 'flo' else 'the PNG of KITTI flow'} holds two-channel motion in px; "
            f"{prediction.task!r} has shape {prediction.values.shape} and unit {prediction.unit!r}. Use .npz."
        )
    reason = why_not(prediction, name)
    if reason:
        raise ValueError(f"{prediction.task!r} cannot be written as KITTI's PNG: {reason}. Use .flo or .npz.")
    with writers.staged_file(path) as beside:
        if name == "flo":
            write_flo(beside, np.where(prediction.valid[:, :, None], prediction.values, _UNKNOWN_FLOW))
        else:
            write_kitti_flow(beside, prediction.values, prediction.valid)
