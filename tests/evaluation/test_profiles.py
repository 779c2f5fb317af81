"""The error against the size of the true value."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.evaluation.profiles import BINS, Bins, ProfileSums, profile_of
from stablemtl.tasks import TASKS

DEPTHS = Bins(by="true depth [m]", error="relative", edges=(1, 2, 4, 8))


def test_bins_by_hand() -> None:
    """2 m is in the second bin, 8 m and 0.5 m in none; the pixel that is not valid does not count."""
    target = torch.tensor([[[[1.0, 2.0, 3.0, 8.0, 0.5, 1.0]]]])
    pred = torch.tensor([[[[1.5, 3.0, 3.0, 9.0, 0.6, 9.0]]]])
    valid = torch.tensor([[[[True, True, True, True, True, False]]]])
    sums = ProfileSums(DEPTHS)
    metric = TASKS["depth"].metric(align=False)
    for _ in range(2):
        sums.add(metric, pred, target, valid)
    profile = profile_of(DEPTHS, sums.sums)
    assert profile.pixels == (2, 4, 0)
    assert profile.mean[:2] == pytest.approx((0.5, (0.5 + 0.0) / 2))
    assert math.isnan(profile.mean[2])
    assert profile.edges == DEPTHS.edges


def test_motion_is_sorted_by_its_length() -> None:
    target = torch.tensor([3.0, 4.0])[:, None, None].expand(2, 2, 3)[None]
    valid = torch.ones(1, 1, 2, 3, dtype=torch.bool)
    sums = ProfileSums(BINS["optical_flow"])
    sums.add(TASKS["optical_flow"].metric(align=False), torch.zeros_like(target), target, valid)
    profile = profile_of(BINS["optical_flow"], sums.sums)
    (number,) = (i for i, pixels in enumerate(profile.pixels) if pixels)
    assert profile.edges[number] <= 5 < profile.edges[number + 1]
    assert (profile.pixels[number], profile.mean[number]) == (6, 5.0)


@pytest.mark.parametrize("task", BINS)
def test_bins_ascend(task: str) -> None:
    edges = BINS[task].edges
    assert list(edges) == sorted(set(edges))
