"""The figures of an evaluation against those of the published metric functions, along the whole path.

``tests/fixtures/metrics_io.npz`` holds maps, ``metrics_expected.json`` the figures of the published code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stablemtl.data import Sample
from stablemtl.evaluation.protocols import PAPER
from stablemtl.evaluation.scoring import score
from stablemtl.tasks import TASKS, Task
from stablemtl.tasks.semantic import CLASSES

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED: dict[str, dict[str, float]] = json.loads((FIXTURES / "metrics_expected.json").read_text())
OUR_NAMES = {
    "abs_relative_difference": "abs_rel",
    "squared_relative_difference": "sq_rel",
    "rmse_linear": "rmse",
    "delta1_acc": "delta1",
    "delta2_acc": "delta2",
    "delta3_acc": "delta3",
    "silog_rmse": "silog",
    "EPE2d": "epe",
    "Fl": "fl_all",
    "optical_flow_MAE": "angle",
    "EPE3d": "epe3d",
    "Acc": "accuracy",
    "mIoU": "miou",
} | {f"cls_{index:02d}": f"iou/{name}" for index, name in enumerate(CLASSES)}
DATASETS = {"depth.kitti": "kitti_depth", "depth.diode": "diode"}


class Maps:
    """The fixture's maps as a dataset, and as what predicts the fixture's predictions."""

    name = "maps"

    def __init__(self, task: str) -> None:
        self.task = task
        self.tasks_of_data = (task,)
        with np.load(FIXTURES / "metrics_io.npz") as archive:
            self.pred, self.target = (
                self._channels(archive[f"{task}.{kind}"]) for kind in ("pred", "target")
            )
            self.valid = torch.from_numpy(archive["valid"])[:, None]

    @staticmethod
    def _channels(values: np.ndarray) -> Tensor:
        maps = torch.from_numpy(values)
        return maps[:, None] if maps.ndim == 3 else maps

    @property
    def tasks(self) -> Mapping[str, Task]:
        return TASKS

    def __len__(self) -> int:
        return len(self.valid)

    def indices(self, task: str) -> Sequence[int]:
        return range(len(self))

    def load(self, index: int, task: str) -> Sample:
        size = self.valid.shape[-2:]
        return Sample(
            image=torch.zeros(3, *size),
            target=self.target[index],
            valid=self.valid[index],
            task=task,
            dataset=self.name,
            key=str(index),
        )

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        return [self.pred[int(sample.key)] for sample in samples]

    def round_trip(self, sample: Sample, *, resolution: int | None) -> None:
        return None


@pytest.mark.parametrize("case", EXPECTED)
def test_paper_protocol_gives_the_published_figures(case: str) -> None:
    task = case.split(".")[0]
    dataset = DATASETS.get(case)
    benchmark = next(b for b in PAPER if b.task == task and dataset in (None, b.dataset))
    maps = Maps(task)
    found = score(maps, benchmark, maps, batch_size=3)  # type: ignore[arg-type]  # two roles, two `tasks`
    expected = {OUR_NAMES.get(name, name): value for name, value in EXPECTED[case].items()}
    assert found.n == 4
    assert {name: found.model[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert not found.ceiling
