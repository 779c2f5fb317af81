"""Kills runs of a video at several moments, then lets one end. A process of its own: it dies many times.

Before, a run is tried while another one is at work in the same folder.

python resumed.py MODEL CLIP OUT TASK...
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stablemtl.pipeline import StableMTLPipeline
from stablemtl.video import VideoOptions, VideoProgress, predict_video
from stablemtl.video.record import WORK

OPTIONS = VideoOptions(chunk_frames=2, batch_size=2)
MOMENTS = [("predict", 1), ("predict", 3), ("predict", 5), ("shading", 3)]
"""Stage and frame at which each run is killed; then one is while files are moved to where they belong."""


def killed_at(stage: str, done: int) -> Callable[[VideoProgress], None]:
    def kill(progress: VideoProgress) -> None:
        if (progress.stage, progress.done) == (stage, done):
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def killed_while_moving() -> None:
    moved = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.suffix == ".mp4" and WORK not in Path(target).parts:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved(self, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]


def refused(pipe: StableMTLPipeline, clip: str, out: str, tasks: tuple[str, ...]) -> str:
    """What a run is told while another one, which is then killed, is at work."""
    begun, begin = os.pipe()

    def wait(_: VideoProgress) -> None:
        os.write(begin, b".")
        signal.pause()

    child = os.fork()
    if child == 0:
        predict_video(pipe, clip, out, OPTIONS, tasks=tasks, progress=wait)
        os._exit(0)  # it did not wait
    os.read(begun, 1)
    try:
        predict_video(pipe, clip, out, OPTIONS, tasks=tasks)
    except BlockingIOError as error:
        return str(error)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    sys.exit("two runs wrote into one folder")


def main(model: str, clip: str, out: str, *tasks: str) -> None:
    pipe = StableMTLPipeline.from_pretrained(model)
    print(refused(pipe, clip, out, tasks))
    for stage, done in [*MOMENTS, ("moving", 0)]:
        child = os.fork()
        if child == 0:
            if stage == "moving":
                killed_while_moving()
            predict_video(pipe, clip, out, OPTIONS, tasks=tasks, progress=killed_at(stage, done))
            os._exit(0)  # it was not killed
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the run was not killed at {stage} {done}, status {status}")
    print(predict_video(pipe, clip, out, OPTIONS, tasks=tasks).resumed)


if __name__ == "__main__":
    main(*sys.argv[1:])
