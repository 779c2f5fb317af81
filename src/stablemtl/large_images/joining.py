"""Tiles' maps into one map of the image, one task at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stablemtl.large_images.alignment import Alignment, Fit, Freedom
from stablemtl.large_images.context import Field, Near
from stablemtl.large_images.layout import Tile
from stablemtl.tasks.base import Task


def join(
    task: Task,
    tiles: Sequence[Tile],
    maps: Sequence[Tensor],
    size: tuple[int, int],
    alignment: Alignment,
    fit: Fit,
    fields: Sequence[Field] = (),
    near: Near | None = None,
) -> Tensor:
    """One map (1, C, H, W) of the image.

    Numbers are weighted means of the tiles that see a pixel, kept within the task's range if they were
    aligned. Class ids cannot be mixed, nor can the colours they are decoded from: halfway between the
    colours of two classes may lie a third's. They are chosen by a vote of the tiles, by the same weights;
    with a coarse map, among the classes that it sees near the pixel.

    Args:
        task: what the maps show.
        tiles: their places.
        maps: (C, h', w') of each, at any size; brought to the tile's.
        size: (H, W) of the image.
        alignment, fit: what brings them to one scale.
        fields: a smooth correction for each, after that; or none.
        near: of class ids, what the tiles may choose from; None for all.
    """
    if maps[0].is_floating_point():
        return _mean(task, tiles, maps, size, alignment, fit, fields)
    return _vote(task, tiles, maps, size, near)


def _mean(
    task: Task,
    tiles: Sequence[Tile],
    maps: Sequence[Tensor],
    size: tuple[int, int],
    alignment: Alignment,
    fit: Fit,
    fields: Sequence[Field],
) -> Tensor:
    result = torch.zeros(1, len(maps[0]), *size)
    for i, (tile, one) in enumerate(_at_size(task, tiles, maps)):
        aligned = alignment.apply(one, fit.factors[i], fit.addends[i])
        if fields:
            aligned = fields[i].apply(aligned, tile)
        result[0, :, tile.rows, tile.columns] += aligned * tile.weights
    if alignment.freedom is not Freedom.NOTHING and (fields or not fit.is_identity):
        result.clamp_(*task.spec.value_range)
    # Resizing to the same size keeps the values, but makes of a mean what the task calls a value: a direction
    # has length 1 again.
    return task.resize_prediction(result, size)


def _vote(
    task: Task, tiles: Sequence[Tile], maps: Sequence[Tensor], size: tuple[int, int], near: Near | None
) -> Tensor:
    classes = sorted({int(k) for one in maps for k in one.unique()})
    if near is None:
        winner = torch.full((len(maps[0]), *size), classes[0], dtype=torch.int64)
    else:
        winner = task.resize_prediction(near.coarse[None], size)[0].long()  # where no tile may choose
    most = torch.zeros(len(maps[0]), *size)
    for k in classes:
        votes = torch.zeros_like(most)
        for tile, one in _at_size(task, tiles, maps):
            votes[:, tile.rows, tile.columns] += (one == k) * tile.weights
        if near is not None:
            votes *= near.allows(k, size)
        winner[votes > most] = k
        torch.maximum(most, votes, out=most)
    return winner[None]


def _at_size(task: Task, tiles: Sequence[Tile], maps: Sequence[Tensor]) -> Iterator[tuple[Tile, Tensor]]:
    for tile, one in zip(tiles, maps, strict=True):
        yield tile, task.resize_prediction(one[None], tile.size)[0]
