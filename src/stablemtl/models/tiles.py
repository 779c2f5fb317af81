"""Large images through a network in overlapping tiles, in memory that hardly grows with the image.

Letters: B images, C and D channels in and out, (h, w) size in cells, the unit in which tiles are placed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Span(NamedTuple):
    """A tile along one axis [cells]."""

    start: int
    stop: int
    own: slice
    """Its part that no other tile counts as its own, from ``start``."""

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where tiles lie, and how they are joined."""

    edge: int
    """Longest edge of a tile [cells]."""
    overlap: int
    """Cells that neighbours have in common."""
    trim: int = 0
    """Cells at an inner edge of a tile that are not used. What is left of the overlap is blended linearly.
    With half the overlap nothing is: if the network sees no farther than that, the tiles join as one image
    would."""

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.trim <= self.overlap < self.edge:
            raise ValueError(
                f"Tiling needs 0 <= 2 * trim <= overlap < edge, "
                f"got edge={self.edge}, overlap={self.overlap}, trim={self.trim}."
            )

    def spans(self, length: int) -> list[Span]:
        """Tiles along an axis of ``length`` cells, of nearly equal size."""
        if length <= self.edge:
            return [Span(0, length, slice(0, length))]
        count = -(-(length - self.overlap) // (self.edge - self.overlap))
        cuts = [round(i * (length - self.overlap) / count) for i in range(count + 1)]
        spans = []
        for start, cut in pairwise(cuts):
            stop = cut + self.overlap
            first = self.overlap // 2 if start else 0
            last = cut + self.overlap // 2 if stop < length else length
            spans.append(Span(start, stop, slice(first, last - start)))
        return spans

    def weights(self, length: int, scale: int) -> list[Tensor]:
        """Weights of each tile along an axis, one per output position; at each position they sum to one.

        Args:
            length: of the axis [cells].
            scale: output positions per cell.
        """
        spans = self.spans(length)
        places = torch.arange(self.overlap * scale) + 0.5
        width = (self.overlap - 2 * self.trim) * scale
        ramp = (places - self.trim * scale) / width if width else (places > self.trim * scale).float()
        ramp = ramp.clamp(0, 1)
        total = torch.zeros(length * scale)
        weights = []
        for span in spans:
            one = torch.ones(span.length * scale)
            if span.start > 0:
                one[: len(ramp)] *= ramp
            if span.stop < length:
                one[len(one) - len(ramp) :] *= 1 - ramp
            total[_part(span, scale)] += one
            weights.append(one)
        # Neighbours' ramps sum to one by themselves, unless three tiles meet.
        return [one / total[_part(span, scale)] for one, span in zip(weights, spans, strict=True)]


def in_tiles(network: nn.Module, x: Tensor, tiling: Tiling, *, in_scale: int, out_scale: int) -> Tensor:
    """``network(x)`` tile by tile.

    A ``GroupNorm`` in it would normalise each tile by the tile's own mean and variance, and neighbours would
    not match. So a first sweep over the tiles, if there is such a layer, sums up each layer's statistics over
    all tiles, and a second one normalises by them. They are those of the whole for the first such layer, and
    close for later ones, whose input in the first sweep was normalised tile by tile.

    Args:
        network: (B, C, in_scale*a, in_scale*b) to (B, D, out_scale*a, out_scale*b), for any a and b.
        x: shape (B, C, in_scale*h, in_scale*w).
        tiling: tiles, in cells.
        in_scale: entries of ``x`` per cell along each axis.
        out_scale: entries of the result per cell along each axis.
    Returns:
        Shape (B, D, out_scale*h, out_scale*w).
    """
    height, width = x.shape[-2] // in_scale, x.shape[-1] // in_scale
    network, norms = _with_shared_norms(network)

    down, across = (
        list(zip(tiling.spans(length), tiling.weights(length, out_scale), strict=True))
        for length in (height, width)
    )

    def tiles() -> Iterator[tuple[tuple[slice, slice], Tensor, Tensor]]:
        """Place in the result, the network's output there, and its weights."""
        for rows, rows_weights in down:
            for columns, columns_weights in across:
                for norm in norms:
                    norm.place = (rows, columns)
                tile = network(x[..., _part(rows, in_scale), _part(columns, in_scale)])
                weights = (rows_weights[:, None] * columns_weights).to(tile)
                yield (_part(rows, out_scale), _part(columns, out_scale)), tile, weights

    if norms:
        for _ in tiles():
            pass
        for norm in norms:
            norm.settle()
    result: Tensor | None = None
    for (rows, columns), tile, weights in tiles():
        if result is None:
            result = tile.new_zeros(*tile.shape[:2], height * out_scale, width * out_scale)
        result[..., rows, columns] += tile * weights
    assert result is not None, "there is at least one tile"
    return result


def _part(span: Span, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


class SharedGroupNorm(nn.Module):
    """A ``GroupNorm`` over all tiles of an image: it sums up statistics until :meth:`settle`, then uses them.

    Args:
        norm: the layer it stands for, whose weights it shares.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm
        self.place: tuple[Span, Span] | None = None
        """The tile that comes next."""
        self._sums: list[Tensor] | None = None  # count, sum, sum of squares; the last two (B, groups)
        self._affine: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self._affine is not None:
            factor, shift = self._affine
            return torch.addcmul(shift.to(x.dtype), x, factor.to(x.dtype))
        assert self.place is not None, "a tile has a place"
        rows, columns = (
            slice(span.own.start * length // span.length, span.own.stop * length // span.length)
            for span, length in zip(self.place, x.shape[-2:], strict=True)
        )
        own = x[..., rows, columns].reshape(len(x), self.norm.num_groups, -1).float()
        new = [torch.tensor(float(own.shape[-1])), own.sum(-1), own.square().sum(-1)]
        self._sums = new if self._sums is None else [a + b for a, b in zip(self._sums, new, strict=True)]
        return self.norm(x)

    def settle(self) -> None:
        """The sums so far become mean and variance."""
        assert self._sums is not None, "a sweep has passed"
        count, total, squares = self._sums
        mean = total / count.to(total)
        deviation = (squares / count.to(total) - mean.square() + self.norm.eps).rsqrt()
        mean, deviation = (
            s.repeat_interleave(self.norm.num_channels // self.norm.num_groups, dim=1)[..., None, None]
            for s in (mean, deviation)
        )  # (B, C, 1, 1)
        weight, bias = self.norm.weight.float()[:, None, None], self.norm.bias.float()[:, None, None]
        self._affine = deviation * weight, bias - mean * deviation * weight


def _with_shared_norms(network: nn.Module) -> tuple[nn.Module, list[SharedGroupNorm]]:
    """``network`` with its norms replaced, in a copy that shares the weights; and the replacements."""
    if not any(isinstance(layer, nn.GroupNorm) for layer in network.modules()):
        return network, []
    weights = {id(x): x for x in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, weights)
    norms = []
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.GroupNorm):
                norms.append(SharedGroupNorm(layer))
                setattr(parent, name, norms[-1])
    return network, norms
