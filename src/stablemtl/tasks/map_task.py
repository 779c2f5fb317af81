"""What most tasks do alike: a base class for those that want it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import mirror, resize_smooth, upside_down


class MapTask(ABC):
    """A task whose map has no options and is flipped, resized and shown as a picture is.

    A subclass brings ``spec``, ``encode``, ``decode`` and ``metric``, and overrides what differs. What a task
    must be is :class:`stablemtl.tasks.base.Task`; it need not be of this class.
    """

    vectors: ClassVar[bool] = False
    """True when channels 0 and 1 are the x and y of vectors, which flips negate."""

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """Description of the task; a plain attribute where it is the same for every encoding."""

    @property
    def options(self) -> dict[str, str | float]:
        """Nothing to choose."""
        return {}

    def hflip(self, target: Tensor) -> Tensor:
        """Mirrored, the x of vectors negated."""
        return mirror(target, negate_x=self.vectors)

    def vflip(self, target: Tensor) -> Tensor:
        """Turned upside down, the y of vectors negated."""
        return upside_down(target, negate_y=self.vectors)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, antialiased when shrinking."""
        return resize_smooth(pred, size)

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Values in [0, 1] as grey (one channel) or RGB (three), clipped, uint8 (B, 3, H, W)."""
        return to_bytes(*prepare(values, valid, self.spec))
