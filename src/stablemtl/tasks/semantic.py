"""Semantic classes of street scenes: eight classes that Virtual KITTI 2 and Cityscapes share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_maps, as_pair, as_valid
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import resize_nearest
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.reductions import check_state, masked_map

IGNORE = 250
"""The id written for pixels of no class; any id outside 0..7 is treated alike."""

CLASSES: dict[str, tuple[int, int, int]] = {
    "road": (128, 64, 128),
    "building": (70, 70, 70),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "sky": (70, 130, 180),
    "vehicle": (0, 0, 142),
}
"""Name and 8-bit RGB colour (the Cityscapes palette) of each class, in the order of their ids."""


@dataclass(frozen=True)
class Semantic(MapTask):
    """Class ids, encoded as palette colours."""

    spec = TaskSpec(
        name="semantic",
        prompt="semantic",
        channels=1,
        frames=1,
        unit="class id",
        value_range=(0, len(CLASSES) - 1),
        headline="miou",
        higher_is_better=True,
        convention=f"class id 0 to {len(CLASSES) - 1} ({', '.join(CLASSES)}), {IGNORE} for no class.",
        scale_known=True,
        shift_known=True,
        classes=tuple(CLASSES),
    )

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Integer class ids (B, 1, H, W) to palette colours (B, 3, H, W) in [-1, 1]; black (-1) for no class.

        Raises:
            ValueError: shapes disagree, or ids are not integers.
        """
        ids = _as_ids(target, self.spec, "target")
        as_valid(valid, ids, self.spec)  # checked only: ids say themselves what is no class
        # Row 8 is black.
        colors = torch.cat([_palette(ids.device), torch.full((1, 3), -1.0, device=ids.device)])
        return colors[torch.where(_is_class(ids), ids, len(CLASSES))[:, 0]].permute(0, 3, 1, 2).contiguous()

    def decode(self, image: Tensor) -> Tensor:
        """The class with the nearest palette colour (Euclidean), int64, shape (B, 1, H, W)."""
        image = as_image(image, self.spec).clamp(-1.0, 1.0)
        palette = _palette(image.device).to(image)
        squared_distance = torch.zeros((), device=image.device)
        for channel in range(3):  # one at a time: (B, 8, H, W) instead of (B, 8, 3, H, W)
            difference = image[:, channel, None] - palette[:, channel].view(1, -1, 1, 1)
            squared_distance = squared_distance + difference.square()
        return squared_distance.argmin(dim=1, keepdim=True)

    def metric(self, *, align: bool = True) -> SemanticMetric:
        """``miou``, ``accuracy`` and ``iou/<class>``; there is nothing to align."""
        return SemanticMetric(self.spec)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest: ids cannot be mixed."""
        return resize_nearest(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest: ids cannot be mixed."""
        return resize_nearest(pred, size)

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Palette colours, uint8 (B, 3, H, W)."""
        ids = _as_ids(values, self.spec, "values")
        _, usable = prepare(ids, valid, self.spec)
        return to_bytes((self.encode(ids, usable) + 1) / 2, usable)


class SemanticMetric:
    """Running confusion counts over all pixels of all images; pixels of no class do not count."""

    def __init__(self, spec: TaskSpec) -> None:
        """Start empty."""
        self._spec = spec
        self.reset()

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`. A predicted id outside 0..7 is a miss.

        Raises:
            ValueError: shapes disagree, ids are not integers, or ``valid`` is not bool.
        """
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        pred, target = _as_ids(pred, self._spec, "pred"), _as_ids(target, self._spec, "target")
        side = len(CLASSES) + 1
        measured = valid & _is_class(target)
        pred = torch.where(_is_class(pred), pred, len(CLASSES))  # one more column for "none of the classes"
        cell = torch.where(measured, target * side + pred, side * side)  # the last cell is thrown away
        counts = torch.bincount(cell.flatten(), minlength=side * side + 1)
        self._confusion += counts[:-1].view(side, side)

    def compute(self) -> dict[str, float]:
        """Shares in [0, 1]. A class neither present nor predicted has IoU ``nan``, left out of ``miou``."""
        confusion = self._confusion.double()
        hits = confusion.diagonal()[: len(CLASSES)]
        union = (confusion.sum(0) + confusion.sum(1))[: len(CLASSES)] - hits
        iou = torch.where(union > 0, hits / union, math.nan)
        figures = {"miou": iou.nanmean().item(), "accuracy": (hits.sum() / confusion.sum()).item()}
        return figures | {f"iou/{name}": value for name, value in zip(CLASSES, iou.tolist(), strict=True)}

    def state(self) -> Tensor:
        """Counts of (true class, predicted class), row by row; one more of each for "no class"."""
        return self._confusion.double().flatten()

    def merge(self, state: Tensor) -> None:
        """Add the ``state`` of another metric like this one."""
        side = len(CLASSES) + 1
        self._confusion += check_state(state, side * side).view(side, side).round().long()

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The prediction; there is nothing to align."""
        return as_pair(pred, target, valid, self._spec)[0]

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """1 at each wrong pixel, 0 elsewhere; nan also where the target is no class."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        return masked_map((pred != target).double(), valid & _is_class(target))

    def reset(self) -> None:
        """Forget everything added."""
        self._confusion = torch.zeros(len(CLASSES) + 1, len(CLASSES) + 1, dtype=torch.int64)  # [target, pred]


def _palette(device: torch.device) -> Tensor:
    return torch.tensor(list(CLASSES.values()), dtype=torch.float32, device=device) / 255 * 2 - 1


def _is_class(ids: Tensor) -> Tensor:
    return (ids >= 0) & (ids < len(CLASSES))


def _as_ids(values: Tensor, spec: TaskSpec, name: str) -> Tensor:
    ids = as_maps(values, spec, name)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(
            f"{spec.name} {name} must hold integer class ids, got {ids.dtype}. Convert with `.long()`."
        )
    return ids.long()


def build() -> Semantic:
    """The task; it has no options."""
    return Semantic()
