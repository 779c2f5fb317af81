"""Labels without holes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from stablemtl.evaluation.holes import filled
from stablemtl.evaluation.protocols import native_benchmark


def test_every_pixel_takes_the_nearest_label() -> None:
    target = torch.arange(12.0).view(1, 2, 6).repeat(2, 1, 1)
    target[1] += 100
    valid = torch.zeros(1, 2, 6, dtype=torch.bool)
    valid[0, 0, 1] = valid[0, 1, 5] = True
    expected = torch.tensor([[1.0, 1, 1, 1, 11, 11], [1, 1, 1, 11, 11, 11]])
    result = filled(target, valid)
    assert torch.equal(result[1], result[0] + 100)
    ties = torch.tensor([[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=torch.bool)
    assert torch.equal(result[0][~ties], expected[~ties])
    assert set(result[0][ties].tolist()) <= {1.0, 11.0}
    assert torch.equal(target[0], torch.arange(12.0).view(2, 6))  # not changed


@pytest.mark.parametrize("known", [True, False])
def test_all_or_nothing_stays(known: bool) -> None:
    target = torch.tensor([[[1, 2, 250]]])
    assert filled(target, torch.full((1, 1, 3), known)) is target


def test_single_points_survive_a_codec_that_blurs(toys: Any, oracle: Any) -> None:
    """A tenth of the pixels is labelled: blurred with the void they would be off by far more."""
    sample = toys().load(0, "depth")
    sparse = torch.rand(1, 18, 26, generator=torch.Generator().manual_seed(3)) < 0.1
    sample = replace(sample, target=torch.where(sparse, sample.target, 0.0), valid=sparse)
    errors = []
    for one in (sample, replace(sample, valid=torch.ones_like(sparse))):  # the second has no holes to fill
        decoded = oracle().round_trip(one, resolution=0)
        metric = native_benchmark("toys", "depth").metric()
        metric.update(decoded[None], sample.target[None], sparse[None])
        errors.append(metric.compute()["abs_rel"])
    assert errors[0] < 0.5 * errors[1]
