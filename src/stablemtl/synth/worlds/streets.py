"""`streets`: a road with buildings, trees, poles, signs and vehicles, as in Virtual KITTI 2."""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import (
    Array,
    Light,
    Scene,
    SceneObject,
    gradient_sky,
    look_at,
    rotation,
    transform,
)
from stablemtl.synth.shapes import Mesh, blob, box, cylinder, rectangle, sphere
from stablemtl.synth.textures import Textures, colour
from stablemtl.synth.worlds.street_surfaces import asphalt, facade, leaves, plate, signals, tinted

FOCAL_RATIO = 725.0087 / 1242
FRAMES = 3
VARIATIONS = ("clone", "morning", "overcast", "sunset", "15-deg-left", "15-deg-right")
_VEHICLES = {"Car": (2.1, 0.85, 0.7), "Van": (2.4, 0.95, 1.0), "Truck": (3.6, 1.15, 1.5)}
"""Half length, width and height [m]."""


def street(rng: np.random.Generator, textures: Textures, variation: str = "clone") -> Scene:
    """Three consecutive instants of a drive along a street.

    Args:
        rng: decides everything random.
        textures: source of surface colours.
        variation: light or heading, named as in Virtual KITTI 2; one of ``VARIATIONS``.
    """
    builder = _Street(rng, textures)
    builder.ground()
    builder.roadside()
    builder.traffic()
    cameras = builder.cameras({"15-deg-left": np.pi / 12, "15-deg-right": -np.pi / 12}.get(variation, 0.0))
    sun, sky = _light(rng, variation)
    objects = tuple(builder.objects)
    return Scene(objects=objects, cameras=cameras, focal_ratio=FOCAL_RATIO, lights=(sun,), sky=sky)


def _light(rng: np.random.Generator, variation: str) -> tuple[Light, np.ndarray]:
    """Sun and environment map of a variation."""
    elevation = {"morning": 0.35, "sunset": 0.2, "overcast": 1.0}.get(variation, rng.uniform(0.5, 1.2))
    azimuth = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    direction = (-np.cos(azimuth) * flat, -np.sin(azimuth) * flat, -np.sin(elevation))
    warm = {"morning": (1.0, 0.85, 0.65), "sunset": (1.0, 0.6, 0.35)}.get(variation, (1.0, 0.97, 0.9))
    strength = 0.25 if variation == "overcast" else rng.uniform(1.5, 3.5)
    sky = gradient_sky(rng, rng.uniform(0.7, 1.2), clouds=1.2 if variation == "overcast" else None)
    if variation in {"morning", "sunset"}:
        sky = sky * np.array([1.1, 0.9, 0.75], np.float32)
    return Light(kind="sun", vector=direction, power=tuple(strength * np.array(warm))), sky


class _Street:
    """Collects the objects of one street. The road runs along +x, its centre at y = 0."""

    def __init__(self, rng: np.random.Generator, textures: Textures) -> None:
        self.rng, self.textures = rng, textures
        self.road_half = rng.uniform(3.2, 5.5)
        self.objects: list[SceneObject] = []
        self.speed = float(rng.uniform(0.15, 0.9))  # of the camera [m per frame]

    def add(self, mesh: Mesh, matrix: Array, texture: np.ndarray, label: str, **looks: float | None) -> None:
        """One more static object of a class."""
        self.objects.append(SceneObject(mesh=mesh, poses=(matrix,), texture=texture, label=label, **looks))  # type: ignore[arg-type]

    def ground(self) -> None:
        """Road with lane marks, kerbs, and terrain on both sides."""
        road = transform(place=(60, 0, 0), scale=(100, self.road_half, 1))
        self.add(rectangle(), road, asphalt(self.rng), "Road", tiles=1.0)
        rgb, contrast = ((0.25, 0.4, 0.12), 0.15) if self.rng.random() < 0.6 else ((0.5, 0.48, 0.45), 0.1)
        grass = tinted(self.rng, rgb, contrast)
        for side in (-1, 1):
            # Kerbs are boxes, so that no gap opens between the road and the terrain.
            place = (60, side * (self.road_half + 50), 0.0)
            kerb = transform(place=place, scale=(100, 50, 0.02 + 0.1 * self.rng.random()))
            self.add(box(), kerb, grass, "Terrain", tiles=20.0)
        if self.rng.random() < 0.3:
            side = self.rng.choice([-1, 1])
            rail = transform(place=(40, side * (self.road_half + 0.4), 0.6), scale=(60, 0.04, 0.15))
            self.add(box(), rail, tinted(self.rng, (0.6, 0.6, 0.62), 0.05), "GuardRail")

    def roadside(self) -> None:
        """Buildings, trees, hedges, poles, lights and signs along both sides."""
        for side in (-1, 1):
            urban, leafy = self.rng.random(), self.rng.random()
            x = self.rng.uniform(-6, 4)
            while x < 80:
                length = self.rng.uniform(5, 14)
                if self.rng.random() < 0.35 + 0.6 * urban:
                    depth, height = self.rng.uniform(3, 6), self.rng.uniform(1.8, 7)
                    y = side * (self.road_half + self.rng.uniform(2.5, 6) + depth)
                    house = transform(place=(x + length / 2, y, height), scale=(length / 2, depth, height))
                    self.add(box(), house, facade(self.rng, self.textures), "Building")
                x += length + self.rng.exponential(3.0)
            for x in np.cumsum(self.rng.exponential(9 - 6 * leafy, 14)) - 2:
                self._tree(float(x), side * (self.road_half + self.rng.uniform(1.2, 8)))
            if self.rng.random() < 0.4:
                place = (self.rng.uniform(5, 40), side * (self.road_half + self.rng.uniform(1, 3)), 0.5)
                half = (self.rng.uniform(3, 15), 0.5, self.rng.uniform(0.4, 1.0))
                hedge = transform(place=place, scale=half)
                self.add(box(), hedge, leaves(self.rng), "Vegetation", tiles=3.0)
            for x in np.cumsum(self.rng.exponential(7, 7)) + 2:
                self._post(float(x), side * (self.road_half + self.rng.uniform(0.4, 1.2)), side)

    def traffic(self) -> None:
        """Parked and moving cars, vans and trucks in front of the camera."""
        for side in (-1, 1):
            for x in np.cumsum(self.rng.exponential(9, 6)) + 6:
                parked = self.rng.random() < 0.5
                y = side * (self.road_half - 1.0 if parked else self.rng.uniform(1.4, self.road_half - 1.2))
                self._vehicle(float(x), y, side, 0.0 if parked else self.rng.uniform(0, 0.8))

    def cameras(self, yaw: float) -> tuple[Array, ...]:
        """Drive with slight turns, heading turned by ``yaw`` [rad] to the left."""
        lane, height = -self.rng.uniform(0.3, 0.6) * self.road_half, self.rng.uniform(1.3, 2.0)
        heading, pitch = yaw + self.rng.normal(0, 0.06), self.rng.normal(-0.02, 0.03)
        turn, sway = self.rng.normal(0, 0.008), self.rng.normal(0, 0.02)
        cameras = []
        for frame in range(FRAMES):
            eye = np.array([frame * self.speed, lane + frame * sway, height])
            angle = heading + frame * turn
            cameras.append(look_at(eye, eye + np.array([np.cos(angle), np.sin(angle), pitch])))
        return tuple(cameras)

    def _tree(self, x: float, y: float) -> None:
        height, crown = self.rng.uniform(1.0, 2.2), self.rng.uniform(0.9, 2.4)
        bark = tinted(self.rng, (0.3, 0.22, 0.15), 0.1)
        trunk = transform(place=(x, y, height / 2), scale=(0.14, 0.14, height / 2))
        self.add(cylinder(8), trunk, bark, "Tree")
        green = leaves(self.rng)
        for _ in range(int(self.rng.integers(1, 4))):
            place = np.array([x, y, height + 0.7 * crown]) + self.rng.normal(0, 0.3 * crown, 3)
            shape = blob(self.rng, 0.6, 20)
            matrix = transform(place=place, scale=crown * self.rng.uniform(0.6, 1.1, 3))
            self.add(shape, matrix, green, "Tree", tiles=2.0)

    def _post(self, x: float, y: float, side: int) -> None:
        """A pole that carries nothing, a traffic light or a sign."""
        height = self.rng.uniform(1.2, 3.2)
        grey = tinted(self.rng, (0.45, 0.45, 0.45), 0.1)
        self.add(cylinder(8), transform(place=(x, y, height), scale=(0.07, 0.07, height)), grey, "Pole")
        carried = self.rng.choice(["nothing", "light", "sign"], p=[0.3, 0.3, 0.4])
        turn = rotation((0, 0, 1), self.rng.normal(0, 0.3))
        if carried == "light":
            place = (x - 0.12, y - 0.2 * side, min(2 * height, 3.4) - 0.3)
            head = transform(place=place, scale=(0.16, 0.2, 0.5), turn=turn)
            self.add(box(), head, signals(self.rng), "TrafficLight")
        elif carried == "sign":
            if self.rng.random() < 0.6:
                shape, upright, half = box(), np.eye(3), (0.03, 0.45, 0.45)
            else:
                shape, upright, half = cylinder(), rotation((0, 1, 0), np.pi / 2), (0.45, 0.45, 0.03)
            matrix = transform(place=(x - 0.1, y, min(2 * height, 3.0) - 0.3), turn=turn @ upright)
            self.add(shape, matrix @ transform(scale=half), plate(self.rng), "TrafficSign")

    def _vehicle(self, x: float, y: float, side: int, speed: float) -> None:
        """A body, a cabin or a load, wheels and rear lamps, all in half sizes [m]."""
        kind = str(self.rng.choice(["Car", "Van", "Truck"], p=[0.7, 0.18, 0.12]))
        length, width, height = _VEHICLES[kind] * self.rng.uniform(0.9, 1.1, 3)
        direction = 1.0 if side < 0 else -1.0
        yaw = rotation((0, 0, 1), self.rng.normal(0, 0.06))
        steps = [transform(place=(x + direction * speed * frame, y, 0), turn=yaw) for frame in range(FRAMES)]
        poses = steps if speed > 0 else steps[:1]
        paint = (colour(self.rng, 0.1, 0.95) * 255).astype(np.uint8).reshape(1, 1, 3)
        dark = np.full((1, 1, 3), 25, np.uint8)

        def part(
            mesh: Mesh,
            centre: tuple[float, ...],
            half: tuple[float, ...],
            texture: np.ndarray,
            turn: Array | None = None,
            rough: float | None = None,
        ) -> None:
            local = transform(place=np.array(centre), scale=half, turn=turn)
            moved = tuple(pose @ local for pose in poses)
            item = SceneObject(mesh=mesh, poses=moved, texture=texture, label=kind, roughness=rough)
            self.objects.append(item)

        low = 0.5 * height
        part(box(), (0, 0, 0.3 + low), (length, width, low), paint, rough=0.15)
        if kind == "Car":
            windows, roof = (0.55 * length, 0.88 * width, 0.65 * low), (0.5 * length, 0.85 * width, 0.06)
            part(box(), (-0.1 * length, 0, 0.3 + 2.6 * low), windows, dark, rough=0.1)
            part(box(), (-0.1 * length, 0, 0.3 + 3.3 * low), roof, paint, rough=0.15)
        else:
            load, window = (0.8 * length, width, 0.8 * low), (0.2 * length, 0.9 * width, 0.35 * low)
            cover = paint if kind == "Van" else tinted(self.rng, (0.7, 0.7, 0.7), 0.2)
            part(box(), (-0.2 * length, 0, 0.3 + 2.8 * low), load, cover)
            part(box(), (0.62 * length, 0, 0.3 + 2.4 * low), window, dark, rough=0.1)
        upright = rotation((1, 0, 0), np.pi / 2)
        for sx in (-0.62, 0.62):
            for sy in (-1.0, 1.0):
                wheel = (sx * length, 0.92 * sy * width, 0.33)
                part(cylinder(12), wheel, (0.33, 0.33, 0.12), dark, turn=upright)
        for sy in (-0.7, 0.7):
            lamp = np.array([[[200, 30, 25]]] if self.rng.random() < 0.5 else [[[240, 240, 215]]], np.uint8)
            part(sphere(8), (-length, sy * width, 0.35 + 1.4 * low), (0.05, 0.14, 0.1), lamp)
