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
from stablemtl.synth.worlds.held_out_shapes import (
    capsule,
    gable,
    held_out_shape,
    polygon,
    profile_body,
    rounded_box,
    star,
    tapered,
    vase,
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
    "vase": vase(np.random.default_rng(0)),
    "capsule": capsule(),
    "peanut": capsule(0.5),
    "rounded box": rounded_box(8.0),
    "star": star(5, 0.5),
    "frustum": tapered(prism(polygon(4)), 0.5),
    "gable": gable(),
    "profile": profile_body(np.array([[-1, -1], [1, -1], [-1, 0.5]])),
    **{f"held out {seed}": held_out_shape(np.random.default_rng(seed)) for seed in range(12)},
}
VOLUMES = {
    "box": 8.0,
    "sphere": 4 / 3 * np.pi,
    "cylinder": 2 * np.pi,
    "cone": 2 / 3 * np.pi,
    "torus": 2 * np.pi**2 * 0.7 * 0.3**2,
    "prism": 2 * 2.5 * np.sin(0.4 * np.pi),
    "star": 2 * 5 * 0.5 * np.sin(0.2 * np.pi),
    "frustum": 2 / 3 * (2 + 0.5 + 1),  # base 2, top 0.5, their geometric mean 1, height 2
    "gable": 4.0,
    "profile": 3.0,
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


def test_shapes_for_standing_have_a_flat_base() -> None:
    for seed in range(12):
        height = SOLIDS[f"held out {seed}"].vertices[:, 2]
        assert height.min() == pytest.approx(-1)
        assert (height < -1 + 1e-9).sum() >= 6


def test_side_views_stand_upright() -> None:
    """The roof's ridge and the body's corner are where the outline says."""
    ridge = gable().vertices[gable().vertices[:, 2] > 0.9]
    np.testing.assert_allclose(ridge[:, 1], 0, atol=1e-12)
    assert sorted(set(ridge[:, 0].round(6))) == [-1, 1]
    body = SOLIDS["profile"].vertices
    high = body[body[:, 2] > 0.4]
    assert set(high[:, 0].round(6)) == {-1.0}
    assert sorted(set(high[:, 1].round(6))) == [-1, 1]


def test_a_round_box_is_between_ball_and_cube() -> None:
    volumes = [volume(rounded_box(power)) for power in (2.0, 4.0, 12.0)]
    assert volumes == sorted(volumes)
    assert volumes[0] == pytest.approx(4 / 3 * np.pi, rel=0.03)
    assert volumes[-1] > 7


def test_random_shapes_follow_the_generator() -> None:
    again = random_shape(np.random.default_rng(3))
    np.testing.assert_array_equal(again.vertices, SOLIDS["random 3"].vertices)
    assert len({len(SOLIDS[f"random {seed}"].vertices) for seed in range(20)}) > 4
