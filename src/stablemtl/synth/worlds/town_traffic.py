"""Vehicles and people of `town`: bodies cut from a side view, buses with round edges, walkers."""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import Array, SceneObject, rotation, transform
from stablemtl.synth.shapes import Mesh, box, cylinder, sphere
from stablemtl.synth.textures import colour
from stablemtl.synth.worlds.held_out_shapes import capsule, profile_body, rounded_box

INSTANTS = 2
_DARK = np.full((1, 1, 3), 22, np.uint8)
_BODY = profile_body(
    np.array([[-1, -0.7], [1, -0.7], [1, -0.1], [0.55, 0.08], [0.15, 0.95], [-0.7, 1.0], [-1, 0.2]])
)
_WINDOWS = profile_body(np.array([[-0.65, -0.35], [0.65, -0.35], [0.25, 0.35], [-0.5, 0.35]]))
Pose = tuple[float, float]


def vehicle(rng: np.random.Generator, place: Pose, heading: float, speed: float) -> list[SceneObject]:
    """A car, bus or truck as objects that move together.

    Args:
        rng: decides kind, size and paint.
        place: (x, y) of its middle at the first instant [m].
        heading: direction of travel, from +x to +y [rad].
        speed: [m per frame]; under 0.1 it stands.
    """
    kind = str(rng.choice(["Car", "Bus", "Truck"], p=[0.75, 0.15, 0.1]))
    turn = rotation((0, 0, 1), heading + rng.normal(0, 0.03))
    steps = [
        transform(place=(*(np.array(place) + step * speed * turn[:2, 0]), 0), turn=turn)
        for step in range(INSTANTS if speed >= 0.1 else 1)
    ]
    paint = (colour(rng, 0.15, 0.95) * 255).astype(np.uint8).reshape(1, 1, 3)
    grow = rng.uniform(0.92, 1.1)
    parts: list[SceneObject] = []

    def part(
        mesh: Mesh,
        centre: Pose3,
        half: Pose3,
        texture: np.ndarray,
        rough: float | None = None,
        turn: Array | None = None,
    ) -> None:
        local = transform(place=grow * np.array(centre), scale=grow * np.array(half), turn=turn)
        poses = tuple(step @ local for step in steps)
        parts.append(SceneObject(mesh=mesh, poses=poses, texture=texture, label=kind, roughness=rough))

    if kind == "Car":
        length, width = 2.0, 0.85
        part(_BODY, (0, 0, 0.82), (length, width, 0.66), paint, 0.2)
        part(_WINDOWS, (-0.45, 0, 1.1), (1.15, width + 0.01, 0.5), _DARK, 0.1)
        part(box(), (-length * 0.9, 0, 1.15), (0.12, 0.7 * width, 0.18), _DARK, 0.1)
    elif kind == "Bus":
        length, width = 4.6, 1.2
        part(rounded_box(10.0), (0, 0, 1.75), (length, width, 1.45), paint, 0.25)
        part(rounded_box(10.0), (0, 0, 2.15), (length + 0.01, width + 0.01, 0.5), _DARK, 0.1)
    else:
        length, width = 3.4, 1.15
        part(box(), (-0.7, 0, 2.0), (2.7, width, 1.3), paint)
        part(rounded_box(8.0), (2.7, 0, 1.3), (0.75, 0.95 * width, 1.0), _DARK, 0.2)
    upright = rotation((1, 0, 0), np.pi / 2)
    for x in (-0.62 * length, 0.62 * length):
        for y in (-0.9 * width, 0.9 * width):
            part(cylinder(12), (x, y, 0.36), (0.36, 0.36, 0.14), _DARK, turn=upright)
    for y in (-0.7 * width, 0.7 * width):
        part(sphere(8), (-length, y, 0.85), (0.06, 0.12, 0.08), np.array([[[190, 25, 20]]], np.uint8))
        part(sphere(8), (length, y, 0.75), (0.06, 0.14, 0.08), np.array([[[235, 235, 215]]], np.uint8))
    return parts


def person(rng: np.random.Generator, place: Pose, speed: float) -> list[SceneObject]:
    """Legs, coat and head of somebody who walks along x at a speed [m per frame]."""
    size = rng.uniform(0.85, 1.1)
    clothes = [(colour(rng) * 255).astype(np.uint8).reshape(1, 1, 3) for _ in range(2)]
    skin = np.array([[[200, 160, 130]]], np.uint8)
    parts = (
        (capsule(), 0.45, (0.16, 0.14, 0.45), clothes[0]),
        (capsule(0.8), 1.12, (0.3, 0.24, 0.4), clothes[1]),
        (sphere(12), 1.6, (0.11, 0.11, 0.14), skin),
    )
    people = []
    for mesh, height, half, texture in parts:
        poses = tuple(
            transform(
                place=(place[0] + step * speed, place[1], size * height + 0.1), scale=size * np.array(half)
            )
            for step in range(INSTANTS)
        )
        people.append(SceneObject(mesh=mesh, poses=poses, texture=texture, label="Person"))
    return people


Pose3 = tuple[float, float, float]
