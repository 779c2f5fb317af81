"""Motion between neighbouring frames, measured on their grey values, and maps moved along it.

The motion is OpenCV's dense inverse search (Kroeger et al., ECCV 2016, arXiv 1603.03590), which knows
nothing of the model: what the model predicts cannot excuse its own flicker. It is computed at a size that
does not grow with the video, so that a large frame costs a small one's time here.

Letters: H, W size of the maps; h, w size at which motion is measured; C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LONGEST_PX = 512
"""Longest edge at which motion is measured."""

_CHANNELS = 4  # that cv2.remap takes at a time
_WINDOW_PX = 32  # smaller pictures are enlarged: the search works on patches


def grey_of(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (.., .., 3) as grey (h, w), both uint8, at which motion is measured for maps of ``size``."""
    height, width = motion_size(size)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def motion_size(size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) for maps of ``size``, (H, W)."""
    scale = min(1.0, LONGEST_PX / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def thinned(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (H, W, C) at every few pixels, (h, w, C): nearest values, none mixed."""
    if maps.shape[:2] == size:
        return maps
    rows, columns = (
        np.minimum(((np.arange(small) + 0.5) * large / small).astype(int), large - 1)
        for small, large in zip(size, maps.shape[:2], strict=True)
    )
    return np.ascontiguousarray(maps[rows[:, None], columns])


@dataclass(frozen=True)
class Motion:
    """How one frame became the next."""

    forward: np.ndarray
    """(h, w, 2) float32 [px of h, w]: how far each pixel of the first frame has moved, x and y."""
    backward: np.ndarray
    """The same from the second to the first."""
    agree_forward: np.ndarray
    """(h, w) bool: following ``forward`` and then ``backward`` leads back. Pixels of the first frame."""
    agree_backward: np.ndarray
    """The same for ``backward``; pixels of the second frame."""

    @property
    def agreement(self) -> float:
        """Share of the second frame's pixels that were found in the first; near 0 at a cut."""
        return float(self.agree_backward.mean())


def motion_between(first: np.ndarray, second: np.ndarray) -> Motion:
    r"""Motion of two grey frames (h, w) uint8, both ways.

    Two flows agree at p where

    .. math:: \lVert f(p) + b(q) \rVert^2 < 0.01 (\lVert f(p) \rVert^2 + \lVert b(q) \rVert^2) + 0.5, \quad
        q = p + f(p)

    Source: Sundaram et al., ECCV 2010, doi:10.1007/978-3-642-15549-9_32, eq. 5.
    """
    forward, backward = _flow(first, second), _flow(second, first)
    return Motion(
        forward=forward,
        backward=backward,
        agree_forward=_agree(forward, backward),
        agree_backward=_agree(backward, forward),
    )


def follow(maps: np.ndarray, flow: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """``maps`` (H, W, C) at the places that the flow (h, w, 2) leads to, bilinear, (H, W, C) float32.

    Places outside take the nearest edge. ``flow`` is enlarged to the maps' size where that is another.
    """
    height, width = maps.shape[:2]
    if flow.shape[:2] != (height, width):
        ratio = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * ratio
    x = np.arange(width, dtype=np.float32)[None, :] + flow[:, :, 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[:, :, 1]
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    moved = [
        cv2.remap(
            np.ascontiguousarray(maps[:, :, start : start + _CHANNELS], np.float32),
            x,
            y,
            how,
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape(height, width, -1)
        for start in range(0, maps.shape[2], _CHANNELS)
    ]
    return moved[0] if len(moved) == 1 else np.concatenate(moved, axis=2)


def enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (h, w) at the maps' size, (H, W, 1) float32 in {0, 1}."""
    if mask.shape != size:
        mask = cv2.resize(mask.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return mask.astype(np.float32)[:, :, None]


def _flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height, width = first.shape
    scale = max(1.0, _WINDOW_PX / min(height, width))
    size = (round(width * scale), round(height * scale))
    if scale > 1:
        first, second = (cv2.resize(f, size, interpolation=cv2.INTER_LINEAR) for f in (first, second))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    flow = np.zeros((*first.shape, 2), np.float32)
    flow = np.asarray(search.calc(first, second, flow), np.float32)
    if scale > 1:
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA)
        flow *= np.array([width / size[0], height / size[1]], np.float32)
    return flow


def _agree(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    height, width = there.shape[:2]
    returned = follow(back, there)
    x = np.arange(width)[None, :] + there[:, :, 0]
    y = np.arange(height)[:, None] + there[:, :, 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    gap = np.square(there + returned).sum(axis=2)
    lengths = np.square(there).sum(axis=2) + np.square(returned).sum(axis=2)
    return inside & (gap < 0.01 * lengths + 0.5)
