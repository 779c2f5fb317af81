"""What a click on "Predict video" does: a short clip in, the video of its maps and a zip file out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stablemtl.app.downloads import zip_folder
from stablemtl.app.limits import Limits
from stablemtl.app.prediction import Choice, wanted
from stablemtl.app.shelf import Shelf
from stablemtl.video import VideoOptions, VideoProgress, predict_video

ZIP_NAME = "stablemtl_video.zip"
_MOST_FPS = 60  # frames of a video are refused beyond this rate: its length alone says nothing of the work

Progress = Callable[[float, str], None]
"""Called with the share that is done and what is being done."""


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What was made of a clip."""

    video: Path
    """Frames and maps side by side."""
    archive: Path
    """All videos, and what they mean, as a zip file."""
    summary: str
    """One line."""


def predict_clip(
    shelf: Shelf,
    limits: Limits,
    video: str | os.PathLike[str] | None,
    choice: Choice,
    folder: Path,
    progress: Progress | None = None,
) -> ClipResult:
    """Predict each frame of an uploaded video.

    Args:
        shelf: the models.
        limits: what is accepted.
        video: the file.
        choice: what is wanted.
        folder: where to write.
        progress: told how far it is.
    Raises:
        ValueError: no video, not a video, one too long or too large, or no task.
        ImportError: PyAV is not installed.
    """
    offer, tasks = wanted(shelf, choice)
    if video is None:
        raise ValueError("Choose a video first.")
    check_video(video, limits)
    options = VideoOptions(
        stop_s=limits.video_seconds,
        max_frames=math.ceil(limits.video_seconds * _MOST_FPS),
        single_stream=choice.single_stream,
        arrays=False,
        resume=False,
    )

    def report(state: VideoProgress) -> None:
        if progress is not None:
            share = state.done / state.total if state.total else 0.0
            text = "predicting" if state.stage == "predict" else f"drawing {state.stage.replace('_', ' ')}"
            progress(share, f"{text}, frame {state.done}")

    start = time.perf_counter()
    out = folder / "video"
    with shelf.use(offer.name) as pipe:
        made = predict_video(pipe, video, out, options, tasks=tasks, progress=report)
    seconds = time.perf_counter() - start
    archive = zip_folder(out, folder / ZIP_NAME)
    notes = " ".join(made.notes)
    summary = f"{made.frames} frames, {offer.name}, {seconds:.1f} s. {notes}".strip()
    return ClipResult(video=made.files["side_by_side"], archive=archive, summary=summary)


def check_video(path: str | os.PathLike[str], limits: Limits) -> None:
    """Refuse a video by what its head says, before a frame is decoded.

    Raises:
        ValueError: not a video, or one that is too long or whose frames are too large.
        ImportError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'stablemtl[video]'") from error
    try:
        with av.open(os.fspath(path)) as container:
            streams = container.streams.video
            if not streams:
                raise ValueError("The file has no pictures in it, only sound. Choose a video.")
            width, height = streams[0].codec_context.width, streams[0].codec_context.height
            seconds = _seconds(container, streams[0])
    except av.FFmpegError as error:
        raise ValueError(f"The file is not a video that can be read ({error.strerror}).") from error
    if seconds > limits.video_seconds + 0.5:  # the last frame may end a little later
        raise ValueError(
            f"The video is {seconds:.0f} s long; at most {limits.video_seconds:g} s are accepted here. "
            "Cut it, or use `stablemtl predict`."
        )
    if max(width, height) > limits.side_px:
        raise ValueError(
            f"The video has {width}x{height} px; at most {limits.side_px} px are accepted here. "
            "Make it smaller, or use `stablemtl predict`."
        )


def _seconds(container: object, stream: object) -> float:
    """The longest that any part of the head says, 0 where it says nothing."""
    said = [0.0]
    if (duration := getattr(container, "duration", None)) is not None:
        said.append(duration / 1e6)
    if (duration := getattr(stream, "duration", None)) is not None:
        said.append(float(duration * stream.time_base))  # type: ignore[attr-defined]
    return max(said)
