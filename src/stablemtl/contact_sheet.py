"""Pictures in a grid, each under its title: the frames and maps of a prediction, the labels of a sample.

Letters: tiles are in px, (width, height) as in Pillow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction

TILE_WIDTH_PX = 320
_GAP_PX = 12
_TITLE_PX = 20
_DETAIL_PX = 14
_LINE_PX = _DETAIL_PX + 4
_PAPER, _INK, _GREY, _FRAME = (255, 255, 255), (20, 20, 20), (90, 90, 90), (200, 200, 200)
_WIDEST, _TALLEST = 4.0, 0.25  # width / height of a tile, so that a panorama still gives a sheet one can read


class Tile(NamedTuple):
    """A picture of the grid."""

    title: str
    detail: str
    """Small text below the title, in lines; one that is too long is broken where it has two spaces."""
    picture: Image.Image


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
    tiles = [Tile(*title, frame) for title, frame in zip(titles, frames, strict=False)]
    tiles += [
        Tile(task.replace("_", " "), _detail(prediction), prediction.colorize())
        for task, prediction in maps.items()
    ]
    if not tiles:
        raise ValueError("a contact sheet needs a frame or a map; this result holds neither.")
    columns = min(len(tiles), 3 if len(tiles) > 4 else 2)
    return sheet([tiles[start : start + columns] for start in range(0, len(tiles), columns)])


def sheet(rows: Sequence[Sequence[Tile]], *, heading: str = "") -> Image.Image:
    """Rows of tiles below a heading.

    Args:
        rows: from top to bottom, each from left to right; rows may differ in length.
        heading: a line above all, or nothing.
    Returns:
        RGB picture; all tiles have the aspect ratio of the first one.
    """
    aspect = rows[0][0].picture.width / rows[0][0].picture.height
    box = (TILE_WIDTH_PX, round(TILE_WIDTH_PX / min(max(aspect, _TALLEST), _WIDEST)))
    details = [[_lines(tile.detail, box[0]) for tile in row] for row in rows]
    captions = [_TITLE_PX + 8 + _LINE_PX * max(map(len, row)) for row in details]
    width = _GAP_PX + (box[0] + _GAP_PX) * max(map(len, rows))
    top = _GAP_PX + (_TITLE_PX + _GAP_PX if heading else 0)
    page = Image.new("RGB", (width, top + sum(captions) + (box[1] + _GAP_PX) * len(rows)), _PAPER)
    draw = ImageDraw.Draw(page)
    if heading:
        _write(draw, (_GAP_PX, _GAP_PX), heading, _TITLE_PX, _INK, width - 2 * _GAP_PX)
    for row, texts, caption in zip(rows, details, captions, strict=True):
        left = _GAP_PX
        for tile, lines in zip(row, texts, strict=True):
            _write(draw, (left, top), tile.title, _TITLE_PX, _INK, box[0])
            for i, line in enumerate(lines):
                _write(draw, (left, top + _TITLE_PX + 4 + i * _LINE_PX), line, _DETAIL_PX, _GREY, box[0])
            fitted = _fit(tile.picture, box)
            corner = (left + (box[0] - fitted.width) // 2, top + caption)
            opposite = (corner[0] + fitted.width, corner[1] + fitted.height)
            draw.rectangle(((corner[0] - 1, corner[1] - 1), opposite), outline=_FRAME)
            page.paste(fitted, corner)
            left += box[0] + _GAP_PX
        top += caption + box[1] + _GAP_PX
    return page


def _detail(prediction: Prediction) -> str:
    return prediction.note or f"{prediction.unit}: {prediction.range_text}"


def _fit(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture as large as the box allows; enlarged without smoothing, to show single pixels."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _lines(text: str, width_px: int) -> list[str]:
    """The text in lines that fit the width, as far as its double spaces allow."""
    font = ImageFont.load_default(_DETAIL_PX)
    lines = []
    for line in text.split("\n"):
        parts = line.split("  ")
        lines.append(parts[0])
        for part in parts[1:]:
            if font.getlength(f"{lines[-1]}  {part}") <= width_px:
                lines[-1] += f"  {part}"
            else:
                lines.append(part)
    return lines


def _write(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    text: str,
    size_px: int,
    colour: tuple[int, int, int],
    width_px: int,
) -> None:
    """One line, made smaller until it fits the width."""
    font = ImageFont.load_default(size_px)
    while size_px > 9 and draw.textlength(text, font=font) > width_px:
        size_px -= 1
        font = ImageFont.load_default(size_px)
    draw.text(position, text, fill=colour, font=font)
