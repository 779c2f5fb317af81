"""Grids of pictures; what a prediction's sheet shows is in test_outputs.py."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stablemtl.contact_sheet import TILE_WIDTH_PX, Tile, sheet

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def tile(colour: tuple[int, int, int], detail: str = "", size: tuple[int, int] = (16, 12)) -> Tile:
    return Tile("title", detail, Image.new("RGB", size, colour))


def extent(page: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(page) == colour).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_rows_may_differ_in_length() -> None:
    page = sheet([[tile(RED)], [tile(GREEN), tile(BLUE)]])
    red, green, blue = (extent(page, colour) for colour in (RED, GREEN, BLUE))
    for left, top, right, bottom in (red, green, blue):
        assert (right - left, bottom - top) == (TILE_WIDTH_PX, TILE_WIDTH_PX * 12 // 16)
    assert red[0] == green[0] < green[2] < blue[0]
    assert red[3] < green[1] == blue[1]
    assert page.width > blue[2]
    assert page.height > blue[3]


def test_a_row_is_as_high_as_its_longest_text() -> None:
    """Lines are broken at double spaces, and only there."""
    short, broken, whole = (
        sheet([[tile(RED, detail)]])
        for detail in ("word " * 30, "words of some length  " * 8, "one\ntwo\nthree\nfour")
    )
    assert short.height < broken.height
    line = broken.height - short.height
    assert whole.height - short.height == 3 * 18
    assert line % 18 == 0
    both = sheet([[tile(RED, "word"), tile(BLUE, "one\ntwo\nthree\nfour")]])
    assert both.height == whole.height
    assert extent(both, RED)[1] == extent(both, BLUE)[1]


def test_heading() -> None:
    plain, headed = sheet([[tile(RED)]]), sheet([[tile(RED)]], heading="a heading " * 6)
    assert headed.size == (plain.width, plain.height + 32)
    above = np.asarray(headed)[:30]
    assert (above < 100).any()
    assert (above[:, -8:] == 255).all()  # made smaller until it fits


def test_a_white_picture_has_a_frame() -> None:
    page = np.asarray(sheet([[tile(WHITE)]]))
    assert (page[-14, 12 : 12 + TILE_WIDTH_PX] == 255).all()
    assert (page[-12, 12 : 12 + TILE_WIDTH_PX] == 200).all()
