"""`still_lifes`: vases, boxes and fruit on a table, under one light after another; a held-out world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stablemtl.synth.scenes import Array, Scene, SceneObject, look_at, rotation, transform
from stablemtl.synth.shapes import Mesh, rectangle
from stablemtl.synth.textures import Image, Textures
from stablemtl.synth.worlds.held_out_shapes import capsule, held_out_shape, rounded_box, vase
from stablemtl.synth.worlds.held_out_skies import studio, towards
from stablemtl.synth.worlds.held_out_surfaces import planks, plaster

LIGHTS = 5
"""Pictures of each still life."""


def still_life(rng: np.random.Generator, textures: Textures) -> list[Scene]:
    """The same table, seen from the same place, once under each of ``LIGHTS`` lights.

    The camera looks along +y and down; a wall stands behind the table, and in half of the scenes another on
    the right or left. Lights are soft, and come from the open sides.
    """
    side = float(rng.choice([-1, 0, 0, 1]))
    objects = _backdrop(rng, textures, side)
    standing: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(5, 11))):
        if (item := _thing(rng, textures, standing)) is not None:
            objects.append(item)
    scene = Scene(objects=tuple(objects), cameras=(_camera(rng),), focal_ratio=float(rng.uniform(0.9, 1.4)))
    first, last = 0.08 + 0.36 * (side > 0), 0.92 - 0.36 * (side < 0)  # 0 is from the right, 1 from the left
    lit = []
    for share in rng.permutation(np.linspace(first, last, LIGHTS)):
        direction = towards(-np.pi * float(share), rng.uniform(0.2, 1.1))
        tint = 1 + rng.uniform(-0.08, 0.08, 3)
        sky = studio(direction, rng.uniform(0.08, 0.35), rng.uniform(0.03, 0.12), tint)
        lit.append(replace(scene, sky=sky))
    return lit


def _backdrop(rng: np.random.Generator, textures: Textures, side: float) -> list[SceneObject]:
    """The top of a large table, a wall behind it and one at a side: 1 is right, -1 left, 0 none."""
    # Light grounds: the exposure follows the brightest surfaces, and shading above it would be clipped.
    top = _faded(rng, planks(rng, 8) if rng.random() < 0.4 else textures.draw(rng))
    wall = plaster(rng, 0.85, 0.97) if rng.random() < 0.6 else _faded(rng, textures.draw(rng))
    facing = rotation((1, 0, 0), np.pi / 2)  # a rectangle that faces -y
    behind = transform(place=(0, rng.uniform(0.6, 1.0), 0), scale=(6, 4, 1), turn=facing)
    objects = [
        _object(rectangle(), transform(scale=6), top, rng.uniform(6, 16)),
        _object(rectangle(), behind, wall, rng.uniform(3, 10)),
    ]
    if side != 0:
        turn = rotation((0, 0, 1), -side * np.pi / 2) @ facing
        beside = transform(place=(side * rng.uniform(0.7, 1.1), 0, 0), scale=(6, 4, 1), turn=turn)
        objects.append(_object(rectangle(), beside, wall, rng.uniform(3, 10)))
    return objects


def _thing(
    rng: np.random.Generator, textures: Textures, standing: list[tuple[float, float, float]]
) -> SceneObject | None:
    """Something that stands clear of what is there already; ``None`` if no room is found."""
    kind = rng.choice(["vase", "box", "fruit", "shape"], p=[0.35, 0.2, 0.25, 0.2])
    mesh: Mesh
    half = rng.uniform(0.05, 0.17) * rng.uniform(0.8, 1.2, 3)
    if kind == "vase":
        mesh, half = vase(rng), np.array([0.55, 0.55, 1.0]) * rng.uniform(0.1, 0.24)
    elif kind == "box":
        mesh = rounded_box(rng.uniform(6, 14))
    elif kind == "fruit":
        mesh, half = capsule(rng.uniform(0.5, 1.0)), np.full(3, rng.uniform(0.045, 0.09))
    else:
        mesh = held_out_shape(rng)
    radius = float(np.hypot(*half[:2]) if kind == "box" else half[:2].max())
    texture, tiles = textures.draw(rng), rng.uniform(0.7, 2)
    rough = float(rng.uniform(0.15, 0.4)) if rng.random() < 0.15 else None
    for _ in range(12):
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.35, 0.4)
        if all(np.hypot(x - other_x, y - other_y) > radius + other for other_x, other_y, other in standing):
            standing.append((float(x), float(y), radius))
            turn = rotation((0, 0, 1), rng.uniform(0, 2 * np.pi))
            pose = transform(place=(x, y, float(half[2])), scale=half, turn=turn)
            return _object(mesh, pose, texture, tiles, rough)
    return None


def _faded(rng: np.random.Generator, texture: Image) -> Image:
    """The texture in its lightest tones."""
    brightest = texture.reshape(-1, 3).max()
    return np.asarray(247 - (brightest - texture) * rng.uniform(0.15, 0.5), np.uint8)


def _object(
    mesh: Mesh, pose: Array, texture: np.ndarray, tiles: float, rough: float | None = None
) -> SceneObject:
    return SceneObject(mesh=mesh, poses=(pose,), texture=texture, tiles=float(tiles), roughness=rough)


def _camera(rng: np.random.Generator) -> Array:
    """In front of the table, some looking down steeply."""
    far, up = rng.uniform(1.0, 1.6), rng.uniform(0.3, 1.0)
    target = np.array([rng.normal(0, 0.06), 0.05, rng.uniform(0.05, 0.15)])
    heading = rng.normal(0, 0.2)
    eye = np.array([far * np.sin(heading), -far * np.cos(heading), up])
    return look_at(eye, target, roll=rng.normal(0, 0.03))
