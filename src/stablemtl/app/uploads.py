"""Reading what a visitor uploads: refused by its head where it is too large, made smaller where it can be."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stablemtl.app.limits import Limits
from stablemtl.images import FORMATS, frame_picture, read_pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture as it is predicted from."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    note: str = ""
    """What was done to it, for the visitor; empty if nothing."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def image(self) -> Image.Image:
        """As a PIL image."""
        return Image.fromarray(self.pixels)


def read_picture(path: str | os.PathLike[str], limits: Limits, *, name: str) -> Picture:
    """An uploaded picture, at most ``limits.side_px`` long.

    Args:
        path: the file; its suffix says nothing.
        limits: what is accepted.
        name: what the picture is called in messages, such as ``The second picture``.
    Raises:
        ValueError: not an image, damaged, more pixels than ``limits`` allow, or the upload is gone.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{name} was removed after a long pause. Choose it again.")
    check_head(path, limits, name=name)
    try:
        pixels = read_pixels(path, name=name)
    except ValueError as error:  # names the file by where it was put, which tells a visitor nothing
        raise ValueError(str(error).replace(f"{name} {path}", name)) from error
    height, width = pixels.shape[:2]
    small = np.asarray(frame_picture(pixels, limits.side_px))  # grey and 16 bits become 8-bit RGB here
    if small.shape[:2] == (height, width):
        return Picture(pixels=small)
    note = f"{name} has {width}x{height} px; it was made smaller, to {small.shape[1]}x{small.shape[0]} px."
    return Picture(pixels=small, note=note)


def read_pair(
    first: str | os.PathLike[str], second: str | os.PathLike[str] | None, limits: Limits
) -> tuple[Picture, Picture | None]:
    """One picture, or two of the same size; errors as in :func:`read_picture`.

    Raises:
        ValueError: the sizes differ.
    """
    picture = read_picture(first, limits, name="The first picture" if second else "The picture")
    if second is None:
        return picture, None
    following = read_picture(second, limits, name="The second picture")
    if following.size != picture.size:
        raise ValueError(
            f"The second picture must have the size of the first, {_px(picture.size)}, "
            f"got {_px(following.size)}. Take two frames of one camera, or crop them alike."
        )
    return picture, following


def check_head(path: str | os.PathLike[str], limits: Limits, *, name: str) -> None:
    """Refuse a picture by the size its head states, without decoding it.

    A file that has no readable head passes: reading it says better what is wrong.

    Raises:
        ValueError: more pixels than ``limits.megapixels``.
    """
    most = f"at most {limits.megapixels:g} million pixels are accepted. Make it smaller first."
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as picture:
                width, height = picture.size
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large to be decoded; {most}") from error
    except Exception:  # decoders raise what they like for a file that is none of theirs
        return
    if width * height > limits.megapixels * 1e6:
        raise ValueError(f"{name} has {width}x{height} px; {most}")


def _px(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} px"
