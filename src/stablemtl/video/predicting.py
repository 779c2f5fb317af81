"""The first pass over a clip: maps of every frame, smoothed, into files of a few frames each.

Frames are decoded one at a time, each is encoded once and serves as second frame of one pair and as first of
the next. What is held at any time does not depend on the clip's length: one chunk of maps, the frame before,
running sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stablemtl.outputs import Predictions
from stablemtl.video.frames import Clip, ClipFrame, chosen
from stablemtl.video.options import VideoOptions
from stablemtl.video.record import Work
from stablemtl.video.tracks import Tracks

if TYPE_CHECKING:
    from stablemtl.frames import Frame
    from stablemtl.pipeline import StableMTLPipeline


class Predictor:
    """Predicts a clip into the work folder.

    Args:
        pipe: the model.
        tasks: names of the maps wanted.
        options: see :class:`VideoOptions`.
        work: where to; a run recorded there is continued.
        progress: called with the number of frames done.
    """

    def __init__(
        self,
        pipe: StableMTLPipeline,
        tasks: Sequence[str],
        options: VideoOptions,
        work: Work,
        progress: Callable[[int], None],
    ) -> None:
        self._pipe, self._names, self._options = pipe, list(tasks), options
        self._work, self._progress = work, progress
        self._tasks = [pipe.tasks[name] for name in self._names]
        self._time_base = 0.0
        done, state = work.finished_chunks()
        self.resumed = done
        """Frames that were there already."""
        self._tracks = Tracks.from_state(self._tasks, options, work, state) if done else None

    def run(self, clip: Clip) -> None:
        """Predict what is missing, and note that the clip has ended.

        Raises:
            ValueError: the clip has no frame, or one that cannot be used.
        """
        self._time_base = float(clip.time_base)
        self._progress(self.resumed)
        waiting: list[tuple[ClipFrame, Frame]] = []  # the last of them has not seen its successor
        for frame in chosen(clip, self._options, first=self.resumed):
            encoded = self._pipe.encode(
                frame.pixels,
                processing_resolution=self._options.processing_resolution,
                codec_tile=self._options.codec_tile,
            )
            waiting.append((frame, encoded))
            if self._is_full(len(waiting) - 1):
                self._predict_pairs(waiting)
                waiting = waiting[-1:]
        self._predict_pairs(waiting)
        if waiting and waiting[-1][0].inside:  # nothing follows it
            frame, encoded = waiting[-1]
            self._take(frame, encoded, self._call([encoded], None)[0], alone=True)
        if self._tracks is None:
            raise ValueError(self._why_nothing(clip))
        self._tracks.finish_chunk()
        tracks = self._tracks
        followed = bool(waiting) and not waiting[-1][0].inside
        usual = max(1, round(1 / (clip.rate * clip.time_base)))  # how long a frame is shown [ticks]
        self._work.note_predicted(
            {
                "frames": tracks.done,
                "end_pts": waiting[-1][0].pts if followed else tracks.last_pts + usual,
                "size": list(tracks.size),
                "processed_size": list(tracks.processed),
                "frames_per_file": tracks.chunk_frames,
                "notes": clip.notes,
                "tasks": tracks.facts(),
            }
        )

    def _is_full(self, pairs: int) -> bool:
        """Whether the pairs so far are a batch, or end a chunk.

        Batches begin anew with each chunk, so that a run continued there computes the same ones.
        """
        left = 1 if self._tracks is None else self._tracks.left_in_chunk
        return pairs > 0 and (pairs == self._options.batch_size or pairs == left)

    def _predict_pairs(self, waiting: list[tuple[ClipFrame, Frame]]) -> None:
        """All frames but the last, each with the one after it."""
        encoded = [one for _, one in waiting]
        if len(encoded) < 2:
            return
        maps = self._call(encoded[:-1], encoded[1:])
        for (frame, own), one in zip(waiting, maps, strict=False):
            self._take(frame, own, one, alone=False)

    def _call(self, frames: list[Frame], following: list[Frame] | None) -> list[Predictions]:
        options = self._options
        return self._pipe(
            frames,
            following,
            self._names,
            match_input_resolution=options.match_input_resolution,
            single_stream=options.single_stream or None,  # unless it was optimised so
            batch_size=options.batch_size,
            batch_tasks=options.batch_tasks,
            codec_tile=options.codec_tile,
        )

    def _take(self, frame: ClipFrame, encoded: Frame, maps: Predictions, *, alone: bool) -> None:
        if self._tracks is None:
            size = next(iter(maps.values())).size
            self._tracks = Tracks(
                self._tasks,
                self._options,
                self._work,
                size=size,
                processed=encoded.processed,
                time_base=self._time_base,
            )
        self._tracks.add(frame.pixels, frame.pts, maps, alone=alone)
        self._progress(self._tracks.done)

    def _why_nothing(self, clip: Clip) -> str:
        options = self._options
        if options.start_s > 0 or options.stop_s is not None:
            end = "its end" if options.stop_s is None else f"stop_s={options.stop_s:g}"
            return f"{clip.name} has no frame from start_s={options.start_s:g} to {end}. Choose another part."
        notes = f" ({'; '.join(clip.notes)})" if clip.notes else ""
        return f"{clip.name} has no frame that can be decoded{notes}. Copy or export it again."
