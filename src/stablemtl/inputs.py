"""The inputs of a call: images paired with the frames after them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from stablemtl.frames import FramePair, FrameSource

_T = TypeVar("_T")


def pairs_of(
    image: FrameSource | Sequence[FrameSource], image_next: FrameSource | Sequence[FrameSource | None] | None
) -> list[FramePair]:
    """(image, image_next or None) of each input of a call.

    Raises:
        ValueError: no image, or lists that do not belong together.
    """
    if not isinstance(image, list | tuple):
        if isinstance(image_next, list | tuple):
            raise ValueError("image_next is a list but image is one image. Give both as lists, or neither.")
        return [(image, image_next)]  # type: ignore[list-item]
    if not image:
        raise ValueError("image is an empty list; give at least one image.")
    if image_next is None:
        return [(first, None) for first in image]
    if not isinstance(image_next, list | tuple) or len(image_next) != len(image):
        got = (
            f"{len(image_next)} entries"
            if isinstance(image_next, list | tuple)
            else type(image_next).__name__
        )
        raise ValueError(
            f"image_next must be a list as long as image ({len(image)}), got {got}; None where there is none."
        )
    return list(zip(image, image_next, strict=True))


def chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    """``items`` in order, at most ``size`` at a time."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def names_of(pair: FramePair) -> list[str]:
    """The files of a pair as the caller named them; nothing for images that are no files."""
    return [os.fspath(source) for source in pair if isinstance(source, str | os.PathLike)]


def check_resolution(resolution: int) -> int:
    """The longest edge at which images are processed, if it is one.

    Raises:
        ValueError: it is not 0 or a number of px.
    """
    if isinstance(resolution, bool) or not isinstance(resolution, int) or resolution < 0:
        raise ValueError(
            f"processing_resolution must be 0 (the image's own size) or a number of px, got {resolution!r}."
        )
    return resolution
