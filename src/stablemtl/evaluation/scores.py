"""The figures of one benchmark, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.profiles import Profile
from stablemtl.evaluation.records import ImageRecord
from stablemtl.evaluation.samples import Unreadable
from stablemtl.tasks import TASKS

Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image among the worst or the best."""

    index: int
    """Number of the sample in its dataset."""
    key: str
    """Name of its frame."""
    value: float
    """Its own headline figure."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Figures of one benchmark. The rows were computed by the same metric on the same samples."""

    benchmark: Benchmark
    """What was computed."""
    n: int
    """Samples scored."""
    model: Figures
    """The model's figures."""
    constant: Figures
    """Figures of the best constant prediction."""
    constant_value: list[float]
    """That constant, one number for each channel, before alignment."""
    ceiling: Figures
    """Figures of the ground truth after the task's encoding and the latent codec, there and back; empty where
    predictions come from no codec."""
    unaligned: Mapping[str, Figures] = field(default_factory=dict)
    """``model``, ``constant`` and ``ceiling`` without a fit, in their own unit, where the scale is known."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Confidence interval of each of the model's figures, by bootstrap over the images."""
    worst: tuple[Case, ...] = ()
    """Images with the worst headline figures, the worst first."""
    best: tuple[Case, ...] = ()
    """Images with the best headline figures, the best first."""
    profile: Profile | None = None
    """The model's error against the size of the true value, for tasks where that says something."""
    checksum: str = ""
    """SHA-256 of the names of the frames scored, in the order of the dataset."""
    unlabelled: int = 0
    """Samples left out because no pixel is valid."""
    unreadable: tuple[Unreadable, ...] = ()
    """Samples left out because they could not be read."""
    seconds: float = 0.0
    """Wall time [s]."""
    records: tuple[ImageRecord, ...] = ()
    """The images one by one, in the order of the dataset; not part of the JSON."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.benchmark.dataset

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.benchmark.task

    @property
    def headline(self) -> str:
        """The figure that is compared."""
        return self.benchmark.headline

    @property
    def higher_is_better(self) -> bool:
        """Direction of the headline figure."""
        return TASKS[self.task].spec.higher_is_better

    @property
    def improvement(self) -> float:
        """Of the model's headline over the constant's; nan where that has no meaning (constant at 0).

        Where lower is better (constant - model) / constant [%], 100 being perfect; where higher is better the
        ratio model / constant, because a constant's mIoU is close to 0 and per cents of it would mislead.
        """
        model, constant = (row.get(self.headline, math.nan) for row in (self.model, self.constant))
        if constant == 0:
            return math.nan
        return model / constant if self.higher_is_better else 100 * (constant - model) / constant

    @property
    def improvement_unit(self) -> str:
        """``%`` or ``ratio``."""
        return "ratio" if self.higher_is_better else "%"

    @property
    def complete(self) -> bool:
        """Whether every sample asked for was read, and at least one was scored."""
        return self.n > 0 and not self.unreadable

    def to_dict(self) -> dict[str, Any]:
        """The benchmark's entries, then the figures; without the records."""
        names = [one.name for one in fields(self) if one.name not in ("benchmark", "records")]
        content = {**asdict(self.benchmark), "higher_is_better": self.higher_is_better}
        for name in names:
            value = getattr(self, name)
            content[name] = as_dicts(value)
        gain = {"improvement": self.improvement, "improvement_unit": self.improvement_unit}
        return {**content, **gain}


def as_dicts(value: Any) -> Any:
    """Dataclasses, alone or in sequences, as plain dictionaries; anything else as it is."""
    if isinstance(value, tuple | list):
        return [as_dicts(entry) for entry in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
