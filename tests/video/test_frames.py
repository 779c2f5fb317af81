"""Which frames are taken, on a clip that exists as timestamps only; and pictures as a clip."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl.video.frames import RawFrame, chosen, expected, open_clip
from stablemtl.video.options import VideoOptions


class Times:
    """A clip of one-pixel frames."""

    name = "times"
    time_base = Fraction(1, 1000)
    notes: list[str] = []  # noqa: RUF012

    def __init__(self, times_ms: list[int], rate: int = 10) -> None:
        self.times_ms, self.rate = times_ms, Fraction(rate)
        self.converted: list[int] = []

    def raw(self, start_s: float) -> Iterator[RawFrame]:
        for pts in self.times_ms:
            yield RawFrame(pts=pts, pixels=lambda pts=pts: self._pixels(pts))  # type: ignore[misc]

    def _pixels(self, pts: int) -> np.ndarray:
        self.converted.append(pts)
        return np.zeros((1, 1, 3), np.uint8)

    def identity(self) -> dict[str, object]:
        return {}

    def expected(self) -> int | None:
        return len(self.times_ms)


REGULAR = list(range(0, 1000, 100))


@pytest.mark.parametrize(
    ("options", "taken", "after"),
    [
        ({}, REGULAR, None),
        ({"every": 3}, [0, 300, 600, 900], None),
        ({"max_frames": 2}, [0, 100], 200),
        ({"max_frames": 10}, REGULAR, None),
        ({"every": 4, "max_frames": 2}, [0, 400], 800),
        ({"start_s": 0.25}, [300, 400, 500, 600, 700, 800, 900], None),
        ({"start_s": 0.3, "stop_s": 0.5}, [300, 400], 500),
        ({"stop_s": 5.0}, REGULAR, None),
        ({"fps": 5.0}, [0, 200, 400, 600, 800], None),
        ({"fps": 4.0}, [0, 300, 500, 800], None),
        ({"fps": 100.0}, REGULAR, None),
        ({"fps": 10.0 / 3, "start_s": 0.1}, [100, 400, 700], None),
        ({"start_s": 3.0}, [], None),
        ({"start_s": 0.15, "stop_s": 0.18}, [], None),
    ],
)
def test_choice(options: dict[str, float], taken: list[int], after: int | None) -> None:
    clip = Times(REGULAR)
    frames = list(chosen(clip, VideoOptions(**options)))  # type: ignore[arg-type]
    assert [frame.pts for frame in frames if frame.inside] == taken
    assert [frame.pts for frame in frames if not frame.inside] == ([] if after is None else [after])
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert clip.converted == [frame.pts for frame in frames]  # nothing else is made RGB


def test_a_lower_rate_goes_by_time_not_by_number() -> None:
    clip = Times([0, 10, 20, 500, 510, 1000])
    frames = chosen(clip, VideoOptions(fps=2.0))
    assert [frame.pts for frame in frames] == [0, 500, 1000]


def test_frames_that_are_done_are_not_converted() -> None:
    clip = Times(REGULAR)
    frames = list(chosen(clip, VideoOptions(max_frames=6), first=4))
    assert [(frame.number, frame.pts, frame.inside) for frame in frames] == [
        (4, 400, True),
        (5, 500, True),
        (6, 600, False),
    ]
    assert clip.converted == [400, 500, 600]
    # all done: the frame after the last is still told, for the duration of the last
    assert [frame.number for frame in chosen(clip, VideoOptions(max_frames=6), first=6)] == [6]


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 10), ({"every": 2}, 5), ({"max_frames": 3}, 3), ({"stop_s": 0.5}, 5), ({"fps": 2.0}, 2)],
)
def test_expected(options: dict[str, float], count: int) -> None:
    assert expected(Times(REGULAR), VideoOptions(**options)) == count  # type: ignore[arg-type]


def save(path: Path, value: int, size: tuple[int, int] = (10, 14)) -> None:
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        save(tmp_path / f"frame{number}.png", number)
    save(tmp_path / ".frame1.png", 1)
    (tmp_path / "notes.txt").write_text("not a picture", encoding="utf-8")
    options = VideoOptions(frame_rate=5.0)
    clip = open_clip(tmp_path, options)
    frames = list(chosen(clip, options))
    assert [frame.pixels[0, 0, 0] for frame in frames] == [2, 9, 10]
    assert [float(frame.pts * clip.time_base) for frame in frames] == pytest.approx([0.0, 0.2, 0.4])
    assert frames[0].pixels.shape == (10, 14, 3)
    assert expected(clip, options) == 3
    listed = open_clip([tmp_path / "frame10.png", tmp_path / "frame2.png"], options)
    assert [frame.pixels[0, 0, 0] for frame in chosen(listed, options)] == [10, 2]
    assert listed.identity() != clip.identity()


def test_grey_and_deep_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.full((10, 14), 7, np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.full((10, 14), 257 * 9, np.uint16)).save(tmp_path / "2.png")
    options = VideoOptions()
    first, second = chosen(open_clip(tmp_path, options), options)
    assert (first.pixels == 7).all()
    assert (second.pixels == 9).all()
    assert first.pixels.shape == second.pixels.shape == (10, 14, 3)


def test_wrong_folders(tmp_path: Path) -> None:
    options = VideoOptions()
    with pytest.raises(ValueError, match=r"the folder .* holds no pictures; expected frames such as"):
        open_clip(tmp_path, options)
    with pytest.raises(ValueError, match="the list of pictures holds no pictures"):
        open_clip([], options)
    save(tmp_path / "1.png", 0)
    save(tmp_path / "2.png", 0, size=(10, 15))
    with pytest.raises(ValueError, match=r"frame .*2\.png is 15x10 px .*, those before it 14x10"):
        list(chosen(open_clip(tmp_path, options), options))
