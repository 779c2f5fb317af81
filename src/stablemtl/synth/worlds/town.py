"""`town`: a lane between rows of houses that ends at a crossing; a held-out world.

It is to `streets` what a photographed benchmark is to rendered training data: other camera, houses, trees,
traffic, surfaces and light, and classes that training never shows.
"""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import Array, Light, Scene, SceneObject, look_at, rotation, transform
from stablemtl.synth.shapes import Mesh, box, cylinder, prism, rectangle, sphere
from stablemtl.synth.textures import Textures, colour
from stablemtl.synth.worlds.held_out_shapes import capsule, gable, polygon, rounded_box, tapered
from stablemtl.synth.worlds.held_out_skies import hazy_sky, towards
from stablemtl.synth.worlds.held_out_surfaces import (
    meadow,
    needles,
    planks,
    plaster,
    roof_tiles,
    setts,
    slabs,
    stones,
    tall_windows,
)
from stablemtl.synth.worlds.street_surfaces import plate, signals
from stablemtl.synth.worlds.town_traffic import person, vehicle

FOCAL_RATIO = 0.75
LAMP_HEIGHT = 4.6  # [m]

_BLOCK = prism(np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]]))
"""A cube whose sides all carry the texture upright."""


def town(rng: np.random.Generator, textures: Textures) -> Scene:
    """Two consecutive instants of a drive. Labels are class names of Cityscapes, as one word each."""
    builder = _Town(rng, textures)
    builder.ground()
    for side in (-1, 1):
        builder.houses(side)
        builder.trees(side)
        builder.signs(side)
    builder.square()
    builder.traffic()
    cameras = builder.cameras()
    lights, sky = builder.light()
    objects = tuple(builder.objects)
    return Scene(objects=objects, cameras=cameras, focal_ratio=FOCAL_RATIO, lights=lights, sky=sky)


class _Town:
    """Collects the objects. The lane runs along +x up to ``end``, where a street along y crosses it."""

    def __init__(self, rng: np.random.Generator, textures: Textures) -> None:
        self.rng, self.textures = rng, textures
        self.lane, self.cross = rng.uniform(2.6, 4.2), rng.uniform(3.0, 5.0)  # half widths [m]
        self.pavement = rng.uniform(1.6, 3.2)  # width [m]
        self.end = rng.uniform(22, 55)
        self.speed = float(rng.uniform(0.15, 1.0))  # of the camera [m per frame]
        self.dusk = rng.random() < 0.3
        self.objects: list[SceneObject] = []
        self.lamps: list[tuple[float, float, float]] = []

    def add(self, mesh: Mesh, matrix: Array, texture: np.ndarray, label: str, **looks: float | None) -> None:
        """One more object that does not move."""
        self.objects.append(SceneObject(mesh=mesh, poses=(matrix,), texture=texture, label=label, **looks))  # type: ignore[arg-type]

    def ground(self) -> None:
        """Lane, crossing street, raised pavements, and grass around."""
        rng, start = self.rng, -25.0
        self.add(rectangle(), transform(place=(0, 0, -0.05), scale=300), meadow(rng), "Terrain", tiles=80.0)
        length = (self.end - start) / 2
        lane = transform(place=(start + length, 0, 0), scale=(length, self.lane, 1))
        self.add(rectangle(), lane, setts(rng), "Road")
        turn = rotation((0, 0, 1), np.pi / 2)
        across = transform(place=(self.end + self.cross, 0, 0.004), scale=(70, self.cross, 1), turn=turn)
        self.add(rectangle(), across, setts(rng), "Road")
        paving, kerb = slabs(rng), rng.uniform(0.08, 0.18)
        for side in (-1, 1):
            place = (start + length, side * (self.lane + self.pavement / 2), 0)
            self.add(
                box(),
                transform(place=place, scale=(length, self.pavement / 2, kerb)),
                paving,
                "Sidewalk",
                tiles=12.0,
            )
        place = (self.end + 2 * self.cross + 2, 0, 0)
        self.add(box(), transform(place=place, scale=(2, 70, kerb)), paving, "Sidewalk", tiles=12.0)
        hill = transform(place=(240, rng.uniform(-150, 150), -5), scale=(90, 260, rng.uniform(8, 35)))
        self.add(sphere(), hill, meadow(rng), "Terrain", tiles=12.0)

    def houses(self, side: int) -> None:
        """A row of houses of different widths; in gaps, a garden behind a wall or a fence."""
        rng, x = self.rng, self.rng.uniform(-14, -8)
        front = self.lane + self.pavement
        while x < self.end - 3:
            width = min(rng.uniform(4.5, 11), self.end - x)
            if rng.random() < 0.75:
                self.house(
                    (x + width / 2, side * (front + 4)), (width / 2, 4.0), ridge_along=rng.random() < 0.6
                )
            else:
                self.garden(x, width, side, front)
            x += width + (rng.uniform(0.5, 3) if rng.random() < 0.2 else 0.0)

    def house(self, place: tuple[float, float], half: tuple[float, float], ridge_along: bool) -> None:
        """A front with windows under a gable, a hipped roof or none."""
        rng, (x, y), (dx, dy) = self.rng, place, half
        height = rng.uniform(2.2, 6.5)  # half of it
        front = self.textures.draw(rng) if rng.random() < 0.15 else tall_windows(rng)
        self.add(_BLOCK, transform(place=(x, y, height), scale=(dx, dy, height)), front, "Building")
        kind = rng.choice(["gable", "hip", "flat"], p=[0.6, 0.25, 0.15])
        up, tiles = rng.uniform(0.6, 1.6), roof_tiles(rng)
        place3 = (x, y, 2 * height + up)
        if kind == "gable":
            turn = np.eye(3) if ridge_along else rotation((0, 0, 1), np.pi / 2)
            scale = (dx, dy + 0.3, up) if ridge_along else (dy + 0.3, dx, up)
            self.add(gable(), transform(place=place3, scale=scale, turn=turn), tiles, "Building", tiles=2.0)
        elif kind == "hip":
            roof = transform(place=place3, scale=(dx, dy + 0.3, up))
            self.add(tapered(_BLOCK, 0.35), roof, tiles, "Building", tiles=2.0)
        if rng.random() < 0.5:
            chimney = transform(
                place=(x + 0.5 * dx, y, 2 * height + up), scale=(0.3, 0.3, up + rng.uniform(0.3, 0.8))
            )
            self.add(_BLOCK, chimney, plaster(rng, 0.2, 0.5), "Building")

    def garden(self, x: float, width: float, side: int, front: float) -> None:
        """A wall or a fence with bushes behind it."""
        rng, middle = self.rng, x + width / 2
        if rng.random() < 0.6:
            masonry = stones(rng, (colour(rng, 0.4, 0.8), colour(rng, 0.2, 0.4)))
            wall = transform(
                place=(middle, side * (front + 0.2), 0.8), scale=(width / 2, 0.2, rng.uniform(0.6, 1.1))
            )
            self.add(box(), wall, masonry, "Wall", tiles=2.0)
        else:
            wood = planks(rng)
            for post in np.arange(x + 0.2, x + width, 0.45):
                slat = transform(place=(float(post), side * (front + 0.1), 0.6), scale=(0.12, 0.03, 0.6))
                self.add(box(), slat, wood, "Fence")
        for _ in range(int(rng.integers(1, 5))):
            size = rng.uniform(0.6, 1.6)
            spot = (x + rng.uniform(0, width), side * (front + rng.uniform(1.5, 6)), 0.8 * size)
            self.add(
                rounded_box(3.0), transform(place=spot, scale=size), needles(rng), "Vegetation", tiles=3.0
            )

    def trees(self, side: int) -> None:
        """Conifers and poplars at the kerb, and lamp posts between them."""
        rng, y = self.rng, side * (self.lane + 0.6)
        for x in np.cumsum(rng.exponential(9, 7)) + 3:
            if x < self.end - 2 and rng.random() < 0.8:
                self.tree((float(x), y))
        for x in np.arange(rng.uniform(3, 14), self.end, rng.uniform(14, 22)):
            self.lamp(float(x), side)

    def tree(self, place: tuple[float, float]) -> None:
        """A cone in three tiers, or a slender crown."""
        rng, (x, y) = self.rng, place
        bark, green, trunk = planks(rng, 3), needles(rng), rng.uniform(0.7, 1.3)
        self.add(cylinder(8), transform(place=(x, y, trunk), scale=(0.13, 0.13, trunk)), bark, "Vegetation")
        width, base = rng.uniform(0.8, 1.5), 1.6 * trunk
        if rng.random() < 0.6:
            for tier in range(3):
                size = width * (1 - 0.25 * tier)
                layer = transform(place=(x, y, base + size + 1.1 * tier * width), scale=(size, size, size))
                self.add(tapered(prism(polygon(9)), 0.05), layer, green, "Vegetation", tiles=2.0)
        else:
            tall = rng.uniform(1.8, 3.5)
            crown = transform(place=(x, y, base + tall - 0.3), scale=(0.7 * width, 0.7 * width, tall))
            self.add(capsule(), crown, green, "Vegetation", tiles=3.0)

    def lamp(self, x: float, side: int) -> None:
        """A post whose arm reaches over the lane."""
        y, grey = side * (self.lane + 0.35), np.full((1, 1, 3), int(self.rng.integers(40, 120)), np.uint8)
        post = transform(place=(x, y, LAMP_HEIGHT / 2), scale=(0.07, 0.07, LAMP_HEIGHT / 2))
        self.add(cylinder(8), post, grey, "Pole")
        arm = transform(place=(x, y - side * 0.6, LAMP_HEIGHT), scale=(0.04, 0.65, 0.04))
        self.add(box(), arm, grey, "Pole")
        head = transform(place=(x, y - side * 1.2, LAMP_HEIGHT - 0.1), scale=(0.12, 0.3, 0.08))
        self.add(rounded_box(), head, grey, "Pole", emission=2.0 if self.dusk else 0.0)
        self.lamps.append((x, y - side * 1.2, LAMP_HEIGHT - 0.4))

    def signs(self, side: int) -> None:
        """Triangles and octagons on posts, and lights on a mast before the crossing."""
        rng, grey = self.rng, np.full((1, 1, 3), 110, np.uint8)
        for x in np.cumsum(rng.exponential(10, 3)) + 4:
            height, y = rng.uniform(1.8, 2.6), side * (self.lane + rng.uniform(0.25, 0.5))
            post = transform(place=(float(x), y, height / 2), scale=(0.05, 0.05, height / 2))
            self.add(cylinder(8), post, grey, "Pole")
            shape = prism(polygon(3) if rng.random() < 0.5 else polygon(8))
            upright = rotation((0, 0, 1), rng.normal(0, 0.25)) @ rotation((0, 1, 0), -np.pi / 2)
            board = transform(place=(float(x) - 0.1, y, height), scale=(0.42, 0.42, 0.02), turn=upright)
            self.add(shape, board, plate(rng), "TrafficSign")
        if rng.random() < 0.7:
            x, y = self.end - 0.8, side * (self.lane + 0.4)
            self.add(cylinder(8), transform(place=(x, y, 2.6), scale=(0.08, 0.08, 2.6)), grey, "Pole")
            reach = rng.uniform(0.8, 1.6)
            self.add(
                box(), transform(place=(x, y - side * reach, 5.1), scale=(0.05, reach, 0.05)), grey, "Pole"
            )
            for offset, z in ((0.0, 2.8), (2 * reach - 0.2, 4.6)):
                head = transform(place=(x - 0.2, y - side * offset, z), scale=(0.15, 0.2, 0.5))
                self.add(_BLOCK, head, signals(rng), "TrafficLight")

    def square(self) -> None:
        """Houses along the far side of the crossing, one of them with a tower."""
        rng, front = self.rng, self.end + 2 * self.cross + 4
        y = -32.0
        while y < 32:
            width = rng.uniform(5, 11)
            if rng.random() < 0.85:
                self.house((front + 4, y + width / 2), (4.0, width / 2), ridge_along=rng.random() < 0.4)
            y += width
        if rng.random() < 0.6:
            spot, radius, height = rng.uniform(-15, 15), rng.uniform(1.5, 3), rng.uniform(7, 12)
            masonry = stones(rng, (colour(rng, 0.4, 0.8), colour(rng, 0.2, 0.4)))
            tower = transform(place=(front + 9, spot, height), scale=(radius, radius, height))
            self.add(prism(polygon(8)), tower, masonry, "Building", tiles=3.0)
            spire = transform(
                place=(front + 9, spot, 2 * height + 2.5), scale=(1.1 * radius, 1.1 * radius, 2.5)
            )
            self.add(tapered(prism(polygon(8)), 0.03), spire, roof_tiles(rng), "Building", tiles=2.0)

    def traffic(self) -> None:
        """Vehicles that park, come towards the camera or cross in front of it, and people on the pavement."""
        rng = self.rng
        for x in np.cumsum(rng.exponential(8, 3)) + 7:
            if x < self.end - 4:
                self.objects += vehicle(rng, (float(x), 0.45 * self.lane), np.pi, rng.uniform(0.0, 0.9))
        for x in np.cumsum(rng.exponential(8, 2)) + 9:
            if x < self.end - 4:
                self.objects += vehicle(rng, (float(x), -0.5 * self.lane), 0.0, rng.uniform(0.0, 0.9))
        for y in rng.uniform(-14, 14, int(rng.integers(1, 4))):
            heading = np.pi / 2 if rng.random() < 0.5 else -np.pi / 2
            x = self.end + self.cross * (1.5 if heading > 0 else 0.5)
            self.objects += vehicle(rng, (x, float(y)), heading, rng.uniform(0.2, 0.9))
        for _ in range(int(rng.integers(1, 6))):
            side = float(rng.choice([-1, 1]))
            y = side * (self.lane + rng.uniform(0.8, max(1.0, self.pavement - 0.3)))
            self.objects += person(rng, (rng.uniform(4, 0.8 * self.end), y), rng.normal(0, 0.1))

    def cameras(self) -> tuple[Array, Array]:
        """Two stands of a high camera that turns a little."""
        rng = self.rng
        height, y = rng.uniform(2.1, 2.9), -rng.uniform(0.3, 0.6) * self.lane
        heading, pitch, turn = rng.normal(0, 0.05), rng.normal(-0.1, 0.03), rng.normal(0, 0.012)
        first, second = np.array([0.0, y, height]), np.array([self.speed, y + rng.normal(0, 0.03), height])
        return (
            look_at(first, first + np.array([np.cos(heading), np.sin(heading), pitch])),
            look_at(second, second + np.array([np.cos(heading + turn), np.sin(heading + turn), pitch])),
        )

    def light(self) -> tuple[tuple[Light, ...], np.ndarray]:
        """A low sun, or dusk under the lamps."""
        rng, azimuth = self.rng, self.rng.uniform(0, 2 * np.pi)
        if self.dusk:
            warm = np.array([1.0, 0.7, 0.4]) * rng.uniform(4, 9)
            lamps = sorted(self.lamps)[:4]
            lights = tuple(Light(kind="point", vector=lamp, power=tuple(warm)) for lamp in lamps)
            return lights, hazy_sky(rng, towards(azimuth, -0.1), rng.uniform(0.15, 0.35), 0.8)
        sun = towards(azimuth, rng.uniform(0.25, 0.6))
        power = rng.uniform(0.4, 2.6) * np.array([1.0, 0.92, 0.8])
        light = Light(kind="sun", vector=tuple(-sun), power=tuple(power))
        return (light,), hazy_sky(rng, sun, rng.uniform(0.6, 1.1), rng.uniform(0, 0.4))
