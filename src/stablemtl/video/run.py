"""A video in, a folder of videos and arrays out."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemtl import __version__
from stablemtl.tasks.base import Task
from stablemtl.video.arrays import VIDEO_FILE, array_files
from stablemtl.video.frames import Clip, Source, expected, open_clip
from stablemtl.video.identity import model_identity
from stablemtl.video.options import VideoOptions
from stablemtl.video.predicting import Predictor
from stablemtl.video.record import Work, facts_of, fingerprint_of, read_json, write_json
from stablemtl.video.rendering import Renderer
from stablemtl.video.writing import require_encoder
from stablemtl.writers import locked_folder

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoProgress:
    """How far a run has come."""

    stage: str
    """``predict``, or the name of the video that is being written."""
    done: int
    """Frames."""
    total: int | None
    """Frames expected, while predicting about; None where the source does not say."""


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What was written."""

    folder: Path
    frames: int
    resumed: int
    """Frames that an earlier run had predicted."""
    files: Mapping[str, Path]
    """Name -> file: ``side_by_side`` and each task, their videos; ``video``, the description."""
    ranges: Mapping[str, tuple[float, float] | None]
    """Task -> what its colours span in all frames [unit]; None for class ids."""
    change: Mapping[str, Mapping[str, float | None]]
    """Task -> ``as_predicted`` and ``as_written``: mean change from frame to frame along the motion, relative
    to the range; see :mod:`stablemtl.video.consistency`."""
    notes: tuple[str, ...]
    """What was wrong with the source; empty if nothing."""


def predict_video(
    pipe: StableMTLPipeline,
    source: Source,
    out: str | os.PathLike[str],
    options: VideoOptions | None = None,
    *,
    tasks: str | Sequence[str] | None = None,
    progress: Callable[[VideoProgress], None] | None = None,
) -> VideoResult:
    """Predict every frame of a video, and write videos and arrays.

    ``out`` receives ``side_by_side.mp4`` (frame and maps in a grid with legends), ``<task>.mp4``, the values
    in ``<task>/NNNNNN.npz`` (:mod:`stablemtl.video.arrays`) and ``video.json``, which describes them all.
    The videos keep the frames' timestamps, also where these are irregular, and have no sound. Colours have
    one range over the clip. Each frame is seen together with the next one taken; the last, which none
    follows, alone, and its motion maps carry a note.

    Memory does not grow with the length: maps go to files in chunks. An interrupted run is continued by the
    same call, and gives the same files as one that was not interrupted. Nothing appears in ``out`` but a
    hidden folder of work before all is done.

    Args:
        pipe: the model.
        source: a video file (how it is read: :mod:`stablemtl.video.files`); or a folder, or a list, of
            pictures of one size, shown at ``options.frame_rate``.
        out: made if missing; other files in it stay.
        options: see :class:`VideoOptions`.
        tasks: names of the maps wanted; all the model knows by default.
        progress: called after each frame.
    Raises:
        FileNotFoundError: no such video.
        FileExistsError: ``out`` is a file.
        BlockingIOError: another run writes into ``out``.
        ImportError: PyAV is not installed.
        ValueError: not a video, no frame in it, an unknown task or encoder.
        KeyboardInterrupt: interrupted; its message says how to go on.
    """
    options = options or VideoOptions()
    folder = Path(out)
    wanted = _wanted(pipe.tasks, tasks)
    require_encoder(options.codec)
    clip = open_clip(source, options)
    fingerprint = fingerprint_of(
        source=clip.identity(),
        options={name: value for name, value in asdict(options).items() if name != "resume"},
        tasks={task.spec.name: task.options for task in wanted},
        model=model_identity(pipe),
        version=__version__,
    )

    def report(stage: str, total: int | None) -> Callable[[int], None]:
        def say(done: int) -> None:
            if progress is not None:
                progress(VideoProgress(stage=stage, done=done, total=total))

        return say

    with locked_folder(folder):
        if options.resume and (finished := _finished(folder, fingerprint)):
            logger.info("%s is there already", folder)
            return _result(folder, finished, resumed=int(finished["frames"]))
        work = Work(folder, fingerprint, resume=options.resume)
        try:
            resumed = _make(pipe, wanted, clip, options, work, report)
            description = _deliver(folder, work)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(
                f"interrupted; what is predicted is kept in {work.folder}, the same command goes on from "
                "there"
            ) from stop
        except ValueError:  # of the source: no frame, or one that cannot be used
            work.remove_if_nothing_is_done()
            raise
    return _result(folder, description, resumed=resumed)


def _make(
    pipe: StableMTLPipeline,
    tasks: list[Task],
    clip: Clip,
    options: VideoOptions,
    work: Work,
    report: Callable[[str, int | None], Callable[[int], None]],
) -> int:
    """Both passes, and the description, into the work folder; returns how many frames were there already."""
    if work.description:  # made, and not yet delivered as a whole
        return int(work.description["frames"])

    # 1. Predict.
    predictor = Predictor(
        pipe, [task.spec.name for task in tasks], options, work, report("predict", expected(clip, options))
    )
    resumed = predictor.resumed
    if not work.predicted:
        predictor.run(clip)
    facts = work.predicted

    # 2. Colour and encode.
    renderer = Renderer(tasks, options, work)
    for name in renderer.names:
        renderer.render(name, clip, report(name, int(facts["frames"])))

    # 3. Describe.
    arrays = None
    if options.arrays:
        arrays = {
            "frames_per_file": facts["frames_per_file"],
            "bytes": sum(file.stat().st_size for task in tasks for file in work.arrays(task.spec.name)),
        }
    description = {
        "source": clip.name,
        "rate": str(clip.rate),
        "time_base": str(clip.time_base),
        "frames": facts["frames"],
        "size": facts["size"],
        "processed_size": facts["processed_size"],
        "notes": facts["notes"],
        "videos": {f"{name}.mp4": facts_of(work.video(name)) for name in renderer.names},
        "arrays": arrays,
        "tasks": facts["tasks"],
        "model": str(pipe.config.get("_name_or_path") or ""),
        "stablemtl": __version__,
        "options": asdict(options),
        "fingerprint": work.fingerprint,
    }
    work.describe(description)
    return resumed


def _deliver(folder: Path, work: Work) -> dict[str, Any]:
    """Move what is made to where it belongs, the description last. May be interrupted, and repeated."""
    description = work.description
    (folder / VIDEO_FILE).unlink(missing_ok=True)
    for name in description["tasks"]:
        made, target = work.arrays(name), folder / name
        if description["arrays"]:
            target.mkdir(exist_ok=True)
            for file in made:
                file.replace(target / file.name)
        for old in target.glob(f"{'[0-9]' * 6}.npz"):  # of an earlier, longer clip
            if old.name not in array_files(description):
                old.unlink()
    for name in description["videos"]:
        video = work.video(Path(name).stem)
        if video.is_file():
            video.replace(folder / name)
    write_json(folder / VIDEO_FILE, description)
    shutil.rmtree(work.folder)
    return description


def _finished(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The description in ``folder``, if it is of this run and its files are there as they were written."""
    description = read_json(folder / VIDEO_FILE)
    if description.get("fingerprint") != fingerprint:
        return None
    for name, facts in description["videos"].items():
        if not (folder / name).is_file() or facts_of(folder / name) != facts:
            return None
    files = [folder / task / name for task in description["tasks"] for name in array_files(description)]
    there = sum(file.stat().st_size for file in files if file.is_file())
    return description if not files or there == description["arrays"]["bytes"] else None


def _result(folder: Path, description: Mapping[str, Any], *, resumed: int) -> VideoResult:
    tasks = description["tasks"]
    files = {Path(name).stem: folder / name for name in description["videos"]}
    return VideoResult(
        folder=folder,
        frames=int(description["frames"]),
        resumed=resumed,
        files=files | {"video": folder / VIDEO_FILE},
        ranges={name: tuple(facts["shown"]) if facts["shown"] else None for name, facts in tasks.items()},
        change={name: facts["change"] for name, facts in tasks.items()},
        notes=tuple(description["notes"]),
    )


def _wanted(known: Mapping[str, Task], tasks: str | Sequence[str] | None) -> list[Task]:
    """The tasks asked for, in the order given.

    Raises:
        ValueError: none, or one that the model does not know.
    """
    names = (
        list(known) if tasks is None else [tasks] if isinstance(tasks, str) else list(dict.fromkeys(tasks))
    )
    choices = ", ".join(sorted(known))
    if not names:
        raise ValueError(f"tasks is empty; choose from {choices}, or leave it out for all.")
    for name in names:
        if name not in known:
            raise ValueError(f"unknown task {name!r}; choose from {choices}")
    return [known[name] for name in names]
