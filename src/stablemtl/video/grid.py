"""The page of the side-by-side video: the frame and the maps, each under its title and above its legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from stablemtl.tasks.base import Task
from stablemtl.video.legends import HEIGHT_PX, PAPER, legend, write

_GAP_PX, _TITLE_PX = 10, 18
_CAPTION_PX = _TITLE_PX + 6
_LONGEST_PX, _SMALLEST_PX = 480, 240  # of a tile's width
_PAGE_PX = 1920
_SHAPE = 16 / 9  # that the page comes close to


@dataclass(frozen=True)
class Tile:
    """Place of a picture on the page."""

    left: int
    top: int
    width: int
    height: int


class Grid:
    """Draws pages of one layout.

    Args:
        tasks: in the order shown, after the frame.
        ranges: task name -> range of its colours over the whole clip [unit].
        size: (height, width) of the frames.
    """

    def __init__(
        self, tasks: Sequence[Task], ranges: Mapping[str, tuple[float, float]], size: tuple[int, int]
    ) -> None:
        count = len(tasks) + 1
        best = min(range(1, count + 1), key=lambda columns: _misfit(columns, count, size))
        width, height = _tile_size(best, size)
        rows = math.ceil(count / best)
        below = _CAPTION_PX + height + HEIGHT_PX + _GAP_PX
        page = Image.new("RGB", (_GAP_PX + best * (width + _GAP_PX), _GAP_PX + rows * below), PAPER)
        self.tiles: list[Tile] = []
        for i in range(count):
            left, top = _GAP_PX + (i % best) * (width + _GAP_PX), _GAP_PX + (i // best) * below
            self.tiles.append(Tile(left, top + _CAPTION_PX, width, height))
            if i == 0:
                write(page, (left, top), "frame", width, _TITLE_PX)
                continue
            task = tasks[i - 1]
            write(page, (left, top), task.spec.name.replace("_", " "), width, _TITLE_PX)
            small = legend(task, ranges[task.spec.name], width)
            page.paste(small, (left, top + _CAPTION_PX + height + 3))
        self._empty = np.asarray(page)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the page."""
        return self._empty.shape[0], self._empty.shape[1]

    def page(self, pictures: Sequence[np.ndarray], text: str) -> np.ndarray:
        """The page of a frame.

        Args:
            pictures: the frame and the maps, (.., .., 3) uint8, as many as tiles.
            text: goes below the frame.
        Returns:
            (height, width, 3) uint8.
        """
        page = self._empty.copy()
        for tile, picture in zip(self.tiles, pictures, strict=True):
            smaller = tile.width < picture.shape[1]
            how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
            fitted = picture
            if picture.shape[:2] != (tile.height, tile.width):
                fitted = cv2.resize(picture, (tile.width, tile.height), interpolation=how)
            page[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = fitted
        tile = self.tiles[0]
        line = Image.new("RGB", (tile.width, HEIGHT_PX - 3), PAPER)
        write(line, (0, 2), text, tile.width)
        top = tile.top + tile.height + 3
        page[top : top + line.height, tile.left : tile.left + tile.width] = np.asarray(line)
        return page


def _tile_size(columns: int, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a tile: the frame's own if it fits, larger if it is tiny."""
    height, width = size
    most = min(_LONGEST_PX, (_PAGE_PX - _GAP_PX) // columns - _GAP_PX)
    wanted = min(max(width, _SMALLEST_PX), most)
    return wanted, max(1, round(wanted * height / width))


def _misfit(columns: int, count: int, size: tuple[int, int]) -> float:
    width, height = _tile_size(columns, size)
    rows = math.ceil(count / columns)
    shape = columns * width / (rows * (height + _CAPTION_PX + HEIGHT_PX))
    empty = (rows * columns - count) / count
    return abs(math.log(shape / _SHAPE)) + empty
