"""Frames of a call: each is read once, and kept no longer than needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl import frames
from stablemtl.frames import FrameReader

A, B, C = (np.full((10, 14, 3), value, np.uint8) for value in (0, 51, 255))


def reader(pairs: list, resolution: int = 0, explicit: bool = False) -> FrameReader:
    return FrameReader(pairs, resolution, explicit=explicit, cell=4)


def test_a_frame_is_read_once_and_kept_until_its_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_pixels = frames.read_pixels
    monkeypatch.setattr(
        frames, "read_pixels", lambda source, name: read.append(name) or read_pixels(source, name=name)
    )
    pairs = [(A, B), (B, C), (C, A), (A, None)]
    source = reader(pairs)
    found = []
    kept = []
    for i, (first, second) in enumerate(pairs):
        found.append(source.pair(first, second, f"[{i}]"))
        kept.append(len(source._read))
    assert read == ["image[0]", "image_next[0]", "image_next[1]"]
    assert kept == [2, 2, 1, 0]
    assert found[0][1] is found[1][0]
    assert found[3] == (found[0][0], None)


def test_what_is_read(tmp_path: Path) -> None:
    Image.fromarray(B).save(tmp_path / "b.png")
    source = reader([(tmp_path / "b.png", str(tmp_path / "b.png"))], resolution=28)
    first, second = source.pair(tmp_path / "b.png", str(tmp_path / "b.png"))
    assert first is second  # the same file, however it is written
    assert (first.size, first.processed) == ((10, 14), (20, 28))
    assert first.pixels is not None
    assert first.pixels.shape == (3, 20, 28)
    assert first.pixels.unique().tolist() == pytest.approx([0.2])
    assert first.picture.size == (14, 10)
    assert first.latent is None


def test_equal_arrays_are_different_images() -> None:
    twin = A.copy()
    first, second = reader([(A, twin)]).pair(A, twin)
    assert first is not second


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"image_next\[2\] must have the size of image\[2\], 14x10 px"):
        reader([(A, B[1:])]).pair(A, B[1:], "[2]")
    with pytest.raises(ValueError, match=r"image is 14x10 px .* which is 4x3 px .* at least 4 px"):
        reader([(A, None)], resolution=4).pair(A, None)
