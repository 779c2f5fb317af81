"""One map from the tiles' maps."""

from __future__ import annotations

import torch

from stablemtl.large_images.alignment import Fit, alignment_of
from stablemtl.large_images.context import Near
from stablemtl.large_images.joining import join
from stablemtl.large_images.layout import Tile, place_tiles
from stablemtl.tasks import TASKS, build_task
from stablemtl.tasks.semantic import CLASSES

SIZE = (70, 121)
TILES = place_tiles(SIZE, 64, 16)
FIRST = Tile(slice(0, 2), slice(0, 3), torch.ones(2), torch.tensor([1.0, 0.75, 0.25]))
SECOND = Tile(slice(0, 2), slice(1, 4), torch.ones(2), torch.tensor([0.25, 0.75, 1.0]))


def joined(task, tiles, maps, size, fit=None, near=None) -> torch.Tensor:
    task = TASKS[task] if isinstance(task, str) else task
    fit = fit or Fit.identity(len(tiles), task.spec.channels)
    return join(task, tiles, maps, size, alignment_of(task.spec), fit, near=near)


def test_weighted_mean_of_two_tiles() -> None:
    maps = [torch.full((1, 2, 3), 0.2), torch.full((1, 2, 3), 0.6)]
    result = joined("depth", [FIRST, SECOND], maps, (2, 4))
    torch.testing.assert_close(result, torch.tensor([0.2, 0.3, 0.5, 0.6]).expand(1, 1, 2, 4))


def test_scales_come_before_the_mean_and_the_range_after() -> None:
    maps = [torch.full((1, 2, 3), 0.2), torch.full((1, 2, 3), 0.5)]
    fit = Fit(torch.tensor([[2.0], [3.0]]), torch.tensor([[0.1], [0.0]]))
    result = joined("depth", [FIRST, SECOND], maps, (2, 4), fit)
    torch.testing.assert_close(result[0, 0, 0], torch.tensor([0.5, 0.75, 1.0, 1.0]))  # 1.25 and 1.5 clipped


def test_values_beyond_the_range_stay_where_nothing_was_aligned() -> None:
    task = build_task("optical_flow", encoding="calibrated", scale_px=16)
    result = joined(task, [FIRST, SECOND], [torch.full((2, 2, 3), 40.0)] * 2, (2, 4))
    torch.testing.assert_close(result, torch.full((1, 2, 2, 4), 40.0))


def test_equal_tiles_give_the_image() -> None:
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    maps = [image[:, t.rows, t.columns] for t in TILES]
    torch.testing.assert_close(joined("albedo", TILES, maps, SIZE)[0], image)


def test_motion_in_px_grows_to_the_size_of_the_tile() -> None:
    task = build_task("optical_flow", encoding="calibrated")
    maps = [torch.ones(2, 16, 8) for _ in TILES]
    result = joined(task, TILES, maps, SIZE)[0]
    height, width = TILES[0].size
    torch.testing.assert_close(result[:, 0, 0], torch.tensor([width / 8, height / 16]))


def test_normals_have_length_one() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.nn.functional.normalize(torch.randn(3, 9, 7, generator=generator), dim=0) for _ in TILES]
    result = joined("normal", TILES, maps, SIZE)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(1, *SIZE))


def test_a_direction_between_two_lies_between_them() -> None:
    maps = [torch.zeros(3, 2, 3), torch.zeros(3, 2, 3)]
    maps[0][0], maps[1][1] = 1, 1
    result = joined("normal", [FIRST, SECOND], maps, (2, 4))
    torch.testing.assert_close(result[0, :2, 0, 1], torch.tensor([0.75, 0.25]) / 0.625**0.5)


def test_classes_are_voted_on() -> None:
    road, sky = list(CLASSES).index("road"), list(CLASSES).index("sky")
    maps = [torch.full((1, 2, 3), road, dtype=torch.int32), torch.full((1, 2, 3), sky, dtype=torch.int32)]
    result = joined("semantic", [FIRST, SECOND], maps, (2, 4))
    assert result.dtype == torch.int64
    assert result[0, 0, 0].tolist() == [road, road, sky, sky]  # no third class in between


def test_two_tiles_outvote_one_of_more_weight() -> None:
    ones = torch.ones(1)
    tiles = [Tile(slice(0, 1), slice(0, 1), ones * w, ones) for w in (0.4, 0.3, 0.3)]
    maps = [torch.full((1, 1, 1), k, dtype=torch.int32) for k in (7, 2, 2)]
    assert joined("semantic", tiles, maps, (1, 1)).item() == 2


def test_tiles_choose_among_the_classes_that_are_near_in_the_coarse_map() -> None:
    coarse = torch.zeros(1, 1, 8, dtype=torch.int32)
    coarse[..., 4:] = 6  # columns 8 to 15 of the image
    tile = Tile(slice(0, 2), slice(0, 16), torch.ones(2), torch.ones(16))
    ids = torch.full((1, 2, 16), 6, dtype=torch.int32)
    ids[..., 12:] = 3  # nowhere in the coarse map
    result = joined("semantic", [tile], [ids], (2, 16), near=Near(coarse, reach_px=4.0))
    assert result[0, 0, 0].tolist() == [0] * 4 + [6] * 12


def test_ids_are_brought_to_the_size_of_the_tile() -> None:
    maps = [torch.full((1, 5, 9), i, dtype=torch.int32) for i in range(len(TILES))]
    result = joined("semantic", TILES, maps, SIZE)[0, 0]
    assert result.shape == SIZE
    assert result.unique().tolist() == list(range(len(TILES)))
    assert result[0, 0] == 0
    assert result[-1, -1] == len(TILES) - 1


def test_a_pixel_without_a_value_has_none_afterwards() -> None:
    maps = [torch.full((1, 2, 3), 0.2), torch.full((1, 2, 3), 0.6)]
    maps[1][0, 0, 0] = torch.nan
    result = joined(build_task("depth"), [FIRST, SECOND], maps, (2, 4))
    assert result.isnan().nonzero().tolist() == [[0, 0, 0, 1]]
