"""Videos: refused by their head, or predicted frame by frame with a tiny model."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stablemtl.app.limits import Limits
from stablemtl.app.prediction import Choice
from stablemtl.app.shelf import Shelf
from stablemtl.app.videos import check_video, predict_clip

av = pytest.importorskip("av", reason="videos need PyAV")


def clip(path: Path, frames: int = 4, rate: int = 4, size: tuple[int, int] = (32, 48)) -> Path:
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def choice(shelf: Shelf) -> Choice:
    return Choice(model=next(iter(shelf.offers)), tasks=("depth",), single_stream=True)


def test_a_clip_becomes_a_video_and_a_zip(shelf: Shelf, choice: Choice, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    made = predict_clip(
        shelf, Limits(), clip(tmp_path / "a.mp4"), choice, tmp_path, lambda *state: told.append(state)
    )
    assert made.summary.startswith("4 frames, ")
    with av.open(str(made.video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4
    with zipfile.ZipFile(made.archive) as archive:
        assert {"side_by_side.mp4", "depth.mp4", "video.json"} <= set(archive.namelist())
    assert told[0][1].startswith("predicting, frame")
    assert all(0 <= share <= 1 for share, _ in told)


@pytest.mark.parametrize(
    ("frames", "rate", "size", "limits", "message"),
    [
        (12, 4, (32, 48), Limits(video_seconds=2), r"is 3 s long; at most 2 s are accepted"),
        (2, 4, (32, 48), Limits(side_px=40), r"has 48x32 px; at most 40 px"),
    ],
)
def test_a_clip_beyond_the_limits_is_refused(
    tmp_path: Path, frames: int, rate: int, size: tuple[int, int], limits: Limits, message: str
) -> None:
    path = clip(tmp_path / "a.mp4", frames, rate, size)
    with pytest.raises(ValueError, match=message):
        check_video(path, limits)
    check_video(path, Limits())


def test_what_is_no_video_is_refused(shelf: Shelf, choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    with pytest.raises(ValueError, match="not a video that can be read"):
        predict_clip(shelf, Limits(), tmp_path / "a.mp4", choice, tmp_path)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="only sound"):
        predict_clip(shelf, Limits(), tmp_path / "sound.mp4", choice, tmp_path)
    with pytest.raises(ValueError, match="Choose a video first"):
        predict_clip(shelf, Limits(), None, choice, tmp_path)
    with pytest.raises(ValueError, match="Choose at least one map"):
        predict_clip(shelf, Limits(), tmp_path / "a.mp4", replace(choice, tasks=()), tmp_path)
    assert not (tmp_path / "video").exists()
