"""Triangle meshes of the procedural scenes, as plain arrays.

Every primitive is centred at the origin and fits in the cube [-1, 1]^3, so that a 4x4 matrix gives it any
size, shear and place. Vertices are shared within a curved surface and never across an edge, so that normals
averaged at the vertices are right for both.
Legend: V vertices, F triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Triangles with texture coordinates."""

    vertices: Array
    """Positions, shape (V, 3)."""
    faces: NDArray[np.int64]
    """Vertex indices, counter-clockwise from outside, shape (F, 3)."""
    uv: Array
    """Texture coordinates, shape (V, 2)."""


def _grid(points: Array) -> Mesh:
    """Mesh of a (rows, columns, 3) grid of points; texture coordinates run along the grid."""
    rows, cols = points.shape[:2]
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(cols - 1), indexing="ij")
    a = (r * cols + c).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + cols], 1), np.stack([a + 1, a + cols + 1, a + cols], 1)])
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, cols), indexing="ij")
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Mesh(vertices=points.reshape(-1, 3), faces=faces, uv=uv)


def join(*meshes: Mesh) -> Mesh:
    """One mesh out of several."""
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        faces=np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=True)]),
        uv=np.concatenate([m.uv for m in meshes]),
    )


def moved(mesh: Mesh, matrix: Array) -> Mesh:
    """The mesh with its vertices sent through a 4x4 matrix."""
    vertices = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    return Mesh(vertices=vertices, faces=mesh.faces, uv=mesh.uv)


def rectangle() -> Mesh:
    """Square [-1, 1]^2 in the plane z = 0, facing +z."""
    corners = np.array([[[-1, -1, 0], [1, -1, 0]], [[-1, 1, 0], [1, 1, 0]]], dtype=float)
    return _grid(corners)


def box() -> Mesh:
    """Cube [-1, 1]^3; each face carries the whole texture."""
    face = rectangle()
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = np.roll(np.eye(3), axis, axis=1)[:2]
            frame = np.stack([u * sign, v, np.cross(u * sign, v)], 1)
            matrix = np.eye(4)
            matrix[:3, :3] = frame
            matrix[:3, 3] = frame[:, 2]
            sides.append(moved(face, matrix))
    return join(*sides)


def revolved(profile: Array, segments: int = 24) -> Mesh:
    """Surface of revolution about z.

    Args:
        profile: (radius, height) of points from bottom to top, the outside on its right, shape (P, 2).
        segments: sides of the polygon that stands for the circle.
    """
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    radius, height = profile[:, :1], profile[:, 1:]
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height + 0 * angle], -1)
    return _grid(points)


def sphere(segments: int = 24) -> Mesh:
    """Unit sphere."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    profile = np.stack([np.cos(angle), np.sin(angle)], 1)
    profile[[0, -1], 0] = 1e-4
    return revolved(profile, segments)


def cylinder(segments: int = 24) -> Mesh:
    """Closed cylinder of radius 1 about z, from z = -1 to z = 1."""
    side = revolved(np.array([[1.0, -1.0], [1.0, 1.0]]), segments)
    caps = [revolved(np.array(p), segments) for p in ([[1e-4, -1.0], [1.0, -1.0]], [[1.0, 1.0], [1e-4, 1.0]])]
    return join(side, *caps)


def cone(segments: int = 24) -> Mesh:
    """Cone of base radius 1 at z = -1 with its tip at z = 1."""
    side = revolved(np.array([[1.0, -1.0], [1e-3, 1.0]]), segments)
    return join(side, revolved(np.array([[1e-4, -1.0], [1.0, -1.0]]), segments))


def torus(tube: float = 0.3, segments: int = 24) -> Mesh:
    """Ring about z with outer radius 1 and the given tube radius in (0, 0.5)."""
    angle = np.linspace(-np.pi, np.pi, segments // 2 + 1)
    return revolved(np.stack([1 - tube + tube * np.cos(angle), tube * np.sin(angle)], 1), segments)


def prism(outline: Array) -> Mesh:
    """Upright prism from z = -1 to z = 1.

    Args:
        outline: (x, y) of the corners, counter-clockwise and star-shaped around the origin, shape (P, 2).
    """
    ring = np.concatenate([outline, outline[:1]])
    low = np.concatenate([ring, -np.ones((len(ring), 1))], 1)
    high = low * [1, 1, -1]
    sides = [_grid(np.stack([low[i : i + 2], high[i : i + 2]])) for i in range(len(outline))]
    top = np.broadcast_to([0.0, 0.0, 1.0], low.shape)
    caps = [_grid(np.stack([high, top])), _grid(np.stack([top * [1, 1, -1], low]))]
    return _without_slivers(join(*sides, *caps))


def _without_slivers(mesh: Mesh) -> Mesh:
    """The mesh without triangles that have shrunk to a line: they have no normal to average."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    return Mesh(vertices=mesh.vertices, faces=mesh.faces[area > 1e-9], uv=mesh.uv)


def blob(rng: np.random.Generator, bumps: float = 0.25, segments: int = 32) -> Mesh:
    """Closed smooth random surface: a sphere whose radius carries five waves of relative height ``bumps``."""
    ball = sphere(segments)
    directions = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True)
    height = np.zeros(len(directions))
    for _ in range(5):
        height += np.sin(directions @ rng.normal(0, 2.2, 3) + rng.uniform(0, 2 * np.pi))
    radius = 1 + bumps * height / 5
    vertices = directions * (radius / radius.max())[:, None]
    return Mesh(vertices=vertices, faces=ball.faces, uv=ball.uv)


def random_shape(rng: np.random.Generator) -> Mesh:
    """One of the primitives with random parameters."""
    kind = rng.choice(
        ["box", "sphere", "cylinder", "cone", "torus", "prism", "blob"],
        p=[0.25, 0.12, 0.13, 0.08, 0.1, 0.16, 0.16],
    )
    if kind == "torus":
        return torus(tube=rng.uniform(0.15, 0.45))
    if kind == "blob":
        return blob(rng, bumps=rng.uniform(0.2, 0.9))
    if kind == "prism":
        corners = int(rng.integers(3, 10))
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radius = rng.uniform(0.4, 1.0, corners)
        return prism(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))
    plain = {"box": box, "sphere": sphere, "cylinder": cylinder, "cone": cone}
    return plain[str(kind)]()
