"""Places, weights and cells of tiles."""

from __future__ import annotations

import pytest
import torch

from stablemtl.large_images.layout import (
    Patch,
    cell_size,
    check_tile,
    neighbours,
    on_cells,
    place_tiles,
)


@pytest.mark.parametrize("size", [(64, 64), (63, 200), (300, 131), (8, 1000), (129, 65)])
def test_weights_sum_to_one_at_each_pixel(size) -> None:
    total = torch.zeros(size)
    for tile in place_tiles(size, 64, 16):
        assert max(tile.size) <= 64
        assert tile.rows.start % 8 == tile.columns.start % 8 == 0
        assert (tile.weights >= 0).all()
        total[tile.rows, tile.columns] += tile.weights
    torch.testing.assert_close(total, torch.ones(size))


def test_tiles_go_row_by_row_and_overlap() -> None:
    tiles = place_tiles((100, 200), 128, 32)
    places = [(t.rows.start, t.rows.stop, t.columns.start, t.columns.stop) for t in tiles]
    assert places == [(0, 100, 0, 112), (0, 100, 80, 200)]
    assert tiles[0].size == (100, 112)
    assert tiles[0].weights[0, :80].eq(1).all()  # it alone sees these
    assert tiles[1].weights[7, 0] < 0.02


def test_no_weight_at_inner_edges_of_a_wide_overlap() -> None:
    first, second = place_tiles((64, 192), 128, 64)
    assert first.weights[0, -8:].eq(0).all()  # an eighth of 64 px
    assert first.weights[0, -9] > 0
    assert second.weights[0, :8].eq(0).all()


def test_an_image_no_larger_than_a_tile_is_one() -> None:
    (tile,) = place_tiles((61, 64), 64, 16)
    assert tile.size == (61, 64)
    assert tile.weights.eq(1).all()


@pytest.mark.parametrize(("tile", "expected"), [(64, 16), (1024, 256), (72, 16), (1000, 248)])
def test_overlap_is_a_quarter(tile, expected) -> None:
    assert check_tile(tile, None) == expected
    assert check_tile(tile, 8) == 8


@pytest.mark.parametrize(
    ("tile", "hint"), [(0, 64), (63, 64), (1001, 1008), (-64, 64), (True, 64), (64.0, None), ("64", None)]
)
def test_tiles_that_cannot_be(tile, hint) -> None:
    with pytest.raises(
        ValueError, match="tile must be a number of px, a multiple of 8, at least 64"
    ) as error:
        check_tile(tile, None)
    assert hint is None or str(error.value).endswith(f"The next one is {hint}.")


@pytest.mark.parametrize("overlap", [0, 4, 12, 40, -8, 16.0, True])
def test_overlaps_that_cannot_be(overlap) -> None:
    with pytest.raises(ValueError, match=r"overlap must be .* from 8 to half the tile \(32\), got"):
        check_tile(64, overlap)


@pytest.mark.parametrize(
    ("size", "overlap", "expected"),
    [
        ((2048, 4096), 256, 32),
        ((500, 700), 128, 16),
        ((100, 200), 16, 8),
        ((20, 4096), 256, 16),
        ((9, 99), 256, 8),
    ],
)
def test_cells_fit_eight_times_into_an_overlap_and_once_into_the_image(size, overlap, expected) -> None:
    assert cell_size(size, overlap) == expected


def test_cells_are_means_of_what_lies_wholly_inside() -> None:
    image = torch.arange(12 * 20, dtype=torch.float32).view(1, 12, 20)
    patch = on_cells(image[:, 2:11, 3:20], 4, top_px=2, left_px=3)
    assert (patch.top, patch.left) == (1, 1)
    assert patch.values.shape == (1, 1, 4)  # rows 4 to 7; columns 4 to 19
    torch.testing.assert_close(patch.values[0, 0, 0], image[0, 4:8, 4:8].mean())
    torch.testing.assert_close(patch.values[0, 0, 3], image[0, 4:8, 16:20].mean())


def test_cells_of_ids_are_ids() -> None:
    ids = torch.arange(8 * 8, dtype=torch.int32).view(1, 8, 8)
    patch = on_cells(ids, 4)
    assert patch.values.tolist() == [[[18, 22], [50, 54]]]


def test_common_cells_of_neighbours() -> None:
    image = torch.arange(5 * 7, dtype=torch.float32).view(1, 5, 7)
    patches = [
        Patch(0, 0, image[:, :3, :4]),
        Patch(2, 3, image[:, 2:, 3:]),
        Patch(0, 5, image[:, :2, 5:]),  # touches the second at a side, shares nothing
    ]
    assert list(neighbours(patches)) == [(0, 1)]
    here, there = patches[0].common(patches[1])
    assert here.tolist() == there.tolist() == [[[17.0]]]
