"""Predictions of a whole video: streamed, in step with time, resumable.

>>> from stablemtl.video import VideoOptions, predict_video  # doctest: +SKIP
>>> options = VideoOptions(stop_s=10.0)  # doctest: +SKIP
>>> result = predict_video(pipe, "clip.mp4", "maps", options, tasks=["depth"])  # doctest: +SKIP
>>> result.files["side_by_side"], result.files["depth"]  # doctest: +SKIP

The names are loaded when they are first used: asking whether a file is a video costs nothing (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.lazy_names import lazy_names
from stablemtl.video.options import VIDEO_SUFFIXES, VideoOptions, is_video

if TYPE_CHECKING:
    from stablemtl.video.arrays import VideoMaps
    from stablemtl.video.run import VideoProgress, VideoResult, predict_video

__all__ = [
    "VIDEO_SUFFIXES",
    "VideoMaps",
    "VideoOptions",
    "VideoProgress",
    "VideoResult",
    "is_video",
    "predict_video",
]

_HOMES = {
    "VideoMaps": "stablemtl.video.arrays",
    "VideoProgress": "stablemtl.video.run",
    "VideoResult": "stablemtl.video.run",
    "predict_video": "stablemtl.video.run",
}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES)
