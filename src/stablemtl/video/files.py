"""Frames of a video file, decoded one at a time.

What a viewer would show is what is read: the rotation stored in the file is applied, pixels that are not
square are made square by stretching the width, 10-bit and grey video become 8-bit RGB. Not applied:
mirroring, HDR tone curves, deinterlacing. Sound is not read. The first video stream is taken. If the size
changes on the way, later frames are brought to the size of the first.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stablemtl.video.frames import RawFrame

logger = logging.getLogger(__name__)

_EDGE_BYTES = 1 << 20  # of a file's beginning and end, which tell it from others
_HIGH_DEFINITION_LINES = 720  # video that does not say its colours: BT.709 from here on, BT.601 below
_INDEXED = {"mov", "mp4", "matroska", "webm"}
"""Containers in which seeking never ends after the place asked for; others are read from their beginning."""
_UNSAID = 2  # of ITU-T H.273's colour matrices


def require_av() -> ModuleType:
    """PyAV.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'stablemtl[video]'") from error
    return av


class VideoClip:
    """A video file, opened anew each time its frames are read. See :class:`stablemtl.video.frames.Clip`.

    Args:
        path: the file.
    Raises:
        ImportError: PyAV is not installed.
        ValueError: the file is not a video that can be read, or has no pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        self.notes: list[str] = []
        with _opened(path) as (container, stream):
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self.time_base = Fraction(stream.time_base or 1 / self.rate)
            self._expected = int(stream.frames or 0)
            if not self._expected and container.duration:
                self._expected = round(container.duration / 1_000_000 * self.rate)

    def raw(self, start_s: float) -> Iterator[RawFrame]:
        """Frames from ``start_s`` on, or a little earlier.

        Frames that cannot be decoded are left out. Where the file cannot be read further, the clip ends. Both
        are said in ``notes``.
        """
        av = require_av()
        self.notes = []
        damaged = count = 0
        last: int | None = None
        size: tuple[int, int] | None = None
        with _opened(self._path) as (container, stream):
            stream.thread_type = "SLICE"  # with whole frames in parallel, an error takes good ones with it
            origin = int(stream.start_time or 0)  # broadcast formats do not begin at 0
            if start_s > 0 and _INDEXED & set(container.format.name.split(",")):
                container.seek(origin + int(start_s / self.time_base), stream=stream, backward=True)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    self.notes.append(f"cannot be read beyond frame {count} ({error.strerror})")
                    break
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    logger.info("%s: a frame that cannot be decoded: %s", self._path, error.strerror)
                    damaged += 1
                    continue
                for frame in frames:
                    pts = None if frame.pts is None else frame.pts - origin
                    if pts is None or (last is not None and pts <= last):  # not said, or said wrongly
                        pts = 0 if last is None else last + max(1, round(1 / (self.rate * self.time_base)))
                    last = pts
                    size = size or _square_size(frame, stream.sample_aspect_ratio)
                    count += 1
                    yield RawFrame(pts=pts, pixels=partial(_pixels, frame, size))
        if damaged:
            self.notes.append(f"{damaged} damaged frame{'' if damaged == 1 else 's'} left out")
        short = self._expected - count - damaged
        if start_s == 0 and not self.notes and short > max(2, 0.02 * self._expected):
            self.notes.append(f"ends early: {count} of about {self._expected} frames could be read")
        for note in self.notes:
            logger.info("%s: %s", self._path, note)

    def identity(self) -> dict[str, object]:
        """Size of the file, and a checksum of its first and its last MiB."""
        size = self._path.stat().st_size
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
        return {"bytes": size, "sha256_of_ends": digest.hexdigest()}

    def expected(self) -> int | None:
        """What the header says; files that were never closed say nothing."""
        return self._expected or None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream."""
    av = require_av()
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; expected a video. Copy it again.")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError):
            raise
        what = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"{path} cannot be read as a video ({what}). It may be cut short, or of another kind: copy it "
            "again, or convert it."
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic  # the picture on a song
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise ValueError(f"{path} has no video stream, only {others}. Give a file with moving pictures.")
        yield container, streams[0]


def _square_size(frame: Any, aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) with square pixels, before rotation; ``aspect`` is the width of one over its height."""
    return frame.height, max(1, round(frame.width * aspect)) if aspect else frame.width


def _pixels(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """RGB as shown, (H, W, 3) uint8."""
    from av.video.reformatter import Colorspace

    height, width = size
    guess = None
    if frame.colorspace == _UNSAID and not frame.format.is_rgb:
        high = frame.height >= _HIGH_DEFINITION_LINES
        guess = Colorspace.ITU709 if high else Colorspace.ITU601
    pixels = frame.reformat(width=width, height=height, format="rgb24", src_colorspace=guess).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
