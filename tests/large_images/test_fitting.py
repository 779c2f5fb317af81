"""The joint fit finds the scales that were applied, and resists what does not fit."""

from __future__ import annotations

import pytest
import torch

from stablemtl.large_images.alignment import Alignment, Freedom
from stablemtl.large_images.fitting import fit_tiles
from stablemtl.large_images.layout import Patch

HEIGHT, WIDTH = 20, 31
CORNERS = [(top, left) for top in (0, 8) for left in (0, 9, 19)]  # tiles of 12 x 12 cells


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def truth(channels: int = 1) -> torch.Tensor:
    return torch.rand(channels, HEIGHT, WIDTH, generator=generator()) + 0.2


def cut(maps: torch.Tensor) -> list[Patch]:
    return [Patch(top, left, maps[:, top : top + 12, left : left + 12].clone()) for top, left in CORNERS]


def distorted(
    maps: torch.Tensor, *, shift: bool, apart: bool = False
) -> tuple[list[Patch], torch.Tensor, torch.Tensor]:
    """Tiles with a scale and a shift of their own, and what undoes them."""
    channels = len(maps) if apart else 1
    factors = (torch.rand(6, channels, generator=generator()) * 3 + 0.3).expand(6, len(maps))
    addends = torch.randn(6, 1, generator=generator()).expand(6, len(maps)) * shift
    patches = [
        patch._replace(values=(patch.values - b[:, None, None]) / a[:, None, None])
        for patch, a, b in zip(cut(maps), factors, addends, strict=True)
    ]
    return patches, factors, addends


@pytest.mark.parametrize(
    ("freedom", "channels", "apart"),
    [
        (Freedom.SCALE_AND_SHIFT, 1, False),
        (Freedom.SCALE, 1, False),
        (Freedom.SCALE, 3, False),
        (Freedom.SCALE, 3, True),
        (Freedom.RATIO, 1, False),
    ],
)
def test_scales_and_shifts_are_found(freedom, channels, apart) -> None:
    maps = truth(channels)
    patches, factors, addends = distorted(maps, shift=freedom is Freedom.SCALE_AND_SHIFT, apart=apart)
    groups = tuple((c,) for c in range(channels)) if apart else (tuple(range(channels)),)
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(freedom, groups))
    torch.testing.assert_close(fit.factors, factors, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fit.addends, addends, rtol=1e-5, atol=1e-5)


def test_values_of_any_magnitude() -> None:
    maps = truth() * 1e4
    patches, factors, _ = distorted(maps, shift=False)
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(Freedom.SCALE, ((0,),)))
    torch.testing.assert_close(fit.factors, factors, rtol=1e-5, atol=1e-5)


def test_tiles_agree_although_the_coarse_map_is_blurred_and_partly_wrong() -> None:
    maps = torch.nn.functional.avg_pool2d(truth(), 5, 1, 2, count_include_pad=False)
    patches, _, _ = distorted(maps, shift=True)
    coarse = torch.nn.functional.avg_pool2d(maps, 5, 1, 2, count_include_pad=False)
    spread = torch.stack([patch.values for patch in cut(coarse)]).std()
    coarse[:, 5:9, 5:9] = 8.0  # an object that the coarse pass got wrong
    alignment = Alignment(Freedom.SCALE_AND_SHIFT, ((0,),))
    fit = fit_tiles(patches, Patch(0, 0, coarse), alignment, anchor=1e-3)
    result = torch.stack(
        [alignment.apply(p.values, a, b) for p, a, b in zip(patches, fit.factors, fit.addends, strict=True)]
    )
    expected = torch.stack([patch.values for patch in cut(maps)])
    scale = (result.flatten() - result.mean()) @ (expected.flatten() - expected.mean())
    scale = scale / (expected - expected.mean()).square().sum()
    line = result.mean() + scale * (expected - expected.mean())
    assert (result - line).abs().max() < 0.01 * scale * (
        maps.max() - maps.min()
    )  # one scale and shift for all
    assert (result.std() / spread).item() == pytest.approx(1, abs=0.15)  # as the coarse map: not flattened


def test_wrong_cells_in_an_overlap_count_little() -> None:
    maps = truth()
    patches, factors, _ = distorted(maps, shift=False)
    patches[1].values[0, 3:5, :2] *= 20  # 4 of the 108 cells shared with the first tile
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(Freedom.RATIO, ((0,),)))
    torch.testing.assert_close(fit.factors, factors, rtol=1e-4, atol=0)


def test_cells_without_a_value_are_left_out() -> None:
    maps = truth()
    patches, factors, addends = distorted(maps, shift=True)
    patches[0].values[0, :6] = torch.nan
    patches[4].values[0, 2, 2] = torch.inf
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(Freedom.SCALE_AND_SHIFT, ((0,),)))
    torch.testing.assert_close(fit.factors, factors, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fit.addends, addends, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("freedom", [Freedom.SCALE, Freedom.SCALE_AND_SHIFT, Freedom.RATIO])
def test_a_tile_without_any_value_stays(freedom) -> None:
    maps = truth()
    patches, factors, _ = distorted(maps, shift=False)
    patches[2].values[:] = torch.nan
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(freedom, ((0,),)))
    assert fit.factors[2].item() == pytest.approx(1.0)
    assert fit.addends[2].item() == pytest.approx(0.0, abs=1e-6)
    assert fit.factors[5].item() == pytest.approx(factors[5].item(), rel=1e-4)


def test_a_flat_tile_takes_the_level_of_its_surroundings() -> None:
    maps = truth() * 0 + 0.7
    patches, _, _ = distorted(maps, shift=True)
    alignment = Alignment(Freedom.SCALE_AND_SHIFT, ((0,),))
    fit = fit_tiles(patches, Patch(0, 0, maps), alignment)
    for patch, a, b in zip(patches, fit.factors, fit.addends, strict=True):
        torch.testing.assert_close(alignment.apply(patch.values, a, b), torch.full((1, 12, 12), 0.7))


@pytest.mark.parametrize("freedom", [Freedom.SCALE, Freedom.SCALE_AND_SHIFT])
def test_a_tile_that_is_upside_down_is_not_turned_round(freedom) -> None:
    maps = truth() - 0.7  # of both signs
    patches = cut(maps)
    patches[1] = patches[1]._replace(values=-patches[1].values)
    fit = fit_tiles(patches, Patch(0, 0, maps), Alignment(freedom, ((0,),)))
    assert fit.factors[1].item() == 0
    assert (fit.factors >= 0).all()
    assert fit.factors[5].item() == pytest.approx(1, abs=0.05)


def test_a_map_of_zeros_changes_nothing() -> None:
    fit = fit_tiles(cut(truth() * 0), Patch(0, 0, truth() * 0), Alignment(Freedom.SCALE, ((0,),)))
    assert fit.is_identity


def test_nothing_is_fitted_where_nothing_is_free() -> None:
    patches, _, _ = distorted(truth(2), shift=True)
    fit = fit_tiles(patches, Patch(0, 0, truth(2)), Alignment(Freedom.NOTHING, ((0, 1),)))
    assert fit.is_identity
