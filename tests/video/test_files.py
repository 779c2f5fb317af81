"""Video files of many kinds, whole and broken."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stablemtl.video.frames import chosen, expected, open_clip
from stablemtl.video.options import VideoOptions

WriteClip = Callable[..., Path]
BLUE, RED, BLACK = (20, 20, 220), (200, 30, 30), (0, 0, 0)


def frames_of(path: Path, **options: object) -> list[np.ndarray]:
    chosen_options = VideoOptions(**options)  # type: ignore[arg-type]
    return [frame.pixels for frame in chosen(open_clip(path, chosen_options), chosen_options)]


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours near the corners: upper left, upper right, lower right, lower left."""
    return [tuple(pixels[y, x].tolist()) for y, x in ((3, 3), (3, -4), (-4, -4), (-4, 3))]


def assert_close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], by: int = 4) -> None:
    assert np.abs(np.array(found) - np.array(wanted)).max() <= by, (found, wanted)


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("plain.mp4", {}),
        ("plain.mov", {}),
        ("plain.mkv", {}),
        ("broadcast.ts", {}),
        ("old.mpg", {"codec": "mpeg1video", "rate": 25, "options": {"q": "1"}}),
        ("web.webm", {"codec": "libvpx-vp9", "options": {"lossless": "1"}}),
        ("ten_bit.mp4", {"pixel_format": "yuv420p10le"}),
        ("full_colour.mkv", {"codec": "ffv1", "pixel_format": "bgr0", "options": {}}),
        ("odd.avi", {"codec": "ffv1", "pixel_format": "yuv444p", "size": (33, 47), "options": {}}),
    ],
)
def test_kinds_of_video(write_clip: WriteClip, tmp_path: Path, name: str, clip: dict[str, object]) -> None:
    path = write_clip(tmp_path / name, **clip)
    options = VideoOptions()
    opened = open_clip(path, options)
    frames = list(chosen(opened, options))
    assert len(frames) == 8
    assert expected(opened, options) in (None, 7, 8, 9)
    assert [frame.number for frame in frames] == list(range(8))
    assert all(frame.inside for frame in frames)
    rate = clip.get("rate", 10)
    times = [float(frame.pts * opened.time_base) for frame in frames]
    np.testing.assert_allclose(times, np.arange(8) / rate, atol=2e-3)
    for frame in frames:
        assert frame.pixels.shape == (*clip.get("size", (32, 48)), 3)
        assert frame.pixels.dtype == np.uint8
    assert_close(corners(frames[0].pixels), [BLUE, RED, BLACK, BLUE], by=8)
    assert opened.notes == []


def test_grey_becomes_three_equal_channels(write_clip: WriteClip, tmp_path: Path) -> None:
    (pixels, *_) = frames_of(write_clip(tmp_path / "grey.mkv", codec="ffv1", pixel_format="gray", options={}))
    assert pixels.shape == (32, 48, 3)
    assert (pixels == pixels[:, :, :1]).all()
    assert_close(corners(pixels)[1:3], [(81, 81, 81), BLACK])  # luma of the red: 0.299 R + 0.587 G + 0.114 B


@pytest.mark.parametrize(
    ("rotation", "wanted"),
    [
        (90, [RED, BLACK, BLUE, BLUE]),  # counter-clockwise: the right side comes to the top
        (-90, [BLUE, BLUE, RED, BLACK]),
        (180, [BLACK, BLUE, BLUE, RED]),
    ],
)
def test_rotation_is_applied(
    write_clip: WriteClip, tmp_path: Path, rotation: int, wanted: list[tuple[int, ...]]
) -> None:
    (pixels, *_) = frames_of(write_clip(tmp_path / "phone.mp4", rotation=rotation))
    assert pixels.shape == ((32, 48, 3) if rotation == 180 else (48, 32, 3))
    assert_close(corners(pixels), wanted)


def test_pixels_become_square(write_clip: WriteClip, tmp_path: Path) -> None:
    (pixels, *_) = frames_of(write_clip(tmp_path / "wide.mp4", aspect=Fraction(4, 3)))
    assert pixels.shape == (32, 64, 3)


def test_high_definition_without_a_tag_is_bt709(tmp_path: Path) -> None:
    """Decoded as BT.601, its red would be off by 20 levels and more."""
    path = tmp_path / "hd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 720, 16, "yuv444p"
        red = np.full((720, 16, 3), (200, 30, 30), np.uint8)
        frame = av.VideoFrame.from_ndarray(red, format="rgb24").reformat(
            format="yuv444p", dst_colorspace="ITU709"
        )
        frame.colorspace = 2
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (pixels,) = frames_of(path)
    assert_close([tuple(pixels[9, 9].tolist())], [RED])


def test_irregular_timestamps(write_clip: WriteClip, tmp_path: Path) -> None:
    times_ms = [0, 100, 150, 400, 1000, 1033, 1100, 1300]
    path = write_clip(tmp_path / "vfr.mp4", times_ms=times_ms)
    options = VideoOptions()
    clip = open_clip(path, options)
    found = [float(frame.pts * clip.time_base) * 1000 for frame in chosen(clip, options)]
    np.testing.assert_allclose(found, times_ms, atol=0.1)


def test_seeking_gives_the_same_frames(write_clip: WriteClip, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts"):
        path = write_clip(tmp_path / name, frames=40, options={"g": "5", "crf": "1"})
        every = frames_of(path)
        late = frames_of(path, start_s=2.3)
        assert len(every) == 40
        assert len(late) == 17
        np.testing.assert_array_equal(late[0], every[23])


def test_a_cut_file_is_read_as_far_as_it_goes(write_clip: WriteClip, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", frames=40, options={"g": "5"}).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    clip = open_clip(cut, VideoOptions())
    frames = list(chosen(clip, VideoOptions()))
    assert 5 <= len(frames) < 35
    (note,) = clip.notes
    assert note == f"ends early: {len(frames)} of about 40 frames could be read"


def test_damaged_frames_are_left_out(write_clip: WriteClip, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "whole.avi", codec="png", pixel_format="rgb24", options={})
    data = bytearray(path.read_bytes())
    third = [i for i in range(len(data)) if data[i : i + 4] == b"IHDR"][2]
    data[third + 4 : third + 12] = bytes(8)  # width and height
    path.write_bytes(data)
    clip = open_clip(path, VideoOptions())
    frames = list(chosen(clip, VideoOptions()))
    assert len(frames) == 7
    assert clip.notes == ["1 damaged frame left out"]


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])


def test_what_is_no_video_is_refused(write_clip: WriteClip, tmp_path: Path) -> None:
    empty, text, song, cut = (tmp_path / name for name in ("empty.mp4", "text.mp4", "song.mp4", "cut.mp4"))
    empty.touch()
    text.write_text("not a video " * 100, encoding="utf-8")
    audio_only(song)
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])  # the index is at the end
    options = VideoOptions()
    with pytest.raises(ValueError, match=r"empty\.mp4 is empty; expected a video\. Copy it again"):
        open_clip(empty, options)
    with pytest.raises(ValueError, match=r"text\.mp4 cannot be read as a video \(Invalid data"):
        open_clip(text, options)
    with pytest.raises(ValueError, match=r"cut\.mp4 cannot be read as a video .* It may be cut short"):
        open_clip(cut, options)
    with pytest.raises(ValueError, match=r"song\.mp4 has no video stream, only audio"):
        open_clip(song, options)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.mp4"):
        open_clip(tmp_path / "none.mp4", options)


def test_identity_changes_with_the_content(write_clip: WriteClip, tmp_path: Path) -> None:
    first, second = (write_clip(tmp_path / name, frames=n) for name, n in (("a.mp4", 3), ("b.mp4", 4)))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(first.read_bytes())
    identities = [open_clip(path, VideoOptions()).identity() for path in (first, second, copy)]
    assert identities[0] == identities[2] != identities[1]
