"""``stablemtl predict`` of a video, the prediction itself left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stablemtl import video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Calls of ``predict_video``, which is stood in for; clip.mp4 is in the current folder."""
    from stablemtl.video.run import VideoProgress, VideoResult

    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").touch()
    seen: list[Any] = []

    def predict_video(pipe: Any, source: Any, out: Any, options: Any, *, tasks: Any, progress: Any) -> Any:
        seen.append((source, out, options, tasks))
        if options.every == 7:
            raise KeyboardInterrupt("interrupted; the same command goes on")
        for done in (1, 2):
            progress(VideoProgress(stage="predict", done=done, total=None))
        progress(VideoProgress(stage="depth", done=1, total=2))
        return VideoResult(
            folder=out,
            frames=2,
            resumed=1,
            files={"side_by_side": out / "side_by_side.mp4", "depth": out / "depth.mp4"},
            ranges={"depth": (1.0, 20.0)},
            change={"depth": {"as_predicted": 0.02, "as_written": float("nan")}},
            notes=("one frame was damaged",),
        )

    monkeypatch.setattr(video, "predict_video", predict_video, raising=False)
    return seen


def test_a_video(run: Run, calls: list[Any], tiny_folder: Path) -> None:
    arguments = ["--model", tiny_folder, "--tasks", "depth", "--processing-resolution", "32", "--overwrite"]
    status, stdout, stderr = run(
        "predict", "clip.mp4", *arguments, "--video.start-s", "1.5", "--batch-size", 3
    )
    assert status == 0
    ((source, out, options, tasks),) = calls
    assert (source, out, tasks) == (Path("clip.mp4"), Path("maps"), ("depth",))
    assert (options.start_s, options.processing_resolution, options.batch_size) == (1.5, 32, 3)
    assert options.resume is False
    for text in ("maps/depth.mp4", "1 to 20", "2.00%", "one frame was damaged", "2 frames, 1 of them by an"):
        assert text in stdout
    assert stderr.splitlines() == ["predict: frame 1", "depth: frame 1 of 2"]


def test_json(run: Run, calls: list[Any], tiny_folder: Path) -> None:
    status, stdout, _ = run("predict", "clip.mp4", "--model", tiny_folder, "--json")
    document = json.loads(stdout)
    assert status == 0
    assert (document["kind"], document["input"], document["frames"]) == ("video", "clip.mp4", 2)
    assert document["files"]["depth"] == "maps/depth.mp4"
    assert document["change"] == {"depth": {"as_predicted": 0.02, "as_written": None}}
    assert calls[0][2].batch_size == 1


def test_an_interruption_says_how_to_go_on(run: Run, calls: list[Any], tiny_folder: Path) -> None:
    status, _, stderr = run("predict", "clip.mp4", "--model", tiny_folder, "--video.every", "7")
    assert status == 130
    assert stderr == "stablemtl predict: interrupted; the same command goes on\n"
    assert len(calls) == 1
