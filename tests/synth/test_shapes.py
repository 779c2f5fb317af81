from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stablemtl.synth.shapes import (
    Mesh,
    blob,
    box,
    cone,
    cylinder,
    join,
    moved,
    prism,
    random_shape,
    rectangle,
    sphere,
    torus,
)

PENTAGON = np.stack([np.cos(np.arange(5) * 0.4 * np.pi), np.sin(np.arange(5) * 0.4 * np.pi)], 1)
SOLIDS = {
    "box": box(),
    "sphere": sphere(),
    "cylinder": cylinder(),
    "cone": cone(),
    "torus": torus(),
    "prism": prism(PENTAGON),
    "blob": blob(np.random.default_rng(0)),
    **{f"random {seed}": random_shape(np.random.default_rng(seed)) for seed in range(20)},
}
VOLUMES = {
    "box": 8.0,
    "sphere": 4 / 3 * np.pi,
    "cylinder": 2 * np.pi,
    "cone": 2 / 3 * np.pi,
    "torus": 2 * np.pi**2 * 0.7 * 0.3**2,
    "prism": 2 * 2.5 * np.sin(0.4 * np.pi),
}


def corners(mesh: Mesh) -> np.ndarray:
    """(F, 3, 3): triangles, corners, coordinates."""
    return mesh.vertices[mesh.faces]


def volume(mesh: Mesh) -> float:
    """Signed volume: positive if the triangles are counter-clockwise from outside."""
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return float(np.sum(a * np.cross(b, c)) / 6)


@pytest.mark.parametrize("name", SOLIDS)
def test_arrays(name: str) -> None:
    mesh = SOLIDS[name]
    assert mesh.vertices.shape == (len(mesh.vertices), 3)
    assert mesh.uv.shape == (len(mesh.vertices), 2)
    assert mesh.faces.shape == (len(mesh.faces), 3)
    assert mesh.faces.min() == 0
    assert mesh.faces.max() == len(mesh.vertices) - 1
    assert np.isfinite(mesh.vertices).all()
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1


@pytest.mark.parametrize("name", SOLIDS)
def test_fits_the_cube(name: str) -> None:
    assert np.abs(SOLIDS[name].vertices).max() == pytest.approx(1, abs=0.65)
    assert np.abs(SOLIDS[name].vertices).max() <= 1 + 1e-9


@pytest.mark.parametrize("name", SOLIDS)
def test_is_closed(name: str) -> None:
    mesh = SOLIDS[name]
    places = np.unique(np.rint(mesh.vertices * 200).astype(int), axis=0, return_inverse=True)[1].ravel()
    edges: Counter[tuple[int, int]] = Counter()
    for face in places[mesh.faces]:
        if len(set(face.tolist())) == 3:  # triangles at a pole have shrunk to a line
            edges.update((int(face[i]), int(face[(i + 1) % 3])) for i in range(3))
    assert edges
    assert all(edges[second, first] == count for (first, second), count in edges.items())


@pytest.mark.parametrize("name", SOLIDS)
def test_faces_outwards(name: str) -> None:
    found = volume(SOLIDS[name])
    assert found > 0
    if name in VOLUMES:
        assert found == pytest.approx(VOLUMES[name], rel=0.08)  # polygons for circles


def test_box_and_rectangle_normals() -> None:
    a, b, c = np.moveaxis(corners(rectangle()), 1, 0)
    assert np.cross(b - a, c - a).tolist() == [[0, 0, 4], [0, 0, 4]]
    a, b, c = np.moveaxis(corners(box()), 1, 0)
    normal = np.cross(b - a, c - a) / 4
    np.testing.assert_allclose(np.sum(normal * a, -1), 1, atol=1e-12)  # every face at distance 1


def test_join_and_moved() -> None:
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    matrix[:3, 3] = 1, 0, -1
    both = join(rectangle(), moved(box(), matrix))
    assert len(both.vertices) == 4 + 24
    assert len(both.faces) == 2 + 12
    assert volume(both) == pytest.approx(8 * 2 * 3 * 4)
    assert both.vertices[4:].min(0).tolist() == pytest.approx([-1, -3, -5])
    assert both.vertices[4:].max(0).tolist() == pytest.approx([3, 3, 3])


def test_random_shapes_follow_the_generator() -> None:
    again = random_shape(np.random.default_rng(3))
    np.testing.assert_array_equal(again.vertices, SOLIDS["random 3"].vertices)
    assert len({len(SOLIDS[f"random {seed}"].vertices) for seed in range(20)}) > 4
