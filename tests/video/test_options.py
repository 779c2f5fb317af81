"""What counts as a video, which options make sense, and how light both are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import tyro

from stablemtl.video import VIDEO_SUFFIXES, VideoOptions, is_video

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_is_video_goes_by_the_name() -> None:
    assert is_video("a/holiday.MP4")
    assert is_video(Path("clip.mkv"))
    assert not any(map(is_video, ("a.jpg", "a.gif", "mp4", "clip.mp4/frames", "")))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_SUFFIXES)


def test_options_are_frozen_and_every_one_is_described() -> None:
    options = VideoOptions()
    with pytest.raises(FrozenInstanceError):
        options.every = 2  # type: ignore[misc]
    assert tyro.cli(VideoOptions, args=["--stop-s", "2.5", "--every", "3"]) == VideoOptions(
        stop_s=2.5, every=3
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start_s": -1.0}, r"start_s must be 0 s or more, got -1\.0"),
        ({"every": 0}, "every must be 1 or more, got 0"),
        ({"fps": 0.0}, r"fps must be above 0, got 0\.0"),
        ({"max_frames": 0}, "max_frames must be 1 or more"),
        ({"smoothing_constant": 1.0}, r"smoothing_constant must be 0 to 0\.95, got 1\.0"),
        ({"chunk_frames": 0}, "chunk_frames must be 1 or more"),
        ({"quality": 52}, "quality must be 0 to 51"),
        ({"frame_rate": float("nan")}, "frame_rate must be above 0"),
        ({"start_s": 3.0, "stop_s": 3.0}, "stop_s must be after start_s=3, got 3"),
        ({"fps": 5.0, "every": 2}, "fps and every exclude each other"),
        ({"every": 0, "quality": -1}, "every must be .*; quality must be"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoOptions(**wrong)  # type: ignore[arg-type]


def test_asking_is_light() -> None:
    """The command line asks before it loads anything."""
    code = (
        "import sys; from stablemtl.video import VideoOptions, is_video; is_video('a.mp4'); VideoOptions();"
        "print([name for name in ('torch', 'av', 'cv2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
