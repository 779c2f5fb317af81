"""Channels of floats to an OpenEXR file, a few rows at a time where they are large together.

H, W: height and width in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stablemtl import writers

Rows: TypeAlias = Callable[[slice], NDArray[np.float32]]
"""Gives some rows of a channel, (n, W), C-contiguous."""

WHOLE_BYTES = 1 << 26
"""Channels that take no more than this together are written in one piece."""

STRIP_ROWS = 64
"""Rows in memory at a time of larger ones; the compression takes 16 together."""

_LONGEST_NAME = 31  # of a channel or attribute: longer ones need a flag that older readers refuse


def write_channels(
    path: writers.PathLike, size: tuple[int, int], channels: Mapping[str, Rows], attributes: Mapping[str, str]
) -> None:
    """Write float32 channels as one OpenEXR picture, losslessly compressed (ZIP).

    Memory is bounded: ``WHOLE_BYTES``, or ``STRIP_ROWS`` rows of every channel.

    Args:
        path: the file; missing folders are made.
        size: (H, W).
        channels: name -> where its rows come from.
        attributes: name -> text, kept in the file's header.
    Raises:
        ValueError: a name that is too long for the format.
        OSError: the file cannot be written.
    """
    import OpenEXR

    _check_names([*channels, *attributes])
    height, width = size
    whole = 4 * height * width * len(channels) <= WHOLE_BYTES
    # OpenEXR.File takes pictures as a whole only. Its older class, which takes them in pieces, is to be
    # removed one day; then large pictures need memory for all channels again, and the file is the same.
    write = _write_whole if whole or not hasattr(OpenEXR, "OutputFile") else _write_strips
    with writers.staged_file(path) as beside:
        write(beside, size, channels, attributes)


def _write_whole(
    path: Path, size: tuple[int, int], channels: Mapping[str, Rows], attributes: Mapping[str, str]
) -> None:
    import OpenEXR

    header = {**attributes, "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = {name: rows(slice(0, size[0])) for name, rows in channels.items()}
    with OpenEXR.File(header, pixels) as file:
        file.write(str(path))


def _write_strips(
    path: Path, size: tuple[int, int], channels: Mapping[str, Rows], attributes: Mapping[str, str]
) -> None:
    import OpenEXR

    height, width = size
    header = OpenEXR.Header(width, height)  # with ZIP compression, and R, G and B as float32
    header["channels"] = dict.fromkeys(channels, header["channels"]["R"])
    header["type"] = b"scanlineimage"
    header |= {name: text.encode() for name, text in attributes.items()}
    file = OpenEXR.OutputFile(str(path), header)
    try:
        for top in range(0, height, STRIP_ROWS):
            rows = slice(top, min(top + STRIP_ROWS, height))
            file.writePixels({name: part(rows) for name, part in channels.items()}, rows.stop - rows.start)
    finally:
        file.close()


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if len(name.encode()) > _LONGEST_NAME:
            raise ValueError(f"names in an EXR file have up to {_LONGEST_NAME} letters, got {name!r}.")
