r"""One robust least-squares problem over all tiles of an image: a scale for each, so that overlaps agree.

With x_i the unknowns of tile i and f_i(x_i) its map brought to the common scale, on cells p of the image:

.. math::
    \min_x \sum_{i<j} \sum_{p \in i \cap j} \rho\big(f_i(x_i)_p - f_j(x_j)_p\big)
    + \lambda \sum_i \sum_{p \in i} \rho\big(f_i(x_i)_p - c_p\big), \qquad a_i \ge 0

c is the coarse map of the whole image, rho Huber's loss, and f_i, by :class:`Freedom`:

- scale: a_i v_i;  scale and shift: a_i v_i + b_i;
- ratio: log v_i + log a_i, compared with log c.

The overlaps say how neighbours relate; the coarse map keeps hundreds of tiles from drifting and sets the
scale of all. Solved by iterated reweighting (Huber, Robust Statistics, 1981, section 7.8), each step exactly.

Least squares flattens what it cannot explain: where the coarse map knows little of a tile's detail, all a_i
come out too small together. So one more scale, and shift, for all tiles gives them the coarse map's spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stablemtl.large_images.alignment import Alignment, Fit, Freedom
from stablemtl.large_images.layout import Patch, neighbours

ANCHOR = 0.1
"""Lambda: what a cell's agreement with the coarse map counts against agreement in an overlap."""

_ROUNDS = 30
_HUBER = 1.345  # 95 % efficient for normal errors
_MAD_TO_SIGMA = 1.4826
_TRIM = 0.95
_LEAST_PART = (
    1e-9  # of the values' size: errors below it are rounding, and unknowns without evidence stay put
)

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Link:
    """Residuals of one pair of tiles, or of one tile and the coarse map (``second`` is -1): M rows."""

    first: int
    second: int
    left: _Floats
    """(M, K) coefficients of the first tile's unknowns."""
    right: _Floats
    """(M, K) of the second's; empty for the coarse map."""
    rest: _Floats
    """(M,) the residual if all unknowns are 0."""


def fit_tiles(patches: list[Patch], coarse: Patch, alignment: Alignment, anchor: float = ANCHOR) -> Fit:
    """Factor and addend of each tile.

    Args:
        patches: each tile's map on the image's cells.
        coarse: the whole image's.
        alignment: what is unknown.
        anchor: lambda.
    Returns:
        Factors are 0 or more. A tile that nothing is known about (no finite value) keeps 1 and 0.
    """
    fit = Fit.identity(len(patches), len(coarse.values))
    if alignment.freedom is Freedom.NOTHING:
        return fit
    for group in alignment.groups:
        channels = list(group)
        own = [Patch(p.top, p.left, p.values[channels].double()) for p in patches]
        reference = Patch(coarse.top, coarse.left, coarse.values[channels].double())
        size = reference.values[reference.values.isfinite()].abs().max().item() if len(own) else 0.0
        size = size if size > 0 else 1.0
        if alignment.freedom is not Freedom.RATIO:
            own = [p._replace(values=p.values / size) for p in own]
            reference = reference._replace(values=reference.values / size)
        pairs, anchors = _links(own, reference, alignment.freedom)
        solution = _solve(pairs, anchors, len(own), alignment.freedom, anchor)
        solution = _with_spread(solution, anchors, alignment.freedom)
        if alignment.freedom is Freedom.RATIO:
            fit.factors[:, channels] = torch.from_numpy(np.exp(solution[:, :1])).float()
            continue
        fit.factors[:, channels] = torch.from_numpy(solution[:, :1]).float()
        if alignment.freedom is Freedom.SCALE_AND_SHIFT:
            fit.addends[:, channels] = torch.from_numpy(solution[:, 1:] * size).float()
    return fit


def _links(patches: list[Patch], coarse: Patch, freedom: Freedom) -> tuple[list[_Link], list[_Link]]:
    pairs = []
    for i, j in neighbours(patches):
        here, there = (x.flatten().numpy() for x in patches[i].common(patches[j]))
        pairs.append(_link(i, j, here, there, freedom))
    anchors = []
    for i, patch in enumerate(patches):
        here, there = (x.flatten().numpy() for x in patch.common(coarse))
        anchors.append(_link(i, -1, here, there, freedom))
    return pairs, anchors


def _link(i: int, j: int, here: _Floats, there: _Floats, freedom: Freedom) -> _Link:
    usable = np.isfinite(here) & np.isfinite(there)
    if freedom is Freedom.RATIO:
        usable &= (here > 0) & (there > 0)
        here, there = np.log(here[usable]), np.log(there[usable])
        ones = np.ones((len(here), 1))
        return _Link(i, j, ones, ones if j >= 0 else ones[:, :0], here - there)
    left, right = (_columns(x[usable], freedom) for x in (here, there))
    if j >= 0:
        return _Link(i, j, left, right, np.zeros(len(left)))
    return _Link(i, j, left, right[:, :0], -there[usable])


def _columns(values: _Floats, freedom: Freedom) -> _Floats:
    return np.stack([values, np.ones_like(values)][: 2 if freedom is Freedom.SCALE_AND_SHIFT else 1], axis=1)


def _solve(pairs: list[_Link], anchors: list[_Link], tiles: int, freedom: Freedom, anchor: float) -> _Floats:
    """(tiles, K) unknowns."""
    width = 2 if freedom is Freedom.SCALE_AND_SHIFT else 1
    start = np.zeros((tiles, width))
    if freedom is not Freedom.RATIO:
        start[:, 0] = 1.0
    bounded = np.zeros((tiles, width), dtype=bool)
    bounded[:, 0] = freedom is not Freedom.RATIO
    weights = [[np.ones(len(link.rest)) for link in links] for links in (pairs, anchors)]
    solution = start
    for _ in range(_ROUNDS):
        matrix = np.zeros((tiles, width, tiles, width))
        vector = np.zeros((tiles, width))
        for links, family, share in zip((pairs, anchors), weights, (1.0, anchor), strict=True):
            for link, weight in zip(links, family, strict=True):
                _add(matrix, vector, link, weight * share)
        count = tiles * width
        before = solution
        solution = _bounded_solution(
            matrix.reshape(count, count), vector.ravel(), start.ravel(), bounded.ravel()
        ).reshape(tiles, width)
        if np.abs(solution - before).max() < _LEAST_PART:
            break
        weights = [_huber(links, solution) for links in (pairs, anchors)]
    return solution


def _add(matrix: _Floats, vector: _Floats, link: _Link, weight: _Floats) -> None:
    """The link's part of the normal equations ``matrix x = vector``."""
    i, j = link.first, link.second
    left, right = link.left * weight[:, None], link.right * weight[:, None]
    matrix[i, :, i] += left.T @ link.left
    vector[i] -= left.T @ link.rest
    if j >= 0:
        matrix[j, :, j] += right.T @ link.right
        matrix[i, :, j] -= left.T @ link.right
        matrix[j, :, i] -= right.T @ link.left
        vector[j] += right.T @ link.rest


def _with_spread(solution: _Floats, anchors: list[_Link], freedom: Freedom) -> _Floats:
    """One scale, and shift, for all tiles, so that together they spread as the coarse map does.

    What is noise to a least-squares fit draws its scales to 0, of all tiles alike. Level and spread are the
    median and the mean distance to it, without the largest 5 % of distances; without a shift the level is 0.
    """
    if freedom is Freedom.RATIO:
        return solution  # a mean of logarithms has no such bias
    used = [link for link in anchors if solution[link.first, 0] > 0]
    joined = np.concatenate([link.left @ solution[link.first] for link in used] or [np.zeros(0)])
    coarse = np.concatenate([-link.rest for link in used] or [np.zeros(0)])
    if not joined.size:
        return solution
    levels = [float(np.median(x)) if freedom is Freedom.SCALE_AND_SHIFT else 0.0 for x in (joined, coarse)]
    spreads = [_trimmed_mean(np.abs(x - level)) for x, level in zip((joined, coarse), levels, strict=True)]
    if spreads[0] <= _LEAST_PART:
        return solution
    scale = spreads[1] / spreads[0]
    solution = solution * scale
    if freedom is Freedom.SCALE_AND_SHIFT:
        solution[:, 1] += levels[1] - scale * levels[0]
    return solution


def _trimmed_mean(sizes: _Floats) -> float:
    kept = max(1, int(_TRIM * len(sizes)))
    return float(np.partition(sizes, kept - 1)[:kept].mean())


def _huber(links: list[_Link], solution: _Floats) -> list[_Floats]:
    """min(1, delta / \\|residual\\|), with delta from the median residual of all the links."""
    residuals = [_residual(link, solution) for link in links]
    sizes = np.abs(np.concatenate(residuals)) if residuals else np.zeros(0)
    delta = _HUBER * _MAD_TO_SIGMA * float(np.median(sizes)) if sizes.size else 0.0
    delta = max(delta, _LEAST_PART)
    return [delta / np.maximum(np.abs(r), delta) for r in residuals]


def _residual(link: _Link, solution: _Floats) -> _Floats:
    own = link.left @ solution[link.first] + link.rest
    return own - link.right @ solution[link.second] if link.second >= 0 else own


def _bounded_solution(
    matrix: _Floats, vector: _Floats, start: _Floats, bounded: NDArray[np.bool_]
) -> _Floats:
    """Solves the normal equations with ``bounded`` unknowns at 0 or more.

    A touch of ridge draws to ``start`` what has no evidence. Unknowns that come out negative are held at 0
    and the others solved again, until none does.
    """
    ridge = _LEAST_PART * max(float(matrix.diagonal().mean()), 1.0)
    matrix = matrix + ridge * np.eye(len(matrix))
    vector = vector + ridge * start
    held = np.zeros_like(bounded)
    while True:
        free = ~held
        solution = np.zeros_like(vector)
        solution[free] = np.linalg.solve(matrix[np.ix_(free, free)], vector[free])
        negative = bounded & (solution < 0)
        if not negative.any():
            return solution
        held |= negative
