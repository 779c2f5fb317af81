"""What one benchmark number is: which frames, which pixels, what fit, which average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stablemtl.tasks import TASKS
from stablemtl.tasks.base import Metric, Task

Alignment = Literal["none", "scale", "scale and shift", "scale per channel"]
Aggregation = Literal["images", "pixels", "counts"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One number of a table, and the figures that come with it."""

    protocol: str
    """The set that it belongs to."""
    dataset: str
    """Name of the dataset."""
    task: str
    """Name of the task."""
    variant: str = ""
    """Tells apart benchmarks of one dataset and task."""
    headline: str
    """The figure that goes into tables and is compared."""
    also: tuple[str, ...] = ()
    """Further figures for tables."""
    size: tuple[int, int] | int | Literal["own", "default"] = "own"
    """What the network sees. (height, width): frames and labels at this size, nearest-exact, and predictions
    scored there. A number: the frame's longest edge [px], predictions scored at the size of the labels.
    ``own``: frames as they are. ``default``: the model's own resolution, as users predict. Frames that are
    smaller are never enlarged."""
    via: tuple[int, int] | None = None
    """Size that frames of at least this size take on the way to ``size``."""
    reader: Mapping[str, Any] = field(default_factory=dict)
    """Options of the dataset's class: crop, mask."""
    mask: str = "where the dataset has labels"
    """Pixels that count, in words; ``reader`` makes it so."""
    alignment: Alignment = "none"
    """What is fitted to each image's ground truth, by least squares, before scoring."""
    metric_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the task's ``metric``: the range that predictions are clipped to [m], and the like."""
    aggregation: Aggregation = "images"
    """How the headline is averaged: a mean over images of each image's figure, a mean over all pixels of all
    images, or a figure of the counts over all pixels."""
    in_own_unit: bool = False
    """Score predictions whose scale is known without a fit as well."""
    quirks: tuple[str, ...] = ()
    """Where the release departs from common use."""

    @property
    def name(self) -> str:
        """Dataset, task and variant, in words."""
        return " ".join(part for part in (self.dataset, self.task, self.variant) if part)

    @property
    def aligned(self) -> bool:
        """Whether predictions are fitted to the ground truth."""
        return self.alignment != "none"

    def metric(self, task: Task | None = None, *, align: bool = True) -> Metric:
        """A fresh metric of this benchmark; ``align=False`` leaves out the fit."""
        return (task or TASKS[self.task]).metric(align=align and self.aligned, **self.metric_options)
