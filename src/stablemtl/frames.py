"""Frames of a call: each image is read once and encoded once, however often it is named.

Letters: H, W size of the image; h, w size processed; y, x the latent's size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image
from torch import Tensor

from stablemtl.images import ImageSource, frame_picture, processing_size, read_pixels, to_tensor


@dataclass(kw_only=True, eq=False)
class Frame:
    """An image at the size processed, or its latent. The pipeline takes one wherever it takes an image."""

    size: tuple[int, int]
    """(H, W) of the image."""
    processed: tuple[int, int]
    """(h, w) at which the network sees it."""
    picture: Image.Image
    """A small copy, for the contact sheet."""
    pixels: Tensor | None
    """(3, h, w) in [0, 1]; None once there is a latent."""
    latent: Tensor | None = None
    """(4, y, x)."""


FrameSource: TypeAlias = "ImageSource | Frame"
FramePair: TypeAlias = "tuple[FrameSource, FrameSource | None]"


class FrameReader:
    """Reads the images of a call. The last frame of one pair is not read again as the first of the next.

    Args:
        pairs: all the images there will be; only those named again later are kept.
        resolution: longest edge at which images are processed [px], 0 for their own size.
        explicit: the caller asked for this resolution; frames read earlier must have it too.
        cell: pixels a latent cell, the least that can be processed.
    """

    def __init__(self, pairs: Iterable[FramePair], resolution: int, *, explicit: bool, cell: int) -> None:
        self._resolution, self._explicit, self._cell = resolution, explicit, cell
        self._uses = Counter(_key(source) for pair in pairs for source in pair if source is not None)
        self._read: dict[Hashable, Frame] = {}

    def pair(
        self, image: FrameSource, image_next: FrameSource | None, suffix: str = ""
    ) -> tuple[Frame, Frame | None]:
        """Both frames of an input.

        Args:
            image: the first frame.
            image_next: the second one, if there is one.
            suffix: what follows ``image`` and ``image_next`` in error messages.
        Raises:
            FileNotFoundError: no such image file.
            ValueError: an image that cannot be used, or two of different sizes.
            TypeError: an image of a type that is not accepted.
        """
        first = self.frame(image, f"image{suffix}")
        if image_next is None:
            return first, None
        second = self.frame(image_next, f"image_next{suffix}")
        if second.size != first.size:
            raise ValueError(
                f"image_next{suffix} must have the size of image{suffix}, {_px(first.size)} "
                f"(width x height), got {_px(second.size)}. "
                "Give two frames of one camera, or crop them alike."
            )
        if second.processed != first.processed:
            raise ValueError(
                f"image_next{suffix} must be encoded at the size of image{suffix}, {_px(first.processed)} "
                f"(width x height), got {_px(second.processed)}. Encode both at one processing_resolution."
            )
        return first, second

    def frame(self, source: FrameSource, name: str) -> Frame:
        """One image; errors as in :meth:`pair`."""
        if isinstance(source, Frame):
            expected = processing_size(source.size, self._resolution)
            if self._explicit and source.processed != expected:
                raise ValueError(
                    f"{name} was encoded at {_px(source.processed)} (width x height), "
                    f"but processing_resolution={self._resolution} asks for {_px(expected)}. "
                    "Leave processing_resolution out, or encode the image again."
                )
            return source
        key = _key(source)
        frame = self._read.get(key) or self._load(source, name)
        self._uses[key] -= 1
        if self._uses[key] > 0:
            self._read[key] = frame
        else:
            self._read.pop(key, None)
        return frame

    def _load(self, source: ImageSource, name: str) -> Frame:
        pixels = read_pixels(source, name=name)  # (H, W, 1 or 3)
        size = (pixels.shape[0], pixels.shape[1])
        small = processing_size(size, self._resolution)
        if min(small) < self._cell:
            raise ValueError(
                f"{name} is {_px(size)} (width x height), which is {_px(small)} at "
                f"processing_resolution={self._resolution}; each side must be at least {self._cell} px "
                "there. Crop the image, or raise processing_resolution."
            )
        return Frame(
            size=size, processed=small, picture=frame_picture(pixels), pixels=to_tensor(pixels, small)
        )


def _key(source: FrameSource) -> Hashable:
    """The same for the same file name, and for the same object."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else id(source)


def _px(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} px"
