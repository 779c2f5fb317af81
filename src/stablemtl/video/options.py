"""What can be chosen about a video's predictions, and what counts as a video. Light to import."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_MPEG = (".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".3gp")
VIDEO_SUFFIXES = frozenset([*_MPEG, ".avi", ".flv", ".mkv", ".mov", ".ogv", ".webm", ".wmv", ".y4m"])
"""Suffixes of video files. A ``.gif`` is a picture here, its first frame."""


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether the file's name says that it is a video. The file is not opened, and need not exist.

    >>> is_video("holiday.MP4"), is_video("street.jpg")
    (True, False)
    """
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Which frames of a video, how they are predicted, and what is written."""

    start_s: float = 0.0
    """Where to begin, in seconds from the start of the video."""
    stop_s: float | None = None
    """Where to end, in seconds from the start of the video; its own end if left out."""
    every: int = 1
    """Take every Nth frame; motion is then that of N frames."""
    fps: float | None = None
    """Take at most so many frames a second, by their timestamps; not together with every."""
    max_frames: int | None = None
    """Take at most so many frames."""
    frame_rate: float = 24.0
    """Frames a second of a folder of pictures, which has no rate of its own."""

    processing_resolution: int | None = None
    """Longest edge at which the network runs [px], 0 for the frames' size; the model's choice if left out."""
    match_input_resolution: bool = True
    """Arrays and videos of the size of the frames; if off, of the size processed: smaller files."""
    single_stream: bool = False
    """Use the auxiliary network alone: faster, less accurate."""
    batch_size: int = 1
    """Pairs of frames computed together; more need more memory and help on a GPU."""
    batch_tasks: int | None = None
    """Tasks computed together; fewer need less memory. All if left out."""
    codec_tile: int = 0
    """Longest edge of the tiles in which the codec takes a large frame, in px; 0 for none."""

    smoothing: Literal["none", "exponential"] = "exponential"
    """Flicker reduction: exponential takes part of each value from the frame before, along the motion."""
    smoothing_constant: float = 0.6
    """Share of the past that is kept from frame to frame, 0 to 0.95."""

    arrays: bool = True
    """Write the values too, TASK/NNNNNN.npz."""
    array_type: Literal["float16", "float32"] = "float16"
    """Number type of the arrays; 16 bits keep 3 digits, far more than predictions have, in half the space."""
    chunk_frames: int = 16
    """Frames in each array file, fewer if they are large; an interrupted run loses no more than these."""
    codec: str = "libx264"
    """Encoder of the videos written."""
    quality: int = 18
    """Constant rate factor of the encoder: lower is better and larger; 18 is hard to tell from the source."""
    resume: bool = True
    """Go on where an interrupted run of the same video, model and options ended; if off, begin again."""

    def __post_init__(self) -> None:
        """Check every number, and report all that is wrong together."""
        wrong = [
            f"{name} must be {expected}, got {value!r}"
            for name, value, good, expected in (
                ("start_s", self.start_s, 0 <= self.start_s < math.inf, "0 s or more"),
                ("every", self.every, self.every >= 1, "1 or more"),
                ("fps", self.fps, self.fps is None or 0 < self.fps < math.inf, "above 0"),
                ("max_frames", self.max_frames, self.max_frames is None or self.max_frames >= 1, "1 or more"),
                ("frame_rate", self.frame_rate, 0 < self.frame_rate < math.inf, "above 0"),
                ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
                (
                    "smoothing_constant",
                    self.smoothing_constant,
                    0 <= self.smoothing_constant <= 0.95,
                    "0 to 0.95",
                ),
                ("chunk_frames", self.chunk_frames, self.chunk_frames >= 1, "1 or more"),
                ("quality", self.quality, 0 <= self.quality <= 51, "0 to 51"),
            )
            if not good
        ]
        if self.stop_s is not None and not self.stop_s > self.start_s:
            wrong.append(f"stop_s must be after start_s={self.start_s:g}, got {self.stop_s:g}")
        if self.fps is not None and self.every != 1:
            wrong.append(f"fps and every exclude each other, got fps={self.fps:g} and every={self.every}")
        if wrong:
            raise ValueError("; ".join(wrong) + ".")
