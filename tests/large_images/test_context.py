"""Broad structures come from the coarse map, detail from the tile."""

from __future__ import annotations

import math

import pytest
import torch

from stablemtl.large_images.alignment import Freedom
from stablemtl.large_images.context import context_field, on_patch
from stablemtl.large_images.layout import Patch, Tile, on_cells

ROWS, COLUMNS = slice(8, 104), slice(24, 152)  # 96 x 128 px of an image of 112 x 160
TILE = Tile(ROWS, COLUMNS, torch.ones(96), torch.ones(128))
X = torch.arange(160.0).expand(1, 112, 160)
DETAIL = ((X // 8) % 2) * 2 - 1  # stripes of 8 px, -1 and 1


def on_tile(maps: torch.Tensor) -> Patch:
    return on_cells(maps[:, ROWS, COLUMNS], 8, top_px=8, left_px=24)


def test_a_wrong_level_is_corrected_and_detail_stays() -> None:
    coarse, seen = torch.full_like(X, 5.0), 9 + DETAIL
    field = context_field(on_tile(seen), on_cells(coarse, 8), Freedom.SCALE, sigma_px=24, cell=8)
    result = field.apply(seen[:, ROWS, COLUMNS], TILE)
    assert result.shape == (1, 96, 128)
    middle = slice(32, 96)  # away from the borders, where the blur sees one side only
    torch.testing.assert_close(
        result[..., middle], (5 + DETAIL)[:, ROWS, COLUMNS][..., middle], atol=0.05, rtol=0
    )


def test_no_difference_no_correction() -> None:
    maps = torch.rand(3, 112, 160, generator=torch.Generator().manual_seed(0)) + 1
    for freedom in (Freedom.SCALE, Freedom.RATIO):
        field = context_field(on_tile(maps), on_cells(maps, 8), freedom, sigma_px=16, cell=8)
        torch.testing.assert_close(field.apply(maps[:, ROWS, COLUMNS], TILE), maps[:, ROWS, COLUMNS])


def test_ratios_are_factors() -> None:
    field = context_field(
        on_tile(torch.full_like(X, 2.0)),
        on_cells(torch.full_like(X, 6.0), 8),
        Freedom.RATIO,
        sigma_px=16,
        cell=8,
    )
    assert field.patch.values.mean().item() == pytest.approx(math.log(3))
    torch.testing.assert_close(field.apply(torch.ones(1, 96, 128), TILE), torch.full((1, 96, 128), 3.0))


def test_cells_outside_the_grid_take_the_nearest() -> None:
    tile = Tile(slice(8, 104), slice(24, 152), torch.ones(96), torch.ones(128))
    coarse = torch.full_like(X, 1.0)
    patch = on_cells(torch.zeros(1, 96, 128), 16, top_px=8, left_px=24)  # begins at row 16, column 32
    assert (patch.top, patch.left) == (1, 2)
    field = context_field(patch, on_cells(coarse, 16), Freedom.SCALE, sigma_px=16, cell=16)
    torch.testing.assert_close(field.apply(torch.zeros(1, 96, 128), tile), torch.ones(1, 96, 128))


def test_blur_by_hand() -> None:
    coarse = Patch(0, 0, torch.tensor([[[0.0, 3.0]]]))
    field = context_field(Patch(0, 0, torch.zeros(1, 1, 2)), coarse, Freedom.SCALE, sigma_px=8, cell=8)
    near = math.exp(-0.5)
    expected = torch.tensor([[[3 * near / (1 + near), 3 / (1 + near)]]])
    torch.testing.assert_close(field.patch.values, expected)
    torch.testing.assert_close(on_patch(coarse, field).values, coarse.values + expected)


def test_cells_without_a_value_do_not_spread() -> None:
    coarse = torch.full_like(X, 5.0)
    seen = torch.full_like(X, 4.0)
    seen[:, 40:60, 60:70] = torch.nan
    field = context_field(on_tile(seen), on_cells(coarse, 8), Freedom.SCALE, sigma_px=16, cell=8)
    torch.testing.assert_close(field.patch.values, torch.ones_like(field.patch.values))
