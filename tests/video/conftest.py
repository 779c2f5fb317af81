"""Small clips to read, written with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Blue at the left, red at the upper right, black at the lower right; a white square moves there."""
    height, width = size
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[: height // 2] = (200, 30, 30)
    pixels[:, : width // 4] = (20, 20, 220)
    left = width // 4 + 2 * (number % 8)
    pixels[height // 2 : height // 2 + 6, left : left + 6] = 255
    return pixels


def _write_clip(
    path: Path,
    *,
    frames: int = 8,
    size: tuple[int, int] = (32, 48),
    rate: int = 10,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation: int = 0,
    aspect: Fraction | None = None,
    times_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "1"} if options is None else options)
        stream.height, stream.width, stream.pix_fmt = *size, pixel_format
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times_ms is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, rate) if times_ms is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    """``write_clip(path, frames=8, size=(32, 48), ...)``: a video file of :func:`picture`."""
    return _write_clip


@pytest.fixture(scope="session")
def show() -> Callable[[Path], tuple[np.ndarray, list[float]]]:
    """Frames (T, H, W, 3) of a video, and their times [s]."""

    def decode(path: Path) -> tuple[np.ndarray, list[float]]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [f.time for f in frames]

    return decode
