"""What is free in a tile follows from the task."""

from __future__ import annotations

import pytest
import torch

from stablemtl.large_images.alignment import Alignment, Fit, Freedom, alignment_of
from stablemtl.tasks import TASKS, build_task

EXPECTED = {
    "semantic": (Freedom.NOTHING, 1),
    "normal": (Freedom.NOTHING, 1),
    "depth": (Freedom.SCALE_AND_SHIFT, 1),
    "optical_flow": (Freedom.SCALE, 2),
    "scene_flow": (Freedom.SCALE, 3),
    "shading": (Freedom.SCALE, 1),
    "albedo": (Freedom.SCALE, 1),  # one for all colours: hues stay
}


@pytest.mark.parametrize("task", TASKS)
def test_published_encodings(task) -> None:
    alignment = alignment_of(TASKS[task].spec)
    assert (alignment.freedom, len(alignment.groups)) == EXPECTED[task]
    assert sorted(c for group in alignment.groups for c in group) == list(range(TASKS[task].spec.channels))


@pytest.mark.parametrize(
    ("task", "options", "freedom", "groups"),
    [
        ("depth", {"encoding": "log"}, Freedom.RATIO, 1),
        ("optical_flow", {"encoding": "calibrated"}, Freedom.NOTHING, 1),
        ("scene_flow", {"encoding": "calibrated"}, Freedom.SCALE, 3),
    ],
)
def test_units(task, options, freedom, groups) -> None:
    alignment = alignment_of(build_task(task, **options).spec)
    assert alignment.freedom is freedom
    assert len(alignment.groups) == groups


def test_apply() -> None:
    maps = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    factors, addends = torch.tensor([2.0, 10.0]), torch.tensor([0.5, 0.0])
    both = Alignment(Freedom.SCALE_AND_SHIFT, ((0, 1),))
    assert both.apply(maps, factors, addends).tolist() == [[[2.5, 4.5]], [[30.0, 40.0]]]
    nothing = Alignment(Freedom.NOTHING, ((0, 1),))
    assert nothing.apply(maps, factors, addends) is maps


def test_identity() -> None:
    fit = Fit.identity(3, 2)
    assert fit.is_identity
    fit.factors[2, 1] = 0.9
    assert not fit.is_identity
