"""Tiles: where they lie, how they are joined, and statistics they share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stablemtl.models.tiles import SharedGroupNorm, Tiling, in_tiles


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (10, [(0, 10)]),
        (11, [(0, 7), (4, 11)]),
        (16, [(0, 9), (6, 16)]),
        (17, [(0, 10), (7, 17)]),
        (18, [(0, 8), (5, 13), (10, 18)]),
    ],
)
def test_spans(length, expected) -> None:
    spans = Tiling(edge=10, overlap=3).spans(length)
    assert [(span.start, span.stop) for span in spans] == expected
    own = [i for span in spans for i in range(length)[span.start : span.stop][span.own]]
    assert own == list(range(length))  # each cell belongs to one tile


@pytest.mark.parametrize("length", range(1, 60))
def test_spans_of_any_length(length) -> None:
    tiling = Tiling(edge=11, overlap=8, trim=1)
    spans = tiling.spans(length)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert max(span.length for span in spans) <= 11
    total = torch.zeros(2 * length)
    for span, weights in zip(spans, tiling.weights(length, 2), strict=True):
        total[2 * span.start : 2 * span.stop] += weights
    torch.testing.assert_close(total, torch.ones(2 * length))


def test_weights_are_trimmed_then_rise_linearly() -> None:
    tiling = Tiling(edge=6, overlap=4, trim=1)
    first, second = tiling.weights(8, 1)
    assert first.tolist() == [1, 1, 1, 0.75, 0.25, 0]
    assert second.tolist() == [0, 0.25, 0.75, 1, 1, 1]
    assert Tiling(edge=6, overlap=4, trim=2).weights(8, 1)[1].tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("edge", "overlap", "trim"), [(4, 4, 0), (8, 3, 2), (8, 2, -1)])
def test_tilings_that_cannot_be(edge, overlap, trim) -> None:
    with pytest.raises(ValueError, match=f"0 <= 2 \\* trim <= overlap < edge, got edge={edge}"):
        Tiling(edge=edge, overlap=overlap, trim=trim)


@torch.no_grad()
def test_convolutions_are_exact_with_an_overlap_of_what_they_see() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3, padding=1)
    )
    x = torch.randn(2, 2, 9, 23)
    whole = network(x)
    tiled = in_tiles(network, x, Tiling(edge=8, overlap=4, trim=2), in_scale=1, out_scale=2)
    torch.testing.assert_close(tiled, whole)
    blended = in_tiles(network, x, Tiling(edge=8, overlap=1), in_scale=1, out_scale=2)
    assert not torch.allclose(blended, whole, atol=1e-3)


@torch.no_grad()
def test_a_network_that_makes_images_smaller() -> None:
    network = nn.Conv2d(1, 1, 2, stride=2)
    x = torch.randn(1, 1, 8, 14)
    tiled = in_tiles(network, x, Tiling(edge=4, overlap=2), in_scale=2, out_scale=1)
    torch.testing.assert_close(tiled, network(x))


@torch.no_grad()
def test_normalisation_by_the_statistics_of_all_tiles() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.SiLU())
    x = torch.randn(2, 3, 9, 23) * torch.arange(23)  # very different from tile to tile
    options = {"tiling": Tiling(edge=8, overlap=3), "in_scale": 1, "out_scale": 1}
    torch.testing.assert_close(in_tiles(network, x, **options), network(x), atol=1e-5, rtol=1e-4)
    assert network[1] is norm  # the network itself is not touched
    halves = in_tiles(network.bfloat16(), x.bfloat16(), **options)
    assert halves.dtype == torch.bfloat16
    torch.testing.assert_close(halves.float(), network(x.bfloat16()).float(), atol=0.1, rtol=0.1)


@torch.no_grad()
def test_later_normalisations_are_close_and_tiles_match() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), nn.ReLU()]
    network = nn.Sequential(*layers)
    x = torch.randn(1, 4, 6, 40) + torch.linspace(-1, 1, 40)
    whole = network(x)
    tiling = Tiling(edge=12, overlap=4)
    error = (in_tiles(network, x, tiling, in_scale=1, out_scale=1) - whole).square().mean().sqrt()
    alone = torch.cat([network(x[..., i : i + 10]) for i in range(0, 40, 10)], dim=-1)
    assert error < 0.3 * (alone - whole).square().mean().sqrt()


def test_a_shared_norm_needs_its_place() -> None:
    norm = SharedGroupNorm(nn.GroupNorm(1, 2))
    with pytest.raises(AssertionError, match="a tile has a place"):
        norm(torch.zeros(1, 2, 3, 3))
    with pytest.raises(AssertionError, match="a sweep has passed"):
        norm.settle()
