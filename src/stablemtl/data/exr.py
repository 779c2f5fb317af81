"""OpenEXR files: linear radiance and reflectance in half or single floats.

H, W: height and width of the file's data window.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import PathLike, write_beside

EXR_MAGIC = b"\x76\x2f\x31\x01"


def read_exr(path: PathLike) -> NDArray[np.float32]:
    """Channels R, G, B of an OpenEXR file, (H, W, 3), or its only channel, (H, W); linear, as stored.

    Half floats are widened to single ones. Alpha and other channels beside R, G, B are left out; of a file
    with several parts, the first is read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that is cut short, or other channels or numbers than above.
        ImportError: the package OpenEXR is not installed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    with Path(path).open("rb") as file:
        if file.read(len(EXR_MAGIC)) != EXR_MAGIC:
            raise ValueError(f"{path} is not an OpenEXR file: it must start with the bytes {EXR_MAGIC!r}.")
    library = _library()
    try:
        with library.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except Exception as error:  # of many kinds, and for a file cut short, a complaint about a missing part
        raise ValueError(f"{path} is not a readable OpenEXR file, or it is cut short: {error}") from error
    names = ["R", "G", "B"] if {"R", "G", "B"} <= set(channels) else sorted(channels)
    if len(names) not in (1, 3) or (len(names) == 3 and names != ["R", "G", "B"]):
        raise ValueError(f"{path} must have channels R, G, B or a single one, got {', '.join(names)}.")
    planes = [channels[name] for name in names]
    if any(plane.dtype.kind != "f" for plane in planes):
        raise ValueError(f"{path} must hold floats, got {planes[0].dtype}.")
    if len({plane.shape for plane in planes}) > 1:
        raise ValueError(f"{path} must hold R, G, B of one size, got {[plane.shape for plane in planes]}.")
    pixels = planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
    return pixels.astype(np.float32)


def write_exr(path: PathLike, values: NDArray[np.floating]) -> None:
    """Write (H, W, 3) RGB or (H, W) values as OpenEXR, losslessly compressed.

    float16 is stored as half floats, anything else as single ones.

    Raises:
        ValueError: another shape, or no pixel.
        ImportError: the package OpenEXR is not installed.
    """
    if (values.ndim != 2 and not (values.ndim == 3 and values.shape[2] == 3)) or values.size == 0:
        raise ValueError(f"an OpenEXR map must be (H, W) or (H, W, 3), got {values.shape}.")
    library = _library()
    pixels = np.ascontiguousarray(values, np.float16 if values.dtype == np.float16 else np.float32)
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}

    def save(beside: Path) -> None:
        with library.File(header, {"RGB" if pixels.ndim == 3 else "Y": pixels}) as file:
            file.write(str(beside))

    write_beside(path, save)


def _library() -> ModuleType:
    try:
        import OpenEXR
    except ImportError as error:
        raise ImportError(
            "OpenEXR files need the package OpenEXR. Install it: pip install OpenEXR."
        ) from error
    return OpenEXR
