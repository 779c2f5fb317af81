"""Shapes of the held-out worlds, kept apart from those of ``stablemtl.synth.shapes`` that training sees.

Like those, each is centred at the origin and fits in the cube [-1, 1]^3; all but ``capsule`` and
``rounded_box`` stand on a flat base at z = -1.
"""

from __future__ import annotations

import numpy as np

from stablemtl.synth.shapes import Array, Mesh, join, prism, revolved, sphere

_ON_AXIS = 1e-4  # radius that stands for 0, so that no triangle loses its normal


def lathe(profile: Array, segments: int = 24) -> Mesh:
    """Surface of revolution about z, closed by flat discs.

    Args:
        profile: (radius, height) of points from bottom to top, shape (P, 2).
        segments: sides of the polygon that stands for the circle.
    """
    (low_radius, low), (high_radius, high) = profile[0], profile[-1]
    base = np.array([[_ON_AXIS, low], [low_radius, low]])
    lid = np.array([[high_radius, high], [_ON_AXIS, high]])
    return join(revolved(profile, segments), revolved(base, segments), revolved(lid, segments))


def vase(rng: np.random.Generator) -> Mesh:
    """Closed vase, bottle or jar with a smooth random outline."""
    height = np.linspace(-1, 1, 17)
    waves = sum(rng.uniform(-0.22, 0.22) * np.cos(k * np.pi * (height + 1) / 2) for k in range(1, 4))
    radius = np.clip(0.55 + waves, 0.15, None)
    return lathe(np.stack([radius / radius.max() * rng.uniform(0.5, 1.0), height], 1))


def capsule(waist: float = 1.0, segments: int = 24) -> Mesh:
    """Upright ellipsoid, thinner in the middle by the factor ``waist``; a peanut below about 0.6."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    radius = np.maximum(0.8 * np.cos(angle), _ON_AXIS) * (1 - (1 - waist) * np.cos(angle) ** 4)
    return revolved(np.stack([radius, np.sin(angle)], 1), segments)


def rounded_box(power: float = 5.0) -> Mesh:
    """Cube with round edges: the unit ball of the ``power``-norm; 2 is a sphere."""
    ball = sphere(32)
    size = (np.abs(ball.vertices) ** power).sum(1, keepdims=True) ** (1 / power)
    return Mesh(vertices=ball.vertices / size, faces=ball.faces, uv=ball.uv)


def tapered(mesh: Mesh, top: float) -> Mesh:
    """The mesh with its width shrinking linearly from z = -1 to ``top`` times as much at z = 1."""
    width = 1 - (1 - top) * (mesh.vertices[:, 2:] + 1) / 2
    return Mesh(
        vertices=mesh.vertices * np.concatenate([width, width, width**0], 1), faces=mesh.faces, uv=mesh.uv
    )


def polygon(corners: int) -> Array:
    """Corners (x, y) of a regular polygon on the unit circle, counter-clockwise, shape (corners, 2)."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def star(points: int, inner: float = 0.5) -> Mesh:
    """Upright prism over a star whose inner corners are at ``inner`` of its radius."""
    radius = np.tile([1.0, inner], points)[:, None]
    return prism(polygon(2 * points) * radius)


def gable() -> Mesh:
    """Roof with its ridge along x: a triangle in y and z, from z = -1 to the ridge at z = 1."""
    return _lying(np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]]))


def profile_body(outline: Array) -> Mesh:
    """Body of constant width along y over a side view.

    Args:
        outline: (x, z) of the corners, counter-clockwise as seen from -y and star-shaped around the origin,
            shape (P, 2).
    """
    mesh = prism(outline)
    swapped = mesh.vertices[:, [0, 2, 1]] * [1, -1, 1]
    return Mesh(vertices=swapped, faces=mesh.faces, uv=mesh.uv)


def _lying(outline: Array) -> Mesh:
    """Prism along x over an outline (y, z), counter-clockwise as seen from +x."""
    mesh = prism(outline)
    return Mesh(vertices=mesh.vertices[:, [2, 0, 1]], faces=mesh.faces, uv=mesh.uv)


def held_out_shape(rng: np.random.Generator) -> Mesh:
    """One of the shapes of this file that stand, with random parameters."""
    kind = rng.choice(["vase", "star", "frustum", "cross"], p=[0.45, 0.2, 0.2, 0.15])
    if kind == "vase":
        return vase(rng)
    if kind == "star":
        return tapered(star(int(rng.integers(5, 9)), rng.uniform(0.45, 0.7)), rng.uniform(0.4, 1.0))
    if kind == "frustum":
        return tapered(prism(polygon(int(rng.integers(3, 7)))), rng.uniform(0.1, 0.6))
    arm = rng.uniform(0.25, 0.45)
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turn = np.array([[0, 1], [-1, 0]])  # a quarter, for rows
    corners = [quarter @ np.linalg.matrix_power(turn, k) for k in range(4)]
    return prism(np.concatenate(corners) / np.hypot(1.0, arm))
