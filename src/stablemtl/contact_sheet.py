"""Frames and maps of one prediction in one picture.

Letters: tiles are in px, (width, height) as in Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction

TILE_WIDTH_PX = 320
_GAP_PX = 12
_TITLE_PX = 20
_DETAIL_PX = 14
_CAPTION_PX = _TITLE_PX + _DETAIL_PX + 12
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (90, 90, 90)
_WIDEST, _TALLEST = 4.0, 0.25  # width / height of a tile, so that a panorama still gives a sheet one can read


def contact_sheet(maps: Mapping[str, Prediction], frames: Sequence[Image.Image]) -> Image.Image:
    """A grid of the frames, then the maps, each under its title: task, then unit and range.

    Args:
        maps: task name -> prediction.
        frames: none, one or two RGB pictures.
    Returns:
        RGB picture; tiles keep the aspect ratio of the first frame or map.
    Raises:
        ValueError: there is nothing to show.
    """
    titles = (("image", "first frame"), ("image_next", "second frame"))
    tiles = [(*title, frame) for title, frame in zip(titles, frames, strict=False)]
    tiles += [
        (task.replace("_", " "), _detail(prediction), prediction.colorize())
        for task, prediction in maps.items()
    ]
    if not tiles:
        raise ValueError("a contact sheet needs a frame or a map; this result holds neither.")
    columns = min(len(tiles), 3 if len(tiles) > 4 else 2)
    rows = math.ceil(len(tiles) / columns)
    aspect = tiles[0][2].width / tiles[0][2].height
    height = round(TILE_WIDTH_PX / min(max(aspect, _TALLEST), _WIDEST))
    cell = (TILE_WIDTH_PX + _GAP_PX, height + _CAPTION_PX + _GAP_PX)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP_PX, rows * cell[1] + _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (title, detail, picture) in enumerate(tiles):
        left = _GAP_PX + (i % columns) * cell[0]
        top = _GAP_PX + (i // columns) * cell[1]
        _write(draw, (left, top), title, _TITLE_PX, _INK)
        _write(draw, (left, top + _TITLE_PX + 4), detail, _DETAIL_PX, _GREY)
        fitted = _fit(picture, (TILE_WIDTH_PX, height))
        sheet.paste(fitted, (left + (TILE_WIDTH_PX - fitted.width) // 2, top + _CAPTION_PX))
    return sheet


def _detail(prediction: Prediction) -> str:
    return prediction.note or f"{prediction.unit}: {prediction.range_text}"


def _fit(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture as large as the box allows; enlarged without smoothing, to show single pixels."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    text: str,
    size_px: int,
    colour: tuple[int, int, int],
) -> None:
    """One line, made smaller until it fits the tile's width."""
    font = ImageFont.load_default(size_px)
    while size_px > 9 and draw.textlength(text, font=font) > TILE_WIDTH_PX:
        size_px -= 1
        font = ImageFont.load_default(size_px)
    draw.text(position, text, fill=colour, font=font)
