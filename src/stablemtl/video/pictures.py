"""A folder or a list of pictures as a clip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from stablemtl.images import read_pixels, to_tensor
from stablemtl.video.frames import RawFrame

_SUFFIXES = frozenset(
    [".avif", ".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order, frame 2 before frame 10; hidden files are left out."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")]
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


class PictureClip:
    """Pictures of one size, shown at a constant rate. See :class:`stablemtl.video.frames.Clip`.

    Args:
        files: in the order shown.
        name: what they are called in messages.
        frame_rate: frames a second.
    Raises:
        ValueError: there are none.
    """

    def __init__(self, files: Sequence[Path], name: str, frame_rate: float) -> None:
        if not files:
            raise ValueError(f"{name} holds no pictures; expected frames such as 0001.png, 0002.png.")
        self._files = list(files)
        self._size: tuple[int, int] | None = None
        self.name = name
        self.rate = Fraction(frame_rate).limit_denominator(1001)
        self.time_base = 1 / self.rate
        self.notes: list[str] = []

    def raw(self, start_s: float) -> Iterator[RawFrame]:
        """All of them; nothing is read before it is asked for."""
        for number, file in enumerate(self._files):
            yield RawFrame(pts=number, pixels=partial(self._read, file))

    def _read(self, file: Path) -> np.ndarray:
        pixels = read_pixels(file, name="frame")
        size = (pixels.shape[0], pixels.shape[1])
        self._size = self._size or size
        if size != self._size:
            raise ValueError(
                f"frame {file} is {size[1]}x{size[0]} px (width x height), those before it "
                f"{self._size[1]}x{self._size[0]}. Frames of a clip must have one size."
            )
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(np.broadcast_to(pixels, (*size, 3)))
        eight = to_tensor(pixels).mul(255.0).round().byte()  # (3, H, W)
        return np.ascontiguousarray(eight.permute(1, 2, 0).numpy())

    def identity(self) -> dict[str, object]:
        """How many, their rate, and a checksum of their names, sizes and dates."""
        listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._files]
        digest = hashlib.sha256(repr(listing).encode()).hexdigest()
        return {"pictures": len(self._files), "rate": str(self.rate), "sha256_of_listing": digest}

    def expected(self) -> int | None:
        """How many there are."""
        return len(self._files)
