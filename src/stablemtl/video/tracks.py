"""What is kept of each task while a clip is predicted: smoothing, figures, and the chunk being filled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stablemtl.outputs import Predictions
from stablemtl.tasks.base import Task
from stablemtl.video.arrays import Chunk, chunk_name, stored_type
from stablemtl.video.consistency import Consistency
from stablemtl.video.motion import Motion, grey_of, motion_between, motion_size
from stablemtl.video.options import VideoOptions
from stablemtl.video.ranges import ClipRange
from stablemtl.video.record import Work
from stablemtl.video.smoothing import CUT_AGREEMENT, Smoother

CHUNK_BYTES = 64 << 20
"""Bytes of arrays that a chunk may hold in memory; it takes fewer frames where they are large."""

LAST_FRAME_NOTE = "last frame of the video: shows no motion"
"""Note on a motion map of a frame that nothing follows."""


@dataclass
class Track:
    """One task."""

    task: Task
    dtype: np.dtype
    """Number type of its arrays."""
    smoother: Smoother
    range: ClipRange
    before: Consistency = field(default_factory=Consistency)
    """Of the maps as predicted."""
    after: Consistency = field(default_factory=Consistency)
    """Of the maps given out."""

    def state(self) -> dict[str, np.ndarray]:
        """What :meth:`restore` needs to go on."""
        kept = {
            "last": self.smoother.last,
            "votes": self.smoother.votes,
            "before_last": self.before.last,
            "after_last": self.after.last,
        }
        arrays = {name: array for name, array in kept.items() if array is not None}
        sums = [self.before.total, self.before.pixels, self.after.total, self.after.pixels]
        return {**arrays, "sums": np.array(sums, np.float64), "counts": self.range.counts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on after the frame that ``state`` was taken of."""
        self.smoother.last, self.smoother.votes = state.get("last"), state.get("votes")
        self.before.last, self.after.last = state.get("before_last"), state.get("after_last")
        before, before_pixels, after, after_pixels = state["sums"].tolist()
        self.before.total, self.before.pixels = before, int(before_pixels)
        self.after.total, self.after.pixels = after, int(after_pixels)
        self.range.counts = state["counts"]


class Tracks:
    """All tasks of a clip.

    Args:
        tasks: those wanted.
        options: see :class:`VideoOptions`.
        work: where chunks go.
        size: (H, W) of the maps.
        processed: (h, w) at which the network runs.
        time_base: of the clip's timestamps [s].
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        options: VideoOptions,
        work: Work,
        *,
        size: tuple[int, int],
        processed: tuple[int, int],
        time_base: float,
    ) -> None:
        self._time_base = time_base
        self.size, self.processed = size, processed
        self.done = 0
        """Frames added, those of finished chunks included."""
        self.last_pts = 0
        """Timestamp of the last of them."""
        self._work = work
        self._motion_size = motion_size(size)
        self._grey: np.ndarray | None = None
        growth = max(size[0] / processed[0], size[1] / processed[1])
        constant = 0.0 if options.smoothing == "none" else options.smoothing_constant
        self.tracks: dict[str, Track] = {}
        for task in tasks:
            clip_range = ClipRange(task.spec, growth)
            dtype = stored_type(task.spec, options.array_type, max(map(abs, clip_range.limits)))
            smoother = Smoother(task.spec, constant, dtype)
            self.tracks[task.spec.name] = Track(task, dtype, smoother, clip_range)
        frame_bytes = math.prod(size) * sum(
            track.task.spec.channels * track.dtype.itemsize + 1 for track in self.tracks.values()
        )
        self.chunk_frames = max(1, min(options.chunk_frames, CHUNK_BYTES // frame_bytes))
        self._new_chunk()

    @classmethod
    def from_state(
        cls, tasks: Sequence[Task], options: VideoOptions, work: Work, state: Mapping[str, np.ndarray]
    ) -> Tracks:
        """As they were when a chunk was finished."""
        done, *sizes = state["done_and_sizes"].tolist()
        tracks = cls(
            tasks,
            options,
            work,
            size=(sizes[0], sizes[1]),
            processed=(sizes[2], sizes[3]),
            time_base=float(state["time_base"]),
        )
        tracks._grey = state["grey"]
        tracks.done, tracks.last_pts = done, int(state["last_pts"])
        for name, track in tracks.tracks.items():
            prefix = f"{name}/"
            own = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
            track.restore(own)
        tracks._new_chunk()
        return tracks

    @property
    def left_in_chunk(self) -> int:
        """Frames until the chunk is full."""
        return self.chunk_frames - len(self._pts)

    def add(self, pixels: np.ndarray, pts: int, maps: Predictions, *, alone: bool) -> None:
        """Smooth, measure and keep the maps of the next frame.

        Args:
            pixels: the frame, (.., .., 3) uint8.
            pts: when it is shown, in ticks of the clip.
            maps: of the frame.
            alone: no frame follows, so that motion maps mean nothing.
        """
        grey = grey_of(pixels, self.size)
        motion = None if self._grey is None else motion_between(self._grey, grey)
        if motion is not None and motion.agreement < CUT_AGREEMENT:
            motion = None
        for name, track in self.tracks.items():
            prediction = maps[name]
            values = prediction.values if prediction.values.ndim == 3 else prediction.values[:, :, None]
            still = alone and track.task.spec.frames == 2
            chunk = self._chunks[name]
            chunk.valid.append(prediction.valid)
            chunk.values.append(self._smoothed(track, values, None if still else motion, still))
            chunk.scale.append(track.smoother.scale)
            chunk.shift.append(track.smoother.shift)
            if still:
                chunk.notes[str(self.done)] = LAST_FRAME_NOTE
        self._pts.append(pts)
        self.last_pts = pts
        self._grey = grey
        self.done += 1
        if not self.left_in_chunk:
            self.finish_chunk()

    def _smoothed(self, track: Track, values: np.ndarray, motion: Motion | None, still: bool) -> np.ndarray:
        """The values to be kept, (H, W, C) of the type stored."""
        smooth = track.smoother.step(values, motion)
        if not still:  # it would be compared with motion, and have its range
            track.before.add(values, motion, self._motion_size)
            track.after.add(smooth, motion, self._motion_size)
            track.range.add(smooth)
        return smooth.astype(track.dtype)

    def finish_chunk(self) -> None:
        """Write the frames added since the last chunk, if any, and record that they are done."""
        if not self._pts:
            return
        first, files = self.done - len(self._pts), []
        for name, chunk in self._chunks.items():
            path = self._work.folder / name / chunk_name(first)
            chunk.write(path, self.tracks[name].task, self._pts, self._time_base)
            files.append(path)
        self._work.add_chunk(first, len(self._pts), files, self._state())
        self._new_chunk()

    def _new_chunk(self) -> None:
        self._pts: list[int] = []
        self._chunks = {name: Chunk(first=self.done) for name in self.tracks}

    def _state(self) -> dict[str, np.ndarray]:
        state = {
            "done_and_sizes": np.array([self.done, *self.size, *self.processed]),
            "last_pts": np.array(self.last_pts),
            "time_base": np.array(self._time_base),
        }
        if self._grey is not None:
            state["grey"] = self._grey
        for name, track in self.tracks.items():
            state |= {f"{name}/{key}": array for key, array in track.state().items()}
        return state

    def facts(self) -> dict[str, Any]:
        """What the clip's description says of each task."""
        return {name: self._facts_of(track) for name, track in self.tracks.items()}

    def _facts_of(self, track: Track) -> dict[str, Any]:
        spec, spread = track.task.spec, track.range.spread
        shown = track.range.shown
        change = {"as_predicted": track.before.change(spread), "as_written": track.after.change(spread)}
        return {
            "unit": spec.unit,
            "convention": spec.convention,
            "scale_known": spec.scale_known,
            "shift_known": spec.shift_known,
            "encoding": dict(track.task.options),
            "dtype": str(track.dtype),
            "channels": spec.channels,
            "shown": None if shown is None else [round(end, 6) for end in shown],
            "spread": round(spread, 6),
            "change": {name: round(x, 6) if math.isfinite(x) else None for name, x in change.items()},
        }
