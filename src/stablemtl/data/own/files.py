"""The array stored in a label file of any common format, as it stands: no unit, no convention.

=====================  ==========================================================================
suffix                 what is read
=====================  ==========================================================================
``.png``               8 or 16 bits, one channel or RGB; transparency is left out
``.tif``, ``.tiff``    integers or floats, one channel or RGB, the first page
``.npy``               the array
``.npz``               the array of the given name, the only map, or ``values``
``.h5``, ``.hdf5``     the array of the given name, the only map, or ``dataset``
``.exr``               the given channel or group (``Depth.V``, ``Normal``), or RGB, XYZ, UV, a single channel
``.pfm``               one or three channels, rows turned top-down
=====================  ==========================================================================

A map is an array of at least two dimensions. JPEG and other lossy formats are no place for labels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stablemtl.data.formats import read_pfm

Array = NDArray[Any]

PICTURES = (".png", ".tif", ".tiff")
HDF5 = (".h5", ".hdf5")
SUFFIXES = (*PICTURES, ".npy", ".npz", *HDF5, ".exr", ".pfm")
"""Suffixes that ``read_array`` knows, in small letters; files may have them in capitals."""

MASK_SUFFIXES = (*PICTURES, ".npy", ".npz", *HDF5)
"""Suffixes of mask files."""

_CHANNEL_SETS = ("RGB", "XYZ", "UV")


def read_array(path: Path, *, name: str = "", palette_ids: bool = False) -> Array:
    """The stored numbers, shape (H, W) or (H, W, C), channels in RGB, XYZ or UV order.

    Args:
        path: the file; its suffix names the format.
        name: which array of an ``.npz`` or HDF5 file, or which channels of an ``.exr``; needed where the file
            holds several.
        palette_ids: of a PNG with a palette take the indices, not the colours.
    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown suffix, a damaged file, several arrays to choose from, or no (H, W[, C]) array.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} must be one of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}.")
    if suffix in PICTURES:
        array = _read_picture(path, palette_ids)
    elif suffix == ".pfm":
        array = read_pfm(path)
    elif suffix == ".exr":
        array = _read_exr(path, name)
    else:
        array = _read_numpy(path, name) if suffix in (".npy", ".npz") else _read_hdf5(path, name)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise ValueError(
            f"{path} must hold numbers of shape (H, W) or (H, W, C), got {array.dtype} {array.shape}."
        )
    return array


def read_mask(path: Path) -> NDArray[np.bool_]:
    """True where the file is not zero in some channel, shape (H, W).

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``read_array``.
    """
    stored = np.nan_to_num(read_array(path, palette_ids=True)) != 0
    return stored if stored.ndim == 2 else stored.any(-1)


def channels_last(array: Array, count: int, path: Path) -> Array:
    """``array`` if it is (H, W) for one channel, or (H, W, ``count``); otherwise an error.

    Raises:
        ValueError: another number of channels.
    """
    if array.ndim == (2 if count == 1 else 3) and (count == 1 or array.shape[2] == count):
        return array
    expected = "(H, W)" if count == 1 else f"(H, W, {count})"
    hint = " Move the channels last." if array.ndim == 3 and array.shape[0] == count else ""
    raise ValueError(f"{path} must hold {expected}, got {array.shape}.{hint}")


def _read_picture(path: Path, palette_ids: bool) -> Array:
    if palette_ids and path.suffix.lower() == ".png":
        try:
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.mode in ("P", "1"):
                    return np.asarray(picture)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{path} is damaged, or not a PNG file: {error}.") from error
    data = np.fromfile(path, np.uint8)
    image: Array | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise ValueError(f"{path} is not an image that can be decoded, or it is damaged.")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1])  # OpenCV has BGR(A)


def _read_numpy(path: Path, name: str) -> Array:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            arrays = {key: loaded[key] for key in names if not name or key == name}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged, or not a NumPy file of numbers: {error}.") from error
    chosen: Array = _choose(arrays, name, "values", path, names)
    return chosen


def _read_hdf5(path: Path, name: str) -> Array:
    arrays: dict[str, h5py.Dataset] = {}

    def collect(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[key] = item

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
            chosen: Array = _choose(arrays, name, "dataset", path, arrays)[()]
            return chosen
    except OSError as error:
        raise ValueError(f"{path} is damaged, or not an HDF5 file: {error}.") from error


def _choose(arrays: Mapping[str, Any], name: str, default: str, path: Path, names: Iterable[str]) -> Any:
    """The array called ``name``; without a name the only map, or the one called ``default``."""
    maps = {key: array for key, array in arrays.items() if array.ndim >= 2 and array.dtype.kind in "biuf"}
    if name in maps:
        return maps[name]
    if not name and (len(maps) == 1 or default in maps):
        return maps[default] if default in maps else next(iter(maps.values()))
    asked = f"no map {name!r}" if name else f"{len(maps)} maps"
    raise ValueError(
        f'{path} has {asked}; it holds {", ".join(sorted(names)) or "nothing"}. Name one: array = "...".'
    )


def _read_exr(path: Path, name: str) -> Array:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            stored = {key: np.array(channel.pixels) for key, channel in file.channels().items()}
    except Exception as error:  # the library raises RuntimeError, ValueError, OSError and its own
        raise ValueError(f"{path} is damaged, or not an EXR file: {error}.") from error
    if name in stored:
        return stored[name]
    group = {key.removeprefix(f"{name}.") if name else key: plane for key, plane in stored.items()}
    if name:
        group = {key: plane for key, plane in group.items() if f"{name}.{key}" in stored}
    group.pop("A", None)
    if len(group) == 1:
        return next(iter(group.values()))
    for letters in _CHANNEL_SETS:
        if set(group) == set(letters):
            return np.stack([group[letter] for letter in letters], axis=-1)
    asked = f"no channels {name!r}" if name else f"{len(group)} channels"
    raise ValueError(
        f'{path} has {asked}; it holds {", ".join(sorted(stored))}. Name one, or a group: array = "...".'
    )
