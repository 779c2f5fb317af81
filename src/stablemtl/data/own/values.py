"""Labels in the unit and convention of their task, from the array in a file and what was declared about it.

Every reader takes the file and the task's checked table of ``dataset.toml``, and gives the label, (H, W) or
(H, W, C), and where it means something, (H, W) bool. What may be declared stands in
``stablemtl.data.own.labels``, which also says which files get here. H, W: height and width of the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import read_flo, read_kitti_flow
from stablemtl.data.hypersim import GREY
from stablemtl.data.own.files import channels_last, read_array
from stablemtl.data.sample import IGNORE_CLASS
from stablemtl.tasks.semantic import CLASSES

Array = NDArray[Any]
Options = Mapping[str, Any]
Label = tuple[Array, NDArray[np.bool_]]

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "km": 1000.0}
"""Units of length, in metres."""

TO_OPENCV = {"opencv": (1.0, 1.0, 1.0), "opengl": (1.0, -1.0, -1.0)}
"""Camera axes, as factors on x, y and z that turn them into x right, y down, z forward."""

_LONGEST_MOTION = 1e9  # Middlebury marks unknown motion by a larger number
_UNIT_LENGTH = (0.5, 1.5)  # lengths of normals that rounding and smoothing may leave


def read_semantic(path: Path, options: Options) -> Label:
    """Class ids, 250 for what has no class here; ids or palette indices, or colours."""
    by_colour = "colours" in options
    stored = read_array(path, name=options.get("array", ""), palette_ids=not by_colour)
    if stored.dtype.kind == "f":
        raise ValueError(f"{path} must hold integers, the ids of classes, got {stored.dtype}.")
    if by_colour:
        stored = channels_last(stored, 3, path) @ np.array([65536, 256, 1])
    elif stored.ndim == 3:
        raise ValueError(f"{path} holds colours, not ids: declare them in [semantic.colours].")
    ids = np.full(stored.shape, IGNORE_CLASS, np.int64)
    for written, name in options["colours" if by_colour else "ids"].items():
        if name in CLASSES:
            ids[stored == written] = list(CLASSES).index(name)
    return ids, ids != IGNORE_CLASS


def read_normal(path: Path, options: Options) -> Label:
    """Unit vectors away from the camera, in OpenCV axes."""
    stored, valid = _stored(path, options, 3)
    vectors = _full_scale(stored, path)
    if stored.dtype.kind == "u":
        vectors = vectors * 2 - 1
    length = np.linalg.norm(vectors, axis=-1)
    valid &= (length > _UNIT_LENGTH[0]) & (length < _UNIT_LENGTH[1])
    outward = vectors * TO_OPENCV[options["axes"]] * (1.0 if options["facing"] == "away" else -1.0)
    return outward / np.where(valid, length, 1.0)[..., None], valid


def read_depth(path: Path, options: Options) -> Label:
    """Planar depth [m]."""
    stored, valid = _stored(path, options, 1)
    values = stored.astype(np.float64) * options.get("scale", 1.0)
    valid &= values > 0
    if options["kind"] == "disparity":
        disparity = values + options.get("offset_px", 0.0)
        valid &= disparity > 0
        return options["focal_px"] * options["baseline_m"] / np.where(valid, disparity, 1.0), valid
    depth_m = values * METRES[options["unit"]]
    return depth_m if options["kind"] == "planar" else depth_m * _cosine(values.shape, options), valid


def read_optical_flow(path: Path, options: Options) -> Label:
    """Motion in the image [px]; KITTI's PNG files say themselves where it was measured."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        return read_kitti_flow(path)
    stored = read_flo(path) if suffix == ".flo" else read_array(path, name=options.get("array", ""))
    if suffix in (".exr", ".pfm") and stored.ndim == 3 and stored.shape[2] == 3:
        stored = stored[..., :2]  # formats of one or three channels: the third one is padding
    return _motion(channels_last(stored, 2, path), options)


def read_scene_flow(path: Path, options: Options) -> Label:
    """Motion in camera space [m], in OpenCV axes."""
    stored = channels_last(read_array(path, name=options.get("array", "")), 3, path)
    motion, valid = _motion(stored, options)
    return motion * METRES[options["unit"]] * TO_OPENCV[options["axes"]], valid


def _motion(stored: Array, options: Options) -> Label:
    valid = _usable(stored, options) & (np.abs(np.nan_to_num(stored)).max(-1) < _LONGEST_MOTION)
    return np.where(valid[..., None], stored, 0.0) * options.get("scale", 1.0), valid


def read_shading(path: Path, options: Options) -> Label:
    """Linear grey irradiance."""
    stored, valid = _stored(path, options, None)
    light = _linear(_full_scale(stored, path), options["space"])
    return light if light.ndim == 2 else light @ np.asarray(GREY), valid


def read_albedo(path: Path, options: Options) -> Label:
    """Linear RGB reflectance."""
    stored, valid = _stored(path, options, 3)
    return _linear(_full_scale(stored, path), options["space"]), valid


def read_as_it_is(path: Path, options: Options, channels: int) -> Label:
    """The stored numbers, for tasks whose files are in their convention already."""
    stored, valid = _stored(path, options, channels)
    return stored * options.get("scale", 1.0), valid


def _stored(path: Path, options: Options, channels: int | None) -> Label:
    """The array of so many channels (``None``: one or three), 0 where it means nothing; where it does."""
    stored = read_array(path, name=options.get("array", ""))
    channels_last(stored, channels or (1 if stored.ndim == 2 else 3), path)
    usable = _usable(stored, options)
    stored[~usable] = 0
    return stored, usable


def _usable(stored: Array, options: Options) -> NDArray[np.bool_]:
    """Finite, and not one of the numbers that mean nothing (in all channels); (H, W)."""
    pixels = stored if stored.ndim == 3 else stored[..., None]
    usable = np.asarray(np.isfinite(pixels).all(-1))
    for nothing in options.get("invalid", ()):
        usable &= ~(pixels == nothing).all(-1)
    return usable


def _full_scale(stored: Array, path: Path) -> Array:
    """8- and 16-bit integers as parts of the largest one; floats as they are."""
    if stored.dtype.kind == "f":
        return stored.astype(np.float64)
    if stored.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} must hold floats, or integers of type uint8 or uint16, got {stored.dtype}.")
    return stored / float(np.iinfo(stored.dtype).max)


def _linear(values: Array, space: str) -> Array:
    """Linear values of sRGB ones (IEC 61966-2-1), or of linear ones."""
    if space == "linear":
        return values
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4)


def _cosine(size: tuple[int, ...], options: Options) -> Array:
    """Planar depth divided by distance along the ray, (H, W), for a pin-hole camera."""
    height, width = size
    u0, v0 = options.get("center_px", ((width - 1) / 2, (height - 1) / 2))
    offset = np.hypot(np.arange(width)[None, :] - u0, np.arange(height)[:, None] - v0)
    return np.asarray(options["focal_px"] / np.hypot(options["focal_px"], offset))
