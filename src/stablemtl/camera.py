"""The pin-hole camera that a picture was taken with, known or assumed.

Letters: u, v column and row [px]; N pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIELD_OF_VIEW_DEG = 60.0
"""Of the longer side, assumed for an unknown camera."""


@dataclass(frozen=True)
class Camera:
    """A pin-hole camera without distortion. The centre of the first pixel is at (0, 0).

    Raises:
        ValueError: a focal length or size that is not above 0, or a number that is not finite.
    """

    fx: float
    """Focal length along x [px]."""
    fy: float
    """Focal length along y [px]."""
    cx: float
    """Column of the principal point [px]."""
    cy: float
    """Row of the principal point [px]."""
    size: tuple[int, int]
    """(height, width) of its pictures [px]."""
    assumed: bool = False
    """Nobody knows the camera: these are guesses, and files say so."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not all(map(math.isfinite, (self.fx, self.fy, self.cx, self.cy))) or min(self.fx, self.fy) <= 0:
            raise ValueError(
                f"a camera needs fx and fy above 0 and finite cx and cy [px], got {self.fx}, {self.fy}, "
                f"{self.cx}, {self.cy}."
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size must be (height, width) [px], got {self.size}.")

    @classmethod
    def from_field_of_view(
        cls, size: tuple[int, int], degrees: float = FIELD_OF_VIEW_DEG, *, assumed: bool = False
    ) -> Self:
        """Square pixels, principal point in the middle.

        >>> Camera.from_field_of_view((480, 640), 90.0).fx
        320.0...

        Args:
            size: (height, width) [px].
            degrees: angle between the outer edges of the longer side.
            assumed: the angle is a guess.
        Raises:
            ValueError: an angle that is not between 0 and 180, or a size that is not above 0.
        """
        if not 0 < degrees < 180:
            raise ValueError(f"degrees must be between 0 and 180, got {degrees}.")
        focal = max(size) / 2 / math.tan(math.radians(degrees) / 2)
        return cls(focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2, size, assumed)

    @property
    def field_of_view_deg(self) -> tuple[float, float]:
        """Angles between the outer edges, (vertical, horizontal)."""
        height, width = self.size
        vertical = math.atan((self.cy + 0.5) / self.fy) + math.atan((height - 0.5 - self.cy) / self.fy)
        horizontal = math.atan((self.cx + 0.5) / self.fx) + math.atan((width - 0.5 - self.cx) / self.fx)
        return math.degrees(vertical), math.degrees(horizontal)

    def resized(self, size: tuple[int, int]) -> Camera:
        """The same camera for pictures that were resized to (height, width)."""
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        cx, cy = (self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5
        return Camera(self.fx * across, self.fy * down, cx, cy, size, self.assumed)

    def rays(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Directions ((u - cx) / fx, (v - cy) / fy, 1) of pixels, (N, 3): z times a ray is the point."""
        u, v = np.asarray(columns, np.float64), np.asarray(rows, np.float64)
        return np.stack([(u - self.cx) / self.fx, (v - self.cy) / self.fy, np.ones_like(u)], axis=-1)

    def facts(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        numbers = {"fx": self.fx, "fy": self.fy, "cx": self.cx, "cy": self.cy}
        return {**numbers, "height": self.size[0], "width": self.size[1], "assumed": self.assumed}
