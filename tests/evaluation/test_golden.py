"""The figures of an evaluation against those of the published metric functions, along the whole path.

The maps are those of ``published_metrics.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl.data import Sample
from stablemtl.evaluation.protocols import PAPER
from stablemtl.evaluation.scoring import score
from stablemtl.tasks import TASKS, Task

DATASETS = {"depth.kitti": "kitti_depth", "depth.diode": "diode"}


class Maps:
    """The maps of a case as a dataset, and as what predicts the predictions of that case."""

    name = "maps"

    def __init__(self, case: Any) -> None:
        self.case = case

    @property
    def tasks(self) -> Mapping[str, Task]:
        return TASKS

    def __len__(self) -> int:
        return len(self.case.valid)

    def indices(self, task: str) -> Sequence[int]:
        return range(len(self))

    def load(self, index: int, task: str) -> Sample:
        size = self.case.valid.shape[-2:]
        return Sample(
            image=torch.zeros(3, *size),
            target=self.case.target[index],
            valid=self.case.valid[index],
            task=task,
            dataset=self.name,
            key=str(index),
        )

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        return [self.case.pred[int(sample.key)] for sample in samples]

    def round_trip(self, sample: Sample, *, resolution: int | None) -> None:
        return None


def test_paper_protocol_gives_the_published_figures(published_case: Any) -> None:
    dataset = DATASETS.get(published_case.name)
    benchmark = next(b for b in PAPER if b.task == published_case.task and dataset in (None, b.dataset))
    maps = Maps(published_case)
    found = score(maps, benchmark, maps, batch_size=3)  # type: ignore[arg-type]  # two roles, two `tasks`
    expected = published_case.expected
    assert found.n == 4
    assert {name: found.model[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert not found.ceiling
