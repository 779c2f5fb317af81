from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from stablemtl.synth.textures import Textures, colour, noise, pattern, read_photo


def write_picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 50, 3), value, np.uint8))


def test_patterns_without_a_folder() -> None:
    textures = Textures()
    assert textures.photos == []
    assert textures.photo(np.random.default_rng(0)) is None
    drawn = textures.draw(np.random.default_rng(1))
    assert drawn.shape == (128, 128, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, textures.draw(np.random.default_rng(1)))


def test_every_pattern() -> None:
    for seed in range(30):
        image = pattern(np.random.default_rng(seed), size=32)
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert image.min() >= 5  # never black: albedo stays known
    assert 0 <= colour(np.random.default_rng(0)).min() <= colour(np.random.default_rng(0)).max() <= 1
    cloud = noise(np.random.default_rng(0), 20)
    assert (cloud.shape, float(cloud.min()), float(cloud.max())) == ((20, 20), 0.0, 1.0)


def test_crops_of_pictures(pictures: Path) -> None:
    textures = Textures(pictures, photo_share=1.0)
    crop = textures.photo(np.random.default_rng(0), (20, 30))
    assert crop is not None
    assert crop.shape == (20, 30, 3)
    np.testing.assert_array_equal(crop, textures.photo(np.random.default_rng(0), (20, 30)))
    drawn = textures.draw(np.random.default_rng(0))
    assert drawn.shape == (128, 128, 3)
    assert 6 <= drawn.min() <= drawn.max() <= 250


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((900, 1800), np.uint8))
    photo = read_photo(tmp_path / "large.png")
    assert photo is not None
    assert photo.shape == (320, 640, 3)


def test_held_out_files_are_kept_apart(pictures: Path) -> None:
    train, test = Textures(pictures), Textures(pictures, held_out=True)
    assert train.photos
    assert test.photos
    assert not set(train.photos) & set(test.photos)
    assert len(train.photos) + len(test.photos) == 17
    assert {path.suffix for path in train.photos + test.photos} == {".png", ".JPG"}


def test_a_folder_too_small_to_share_is_used_by_both(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 100)
    assert Textures(tmp_path).photos == Textures(tmp_path, held_out=True).photos == [tmp_path / "a.png"]


def test_folders_inside_count_alike(tmp_path: Path) -> None:
    for number in range(40):
        write_picture(tmp_path / "many" / f"{number}.png", 50)
    for number in range(8):
        write_picture(tmp_path / "few" / f"{number}.png", 200)
    textures, rng = Textures(tmp_path), np.random.default_rng(0)
    crops = [textures.photo(rng, (8, 8)) for _ in range(200)]
    bright = sum(crop is not None and int(crop[0, 0, 0]) == 200 for crop in crops)
    assert 70 < bright < 130


def test_a_corrupt_picture_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with caplog.at_level(logging.WARNING):
        assert Textures(tmp_path).photo(np.random.default_rng(0)) is None
        drawn = Textures(tmp_path, photo_share=1.0).draw(np.random.default_rng(0))
    assert drawn.shape == (128, 128, 3)
    assert [record.getMessage().split(" skipped")[0] for record in caplog.records] == [
        f"texture {tmp_path / 'broken.png'}"
    ]
    write_picture(tmp_path / "whole.png", 90)
    crop = Textures(tmp_path).photo(np.random.default_rng(0), (8, 8))
    assert crop is not None
    assert int(crop.mean()) == 90


def test_a_truncated_picture_is_skipped(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "large" / "00.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert read_photo(tmp_path / "half.png") is None


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"textures: no folder .*missing"):
        Textures(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(FileNotFoundError, match=r"textures: no picture \(\.bmp, .*\) in .* or the folders"):
        Textures(tmp_path)
