"""OpenEXR files written a few rows at a time: the same files, in less memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from stablemtl.map_files import strips
from stablemtl.map_files.layers import read_exr_layers, write_exr_layers, write_exr_map
from stablemtl.map_files.strips import write_channels
from stablemtl.outputs import Prediction, Predictions


@pytest.fixture
def in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pictures count as large; 4 rows at a time."""
    monkeypatch.setattr(strips, "WHOLE_BYTES", 0)
    monkeypatch.setattr(strips, "STRIP_ROWS", 4)


def large(maps: Predictions, height: int, width: int) -> dict[str, Prediction]:
    """The maps, repeated up to a size."""

    def repeated(array: np.ndarray) -> np.ndarray:
        times = (-(-height // array.shape[0]), -(-width // array.shape[1]), 1)[: array.ndim]
        return np.tile(array, times)[:height, :width]

    return {
        name: replace(one, values=repeated(one.values), valid=repeated(one.valid))
        for name, one in maps.items()
    }


def test_strips_make_the_same_file(maps: Predictions, tmp_path: Path, in_strips: None) -> None:
    write_exr_layers(tmp_path / "strips.exr", maps)
    write_exr_map(tmp_path / "flow_strips.exr", maps["optical_flow"])
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(OpenEXR, "OutputFile")  # as it will be, one day
        write_exr_layers(tmp_path / "whole.exr", maps)
        write_exr_map(tmp_path / "flow_whole.exr", maps["optical_flow"])
    for name in ("", "flow_"):
        strips_bytes, whole_bytes = (
            (tmp_path / f"{name}{kind}.exr").read_bytes() for kind in ("strips", "whole")
        )
        assert strips_bytes == whole_bytes
    back = read_exr_layers(tmp_path / "strips.exr")
    for name, one in maps.items():
        assert (back[name].valid == one.valid).all()
        assert (back[name].values[one.valid] == one.values[one.valid]).all()
        assert back[name].facts() == one.facts()


@pytest.mark.parametrize(("height", "parts"), [(9, [4, 4, 1]), (8, [4, 4]), (3, [3])])
def test_rows_are_asked_for_once_and_in_order(
    tmp_path: Path, in_strips: None, height: int, parts: list[int]
) -> None:
    image = np.random.default_rng(0).normal(size=(height, 7)).astype(np.float32)
    asked: list[slice] = []

    def rows(part: slice) -> np.ndarray:
        asked.append(part)
        return image[part]

    write_channels(tmp_path / "a.exr", image.shape, {"Y": rows}, {"unit": "m"})
    assert [part.stop - part.start for part in asked] == parts
    assert [row for part in asked for row in range(part.start, part.stop)] == list(range(height))
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        assert (file.channels()["Y"].pixels == image).all()
        assert file.header()["unit"] == "m"


def test_small_pictures_are_written_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[slice] = []

    def rows(part: slice) -> np.ndarray:
        asked.append(part)
        return np.zeros((part.stop - part.start, 8), np.float32)

    for limit in (4 * 2 * 100 * 8, 4 * 2 * 100 * 8 - 1):  # bytes of two channels
        monkeypatch.setattr(strips, "WHOLE_BYTES", limit)
        write_channels(tmp_path / "a.exr", (100, 8), {"A": rows, "B": rows}, {})
    assert asked == [slice(0, 100)] * 2 + [slice(0, 64)] * 2 + [slice(64, 100)] * 2


def test_memory_does_not_grow_with_the_height(
    maps: Predictions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "WHOLE_BYTES", 1 << 20)
    peaks = []
    for height in (256, 768):
        layers = large(maps, height, 300)
        tracemalloc.start()
        write_exr_layers(tmp_path / "a.exr", layers)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    channels = 14
    assert 768 * 300 * 4 * channels > 12e6
    assert max(peaks) < 2 * strips.STRIP_ROWS * 300 * 4 * channels
    assert peaks[1] < 1.2 * peaks[0]


def test_channels_of_any_layout(maps: Predictions, tmp_path: Path, in_strips: None) -> None:
    """Arrays of columns, as a transposed picture is."""
    turned = replace(
        maps["depth"],
        values=np.asfortranarray(maps["depth"].values),
        valid=np.asfortranarray(maps["depth"].valid),
    )
    write_exr_layers(tmp_path / "a.exr", {"depth": turned})
    back = read_exr_layers(tmp_path / "a.exr")["depth"]
    assert (back.values[turned.valid] == turned.values[turned.valid]).all()


def test_nothing_is_left_of_a_picture_that_ends_early(tmp_path: Path, in_strips: None) -> None:
    def rows(part: slice) -> np.ndarray:
        if part.start:
            raise KeyboardInterrupt
        return np.zeros((4, 5), np.float32)

    with pytest.raises(KeyboardInterrupt):
        write_channels(tmp_path / "a.exr", (9, 5), {"Y": rows}, {})
    assert list(tmp_path.iterdir()) == []
