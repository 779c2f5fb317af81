"""A video file from pictures with timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.video.files import require_av

_BT709 = 1  # of colour primaries, transfer and matrix (ITU-T H.273)
_LIMITED = 1  # levels 16 to 235


def require_encoder(codec: str) -> None:
    """Raises ``ValueError`` if FFmpeg, as PyAV brings it, cannot encode with it."""
    av = require_av()
    try:
        found = av.codec.Codec(codec, "w")
    except (av.codec.codec.UnknownCodecError, ValueError):
        found = None
    if found is None or found.type != "video":
        known = [name for name in ("libx264", "libx265", "libopenh264", "mpeg4", "ffv1") if _has(name)]
        raise ValueError(f"codec {codec!r} is not a video encoder here; there are {', '.join(known)}.")


def _has(name: str) -> bool:
    av = require_av()
    try:
        av.codec.Codec(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError):
        return False
    return True


class VideoWriter:
    """Encodes pictures of one size, each shown from its timestamp on.

    H.264 with 4:2:0 colours, which every player shows; it needs even sides, so an odd one is made even by
    repeating its last row or column. Colours are tagged BT.709.

    Args:
        path: the file; its suffix says the container.
        size: (height, width) of the pictures.
        time_base: seconds of a tick of the timestamps.
        rate: frames a second, on average.
        codec: FFmpeg's name of the encoder.
        quality: its constant rate factor, where it has one.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        time_base: Fraction,
        rate: Fraction,
        codec: str = "libx264",
        quality: int = 18,
    ) -> None:
        require_encoder(codec)
        av = require_av()
        self._av = av
        self._pad = (size[0] % 2, size[1] % 2)
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        options = {"crf": str(quality), "preset": "medium"} if codec in ("libx264", "libx265") else {}
        stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = size[0] + self._pad[0], size[1] + self._pad[1]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration
        stream.codec_context.thread_count = 2  # the same file on every machine
        for name in ("color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, name, _BT709)
        stream.codec_context.color_range = _LIMITED
        self._stream, self._time_base = stream, time_base

    def add(self, picture: np.ndarray, pts: int, duration: int) -> None:
        """A picture (H, W, 3) uint8, shown from ``pts`` on for ``duration`` ticks."""
        if any(self._pad):
            picture = np.pad(picture, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._av.video.reformatter.Colorspace.ITU709)
        frame.pts, frame.time_base, frame.duration = pts, self._time_base, duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self._container.close()
