"""Uploads: refused by their head, made smaller, or read as they are."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl.app.limits import Limits
from stablemtl.app.uploads import read_pair, read_picture

LIMITS = Limits(side_px=64, megapixels=0.01)  # 10 000 px


def picture(path: Path, width: int = 48, height: int = 32, mode: str = "RGB") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG whose head promises a huge picture, and which holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def test_a_small_picture_is_read_as_it_is(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    read = read_picture(path, LIMITS, name="The picture")
    assert (read.size, read.note) == ((32, 48), "")
    np.testing.assert_array_equal(read.pixels, np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_other_kinds_become_rgb(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        Image.fromarray(np.full((32, 48), 32768, dtype=np.uint16)).save(tmp_path / "a.png")
    else:
        picture(tmp_path / "a.png", mode=mode)
    read = read_picture(tmp_path / "a.png", LIMITS, name="The picture")
    assert (read.pixels.shape, read.pixels.dtype) == ((32, 48, 3), np.uint8)


def test_a_long_picture_is_made_smaller_and_says_so(tmp_path: Path) -> None:
    read = read_picture(picture(tmp_path / "a.png", 96, 48), LIMITS, name="The picture")
    assert read.size == (32, 64)
    assert read.note == "The picture has 96x48 px; it was made smaller, to 64x32 px."


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"The picture has 101x100 px; at most 0\.01 million pixels"):
        read_picture(picture(tmp_path / "a.png", 101, 100), LIMITS, name="The picture")


def test_a_decompression_bomb_is_refused_by_its_head(tmp_path: Path) -> None:
    """900 million pixels would be 2.7 GB; nothing is decoded, so the missing data is not even noticed."""
    with pytest.raises(ValueError, match="too large to be decoded; at most 64 million pixels"):
        read_picture(bomb(tmp_path / "a.png", 30000, 30000), Limits(), name="The picture")
    with pytest.raises(ValueError, match="has 12000x9000 px; at most 64 million"):
        read_picture(bomb(tmp_path / "b.png", 12000, 9000), Limits(), name="The picture")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_named_without_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="The picture is ") as caught:
        read_picture(path, LIMITS, name="The picture")
    assert str(tmp_path) not in str(caught.value)


def test_an_upload_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="The picture was removed after a long pause"):
        read_picture(tmp_path / "a.png", LIMITS, name="The picture")


def test_a_pair_must_be_of_one_size(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 32, 48)
    with pytest.raises(ValueError, match="size of the first, 48x32 px, got 32x48 px"):
        read_pair(first, second, LIMITS)
    a, b = read_pair(first, first, LIMITS)
    assert b is not None
    assert a.size == b.size == (32, 48)
    assert read_pair(first, None, LIMITS)[1] is None


def test_limits_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="concurrency must be above 0, got 0"):
        Limits(concurrency=0)
