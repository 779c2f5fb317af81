"""Labels that hold class ids are told by the task's classes, not by its name."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stablemtl.data import Sample
from stablemtl.data.doctor.findings import Problem
from stablemtl.data.doctor.labels import look_at_label
from stablemtl.tasks import TASKS


def problems(target: torch.Tensor) -> list[Problem]:
    sample = Sample(
        image=torch.zeros(3, 2, 3),
        target=target.view(1, 2, 3),
        valid=torch.ones(1, 2, 3, dtype=torch.bool),
        task="material",
        dataset="toys",
        key="one",
    )
    return [found for found in look_at_label(sample) if isinstance(found, Problem)]


def test_ids_beyond_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(TASKS["semantic"].spec, name="material", classes=("wood", "stone"))
    tasks = {"material": SimpleNamespace(spec=spec)}
    monkeypatch.setattr("stablemtl.data.doctor.labels.TASKS", tasks)
    assert problems(torch.tensor([0, 1, 1, 0, 0, 1])) == []
    (problem,) = problems(torch.tensor([0, 1, 2, 7, 0, 2]))
    assert (problem.check, problem.about, problem.where) == ("class-ids", "material", "one (has 2, 7)")
    assert problem.message.startswith("class ids of valid pixels must be 0 to 1; ignored ones are 250")
    (problem,) = problems(torch.zeros(6))
    assert problem.message == "class ids must be integers (int64)"
