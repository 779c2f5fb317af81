"""The second pass: videos from the arrays of the first, coloured over the range of the whole clip.

One video is encoded at a time, so that no more than one encoder and one chunk are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stablemtl.tasks.base import Task
from stablemtl.video.arrays import chunk_name, read_chunk
from stablemtl.video.frames import Clip, chosen
from stablemtl.video.grid import Grid
from stablemtl.video.legends import colours
from stablemtl.video.options import VideoOptions
from stablemtl.video.record import Work
from stablemtl.video.writing import VideoWriter
from stablemtl.writers import staged_file

SIDE_BY_SIDE = "side_by_side"


class Renderer:
    """Makes the videos of a predicted clip in its work folder.

    Args:
        tasks: those predicted.
        options: see :class:`VideoOptions`.
        work: where arrays are and videos go.
    """

    def __init__(self, tasks: Sequence[Task], options: VideoOptions, work: Work) -> None:
        self._tasks, self._options, self._work = list(tasks), options, work
        facts = work.predicted
        self._frames, self._per_file = int(facts["frames"]), int(facts["frames_per_file"])
        self._end_pts = int(facts["end_pts"])
        self._ranges: dict[str, tuple[float, float]] = {}
        for task in self._tasks:
            low, high = facts["tasks"][task.spec.name]["shown"] or task.spec.value_range
            self._ranges[task.spec.name] = (float(low), float(high))

    @property
    def names(self) -> list[str]:
        """The videos to make, without suffix."""
        return [SIDE_BY_SIDE, *(task.spec.name for task in self._tasks)]

    def render(self, name: str, clip: Clip, progress: Callable[[int], None]) -> None:
        """Make a video, unless it is there.

        Args:
            name: one of :attr:`names`.
            clip: the source, for the frames and their timestamps.
            progress: called with the number of frames done.
        """
        if self._work.video(name).is_file():
            progress(self._frames)
            return
        pages = self._side_by_side(clip) if name == SIDE_BY_SIDE else self._one_task(name)
        with staged_file(self._work.video(name)) as beside:
            writer: VideoWriter | None = None
            try:
                for done, (page, pts, duration) in enumerate(pages, start=1):
                    if writer is None:
                        writer = VideoWriter(
                            beside,
                            (page.shape[0], page.shape[1]),
                            time_base=clip.time_base,
                            rate=clip.rate,
                            codec=self._options.codec,
                            quality=self._options.quality,
                        )
                    writer.add(page, pts, duration)
                    progress(done)
                assert writer is not None, "a predicted clip has frames"
                writer.close()
            except BaseException:
                if writer is not None:
                    writer.abandon()
                raise

    def _one_task(self, name: str) -> Iterator[tuple[np.ndarray, int, int]]:
        task = next(task for task in self._tasks if task.spec.name == name)
        for picture, (pts, duration) in zip(self._coloured(task), self._timed(), strict=True):
            yield picture, pts, duration

    def _side_by_side(self, clip: Clip) -> Iterator[tuple[np.ndarray, int, int]]:
        maps = [self._coloured(task) for task in self._tasks]
        frames = (frame for frame in chosen(clip, self._options) if frame.inside)
        grid: Grid | None = None
        for frame, (pts, duration), *pictures in zip(frames, self._timed(), *maps, strict=True):
            if grid is None:
                grid = Grid(self._tasks, self._ranges, (frame.pixels.shape[0], frame.pixels.shape[1]))
            text = f"frame {frame.number} of {self._frames}, {float(frame.pts * clip.time_base):.2f} s"
            yield grid.page([frame.pixels, *pictures], text), pts, duration

    def _coloured(self, task: Task) -> Iterator[np.ndarray]:
        """The pictures of a task, (H, W, 3) uint8."""
        name = task.spec.name
        for first in range(0, self._frames, self._per_file):
            content = read_chunk(self._work.folder / name / chunk_name(first))
            for values, valid in zip(content["values"], content["valid"], strict=True):
                one = values.astype(np.int64 if values.dtype.kind in "iu" else np.float32)
                one = one if one.ndim == 3 else one[:, :, None]
                yield colours(task, one[None], valid[None], self._ranges[name])[0]

    def _timed(self) -> Iterator[tuple[int, int]]:
        """Timestamp, from the first frame on, and duration of each frame, in ticks."""
        name = self._tasks[0].spec.name
        parts = []
        for first in range(0, self._frames, self._per_file):
            with np.load(self._work.folder / name / chunk_name(first), allow_pickle=False) as archive:
                parts.append(archive["pts"])  # the rest of the file is not read
        pts = np.concatenate([*parts, [self._end_pts]])
        yield from zip((pts[:-1] - pts[0]).tolist(), np.diff(pts).tolist(), strict=True)
