"""`things`: textured objects flying in front of textured backdrops, as in FlyingThings3D."""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import (
    Array,
    Light,
    Scene,
    SceneObject,
    gradient_sky,
    look_at,
    random_rotation,
    rotation,
    transform,
)
from stablemtl.synth.shapes import random_shape, rectangle
from stablemtl.synth.textures import Textures

FOCAL_RATIO = 1050 / 960
_LARGEST_FLOW = 0.1  # of the image width: moderate motions, so that a small network can learn them


def things(rng: np.random.Generator, textures: Textures) -> Scene:
    """Two instants of 5 to 14 rigidly moving objects before a wall, on a ground or under a sky.

    A third of the scenes are static and seen by a sideways moving camera, like a stereo pair.
    """
    static = rng.random() < 0.35
    strength = float(np.exp(rng.uniform(np.log(0.15), np.log(1.0))))  # many small motions, few large ones
    far = rng.uniform(8, 25)
    cameras = _cameras(rng, strength, static, far)
    objects = _backdrop(rng, textures, far, cameras[0])
    for _ in range(int(rng.integers(5, 15))):
        objects.append(_flying(rng, textures, 0.0 if static else strength, far, cameras[0]))
    sun = rng.normal(size=3) + np.array([0, 0, -1.2])  # mostly downwards
    power = rng.uniform(1.0, 3.5) * np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.7, 1)])
    sunlight = Light(kind="sun", vector=tuple(sun / np.linalg.norm(sun)), power=tuple(power))
    lights = (sunlight,) if rng.random() < 0.8 else ()
    photo = textures.photo(rng, (32, 64)) if rng.random() < 0.5 else None
    if photo is None:
        sky = gradient_sky(rng, rng.uniform(0.6, 1.4))
    else:
        sky = ((photo / 255.0) ** 2.2 * 1.6 + 0.15).astype(np.float32)
    return Scene(objects=tuple(objects), cameras=cameras, focal_ratio=FOCAL_RATIO, lights=lights, sky=sky)


def _cameras(rng: np.random.Generator, strength: float, static: bool, far: float) -> tuple[Array, Array]:
    eye = np.array([0.0, 0.0, rng.uniform(0.8, 2.5)])
    heading = rng.uniform(0, 2 * np.pi)
    target = eye + np.array([np.cos(heading), np.sin(heading), rng.uniform(-0.25, 0.15)])
    first = look_at(eye, target, roll=rng.normal(0, 0.05))
    second = first.copy()
    if static:
        # Parallax of the nearest objects (about 3 m) stays within the largest flow. Half the moves are purely
        # sideways.
        step = rng.choice([-1, 1]) * 0.27 * strength
        aside = (0.0, 0.0) if rng.random() < 0.5 else rng.normal(0, 0.3 * abs(step), 2)
        shift = np.array([step, *aside])
    else:
        shift = rng.normal(0, 0.12 * strength, 3)
        second[:3, :3] = first[:3, :3] @ random_rotation(rng, 0.04 * strength)
    second[:3, 3] = first[:3, 3] + first[:3, :3] @ shift
    return first, second


def _backdrop(rng: np.random.Generator, textures: Textures, far: float, camera: Array) -> list[SceneObject]:
    objects = []
    if rng.random() < 0.75:
        objects.append(_square(transform(scale=3 * far), rng, textures, tiles=(3, 16)))
    walls = rng.choice([0, 1, 2], p=[0.2, 0.5, 0.3])
    for _ in range(walls):
        # A tilted picture wall that faces the camera.
        turn = camera[:3, :3] @ rotation((1, 0, 0), np.pi + rng.normal(0, 0.2))
        turn = turn @ rotation((0, 1, 0), rng.normal(0, 0.5))
        place = camera[:3, 3] + camera[:3, :3] @ [rng.normal(0, 0.2 * far), 0, far * rng.uniform(0.7, 1.2)]
        wall = transform(place=place, scale=far * rng.uniform(0.5, 1.5), turn=turn)
        objects.append(_square(wall, rng, textures, tiles=(0.5, 3)))
    return objects


def _square(
    pose: Array, rng: np.random.Generator, textures: Textures, tiles: tuple[float, float]
) -> SceneObject:
    texture = textures.draw(rng)
    return SceneObject(mesh=rectangle(), poses=(pose,), texture=texture, tiles=rng.uniform(*tiles))


def _flying(
    rng: np.random.Generator, textures: Textures, strength: float, far: float, camera: Array
) -> SceneObject:
    depth = np.exp(rng.uniform(np.log(2.5), np.log(0.9 * far)))
    half_width = 0.5 / FOCAL_RATIO * depth
    place = camera[:3, 3] + camera[:3, :3] @ [
        rng.uniform(-1, 1) * half_width,
        rng.uniform(-0.8, 0.8) * half_width,
        depth,
    ]
    scale = depth * np.exp(rng.uniform(np.log(0.04), np.log(0.22))) * rng.uniform(0.5, 1.4, 3)
    turn = random_rotation(rng)
    poses = [transform(place=place, scale=scale, turn=turn)]
    if strength > 0:
        reach = _LARGEST_FLOW * depth / FOCAL_RATIO
        step = np.clip(rng.normal(0, 0.45 * strength * reach, 3), -2, 2)
        spin = random_rotation(rng, 0.25 * strength)
        poses.append(transform(place=place + step, scale=scale, turn=spin @ turn))
    rough = rng.uniform(0.08, 0.4) if rng.random() < 0.3 else None
    return SceneObject(
        mesh=random_shape(rng),
        poses=tuple(poses),
        texture=textures.draw(rng),
        tiles=rng.uniform(0.7, 3),
        roughness=rough,
    )
