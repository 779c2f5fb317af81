"""What a clip is, and which of its frames are predicted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from stablemtl.video.options import VideoOptions

PathLike = str | os.PathLike[str]
Source = PathLike | Sequence[PathLike]

_TICK_S = 1e-6  # timestamps closer than this are the same


@dataclass(frozen=True)
class RawFrame:
    """A frame before it is known whether it is wanted."""

    pts: int
    """When it is shown, in the clip's time base."""
    pixels: Callable[[], np.ndarray]
    """Gives (H, W, 3) uint8."""


@dataclass(frozen=True)
class ClipFrame:
    """A frame that was chosen."""

    number: int
    """Among those chosen, from 0."""
    pts: int
    """When it is shown, in the clip's time base."""
    pixels: np.ndarray
    """(H, W, 3) uint8."""
    inside: bool
    """False for the one frame after the last: it serves as second frame of the last pair only."""


class Clip(Protocol):
    """Where frames come from. It can be read more than once."""

    name: str
    time_base: Fraction
    """Seconds of one tick of ``pts``."""
    rate: Fraction
    """Frames a second, on average."""
    notes: list[str]
    """What was wrong with the source, complete once all frames were read."""

    def raw(self, start_s: float) -> Iterator[RawFrame]:
        """Frames in the order shown; those before ``start_s`` may be left out."""
        ...

    def identity(self) -> dict[str, object]:
        """What tells this source from others, and from itself after a change."""
        ...

    def expected(self) -> int | None:
        """How many frames it says it has; None if it does not say."""
        ...


def open_clip(source: Source, options: VideoOptions) -> Clip:
    """The clip in a video file, a folder of pictures, or a list of pictures.

    Raises:
        FileNotFoundError: no such file or folder.
        ImportError: a video file, and PyAV is not installed.
        ValueError: not a video, or no picture in the folder or list.
    """
    from stablemtl.video.files import VideoClip
    from stablemtl.video.pictures import PictureClip, pictures_in

    if not isinstance(source, str | os.PathLike):
        return PictureClip([Path(path) for path in source], "the list of pictures", options.frame_rate)
    path = Path(source)
    if path.is_dir():
        return PictureClip(pictures_in(path), f"the folder {path}", options.frame_rate)
    if not path.exists():
        raise FileNotFoundError(f"video not found: there is no file {path}. Check the name and the folder.")
    return VideoClip(path)


def expected(clip: Clip, options: VideoOptions) -> int | None:
    """About how many frames :func:`chosen` will give; None if nothing says."""
    count = clip.expected()
    if count is None:
        return options.max_frames
    length_s = count / float(clip.rate)
    stop_s = length_s if options.stop_s is None else min(options.stop_s, length_s)
    rate = float(clip.rate) / options.every
    if options.fps is not None:
        rate = min(rate, options.fps)
    count = max(1, round((stop_s - options.start_s) * rate))
    return count if options.max_frames is None else min(count, options.max_frames)


def chosen(clip: Clip, options: VideoOptions, first: int = 0) -> Iterator[ClipFrame]:
    """The frames to predict, then the one after them if there is one.

    Args:
        clip: where they come from.
        options: which to take.
        first: those numbered below are decoded but not given.
    """
    number, seen = -1, 0
    origin_s = due_s = 0.0
    for raw in clip.raw(options.start_s):
        time_s = float(raw.pts * clip.time_base)
        if time_s < options.start_s - _TICK_S and options.start_s > 0:
            continue
        if seen == 0:
            origin_s = due_s = time_s
        seen += 1
        if options.fps is None:
            if (seen - 1) % options.every:
                continue
        elif time_s < due_s - _TICK_S:
            continue
        else:  # a grid of 1 / fps from the first frame on, so that rounding does not add up
            due_s = origin_s + (int((time_s - origin_s + _TICK_S) * options.fps) + 1) / options.fps
        number += 1
        stopped = options.stop_s is not None and time_s >= options.stop_s - _TICK_S
        enough = options.max_frames is not None and number >= options.max_frames
        inside = not (stopped or enough)
        if not inside and number == 0:
            return
        if number >= first or not inside:
            yield ClipFrame(number=number, pts=raw.pts, pixels=raw.pixels(), inside=inside)
        if not inside:
            return
