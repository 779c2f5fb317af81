"""Mirroring and resizing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from stablemtl.tasks.geometry import mirror, resize_nearest, resize_smooth, unit_vectors


def test_mirror_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])  # (2, 1, 3)
    assert mirror(maps).tolist() == [[[3, 2, 1]], [[6, 5, 4]]]
    assert mirror(maps, negate_x=True).tolist() == [[[-3, -2, -1]], [[6, 5, 4]]]
    assert maps[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("source", "size", "first"),
    [(375, 187, [1, 3, 5]), (352, 176, [1, 3, 5]), (768, 288, [1, 4, 6, 9, 12, 14]), (1024, 256, [2, 6, 10])],
)
def test_nearest_takes_the_published_rows(source: int, size: int, first: list[int]) -> None:
    rows = torch.arange(source).view(1, source, 1)
    resized = resize_nearest(rows, (size, 1)).flatten()
    assert len(resized) == size
    assert resized[: len(first)].tolist() == first


@pytest.mark.parametrize("size", [(5, 7), (13, 4), (26, 34), (40, 50)])
def test_nearest_agrees_with_torch(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, 13, 17)
    assert torch.equal(resize_nearest(maps, size), F.interpolate(maps, size, mode="nearest-exact"))
    assert resize_nearest(maps > 0.5, size).dtype == torch.bool
    assert resize_nearest((maps * 9).long(), size).dtype == torch.int64


def test_smooth_averages_when_shrinking_and_interpolates_when_growing() -> None:
    stripes = torch.tensor([0.0, 1.0] * 8).expand(1, 4, 16)
    assert resize_smooth(stripes, (4, 2)).flatten().tolist() == pytest.approx([0.5] * 8, abs=0.05)
    assert resize_smooth(torch.tensor([[[0.0, 1.0]]]), (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]


def test_smooth_to_the_same_size_is_an_exact_copy() -> None:
    maps = torch.rand(2, 1, 5, 7)
    same = resize_smooth(maps, (5, 7))
    assert torch.equal(same, maps)
    assert same.data_ptr() != maps.data_ptr()


def test_smooth_keeps_rubbish_local() -> None:
    maps = torch.ones(1, 8, 8)
    maps[0, 0, 0], maps[0, 0, 1] = torch.nan, torch.inf
    assert resize_smooth(maps, (4, 4))[0, 2:].eq(1).all()
    assert resize_smooth(maps, (4, 4)).isfinite().all()


def test_unit_vectors() -> None:
    vectors = torch.tensor([[3.0, 0.0], [0.0, 0.0], [4.0, 0.0]]).view(3, 1, 2)
    assert unit_vectors(vectors)[:, 0, 0].tolist() == pytest.approx([0.6, 0, 0.8])
    assert unit_vectors(vectors)[:, 0, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("resize", [resize_nearest, resize_smooth])
def test_size_is_checked(resize: Callable[[torch.Tensor, tuple[int, int]], torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"size must be \(height, width\), both at least 1, got \(0, 3\)"):
        resize(torch.rand(1, 4, 4), (0, 3))
