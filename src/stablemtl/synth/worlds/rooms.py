"""`rooms`: furnished interiors with lamps and windows, as in Hypersim."""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import (
    Array,
    Light,
    Scene,
    SceneObject,
    look_at,
    random_rotation,
    rotation,
    transform,
)
from stablemtl.synth.shapes import Mesh, box, cone, cylinder, random_shape, rectangle, sphere
from stablemtl.synth.textures import Textures, colour

FOCAL_RATIO = 886.81 / 1024
VIEWS = 3
_TRIES = 6
_INWARDS = rotation((0, 1, 0), -np.pi / 2) @ rotation((0, 0, 1), np.pi / 2)
"""Turns a rectangle at +x to face -x, with its first side along y."""
_WHITE = np.full((1, 1, 3), 255, np.uint8)


def room(rng: np.random.Generator, textures: Textures) -> Scene:
    """A closed room with furniture and lamps, seen from three standpoints.

    The standpoints are the instants of the scene; nothing moves.
    """
    builder = _Room(rng, textures)
    builder.shell()
    for _ in range(int(rng.integers(3, 8))):
        builder.furniture()
    for _ in range(int(rng.integers(2, 9))):
        builder.clutter()
    for _ in range(int(rng.integers(1, 6))):
        builder.picture()
    cameras = tuple(builder.camera() for _ in range(VIEWS))
    lights = builder.lamps(cameras)  # adds the lamps that glow, so it comes before the objects are counted
    return Scene(objects=tuple(builder.objects), cameras=cameras, focal_ratio=FOCAL_RATIO, lights=lights)


class _Room:
    """Collects the objects of one room. Its floor spans [-half, half] in x and y; a third axis points up."""

    def __init__(self, rng: np.random.Generator, textures: Textures) -> None:
        self.rng, self.textures = rng, textures
        self.half = rng.uniform(1.8, 4.2, 2)
        self.height = rng.uniform(2.3, 3.4)
        self.objects: list[SceneObject] = []

    def add(
        self, mesh: Mesh, matrix: Array, texture: np.ndarray | None = None, **looks: float | None
    ) -> None:
        """One more object, textured at random unless told otherwise."""
        chosen = self.textures.draw(self.rng) if texture is None else texture
        looks.setdefault("roughness", self.rng.uniform(0.1, 0.4) if self.rng.random() < 0.2 else None)
        self.objects.append(SceneObject(mesh=mesh, poses=(matrix,), texture=chosen, **looks))  # type: ignore[arg-type]

    def shell(self) -> None:
        """Floor, ceiling and four walls, facing inwards."""
        x, y = self.half
        wall = self._plain() if self.rng.random() < 0.65 else self.textures.draw(self.rng)
        self.add(rectangle(), transform(scale=(x, y, 1)), tiles=self.rng.uniform(1, 5))
        ceiling = transform(place=(0, 0, self.height), scale=(x, y, 1), turn=rotation((1, 0, 0), np.pi))
        self.add(rectangle(), ceiling, self._plain(0.6, 0.95), roughness=None)
        for side in range(4):
            outwards = rotation((0, 0, 1), side * np.pi / 2)
            across, along = self._wall(side)
            place = outwards @ [across, 0, self.height / 2]
            surface = wall if self.rng.random() < 0.8 else self.textures.draw(self.rng)
            self.add(
                rectangle(),
                transform(place=place, scale=(along, self.height / 2, 1), turn=outwards @ _INWARDS),
                surface,
                tiles=self.rng.uniform(1, 3),
                roughness=None,
            )

    def furniture(self) -> None:
        """A table, shelf, cabinet, couch or column somewhere on the floor."""
        kind = self.rng.choice(["table", "shelf", "cabinet", "couch", "column"])
        turn = rotation((0, 0, 1), self.rng.choice([0, np.pi / 2]) + self.rng.normal(0, 0.25))
        place = np.array([*self.rng.uniform(-0.9, 0.9, 2) * self.half, 0])
        texture = self.textures.draw(self.rng)

        def part(mesh: Mesh, centre: tuple[float, float, float], half: tuple[float, float, float]) -> None:
            matrix = transform(place=place, turn=turn) @ transform(place=centre, scale=half)
            self.add(mesh, matrix, texture, tiles=1.0)

        w, d, h = self.rng.uniform(0.35, 0.9), self.rng.uniform(0.25, 0.5), self.rng.uniform(0.35, 0.55)
        if kind == "table":
            part(box(), (0, 0, 2 * h), (w, d, 0.03))
            for sx in (-1, 1):
                for sy in (-1, 1):
                    part(cylinder(10), (0.9 * w * sx, 0.85 * d * sy, h), (0.03, 0.03, h))
            for _ in range(int(self.rng.integers(0, 4))):
                size = self.rng.uniform(0.05, 0.2)
                x, y = self.rng.uniform(-0.7, 0.7) * w, self.rng.uniform(-0.7, 0.7) * d
                spot = place + turn @ [x, y, 2 * h + 0.03 + size]
                shape = random_shape(self.rng)
                spin = rotation((0, 0, 1), self.rng.uniform(0, 6))
                self.add(shape, transform(place=spot, scale=size, turn=spin))
        elif kind == "shelf":
            tall = self.rng.uniform(0.5, 1.1)
            for level in np.linspace(0.05, 2 * tall, int(self.rng.integers(3, 6))):
                part(box(), (0, 0, float(level)), (w, 0.5 * d, 0.02))
                for _ in range(int(self.rng.integers(0, 4))):
                    size = self.rng.uniform(0.05, 0.14)
                    spot = place + turn @ [self.rng.uniform(-0.8, 0.8) * w, 0, level + 0.02 + size]
                    shape = box() if self.rng.random() < 0.6 else random_shape(self.rng)
                    half = (size * self.rng.uniform(0.3, 1.2), size, size)
                    self.add(shape, transform(place=spot, scale=half))
            for side in (-1, 1):
                part(box(), (side * w, 0, tall), (0.02, 0.5 * d, tall))
        elif kind == "cabinet":
            tall = self.rng.uniform(0.3, 1.1)
            part(box(), (0, 0, tall), (w, d, tall))
        elif kind == "couch":
            part(box(), (0, 0, 0.25), (1.3 * w, d, 0.25))
            part(box(), (0, -d, 0.5), (1.3 * w, 0.15, 0.5))
            for side in (-1, 1):
                part(box(), (side * 1.3 * w, 0, 0.35), (0.12, d, 0.35))
        else:
            part(cylinder(), (0, 0, self.height / 2), (0.3 * w, 0.3 * w, self.height / 2))

    def clutter(self) -> None:
        """A loose object on the floor, of any shape and attitude."""
        size = self.rng.uniform(0.1, 0.45, 3)
        x, y = self.rng.uniform(-0.85, 0.85, 2) * self.half
        place = (x, y, float(size.max()) * self.rng.uniform(0.7, 1.0))
        shape = random_shape(self.rng)
        matrix = transform(place=place, scale=size, turn=random_rotation(self.rng))
        self.add(shape, matrix, tiles=self.rng.uniform(0.7, 2))

    def picture(self) -> None:
        """A framed picture on a wall."""
        side = int(self.rng.integers(4))
        across, along = self._wall(side)
        turn = rotation((0, 0, 1), side * np.pi / 2)
        y, z = self.rng.uniform(-0.75, 0.75) * along, self.rng.uniform(1.1, 0.8 * self.height)
        half = (0.02, self.rng.uniform(0.2, 0.7), self.rng.uniform(0.2, 0.5))
        self.add(box(), transform(place=turn @ [across - 0.03, y, z], scale=half, turn=turn))

    def lamps(self, cameras: tuple[Array, ...]) -> tuple[Light, ...]:
        """Point lights below the ceiling; the lamps and windows that glow are added to the objects."""
        warmth = np.array([1.0, self.rng.uniform(0.75, 1.0), self.rng.uniform(0.5, 1.05)])
        lights = []
        for _ in range(int(self.rng.integers(1, 4))):
            x, y = self.rng.uniform(-0.7, 0.7, 2) * self.half
            z = self.height * self.rng.uniform(0.75, 0.95)
            power = tuple(self.rng.uniform(1.5, 5) * warmth)
            lights.append(Light(kind="point", vector=(float(x), float(y), float(z)), power=power))
        for _ in range(int(self.rng.integers(1, 3))):
            if self.rng.random() < 0.5:
                self._panel()
            else:
                self._window()
        if self.rng.random() < 0.4:
            self._standing_lamp(cameras)
        return tuple(lights)

    def _panel(self) -> None:
        """A glowing panel below the ceiling."""
        place = (*self.rng.uniform(-0.6, 0.6, 2) * self.half, self.height - 0.06)
        half, down = (*self.rng.uniform(0.2, 0.7, 2), 1), rotation((1, 0, 0), np.pi)
        matrix = transform(place=np.array(place), scale=half, turn=down)
        self.add(rectangle(), matrix, _WHITE, emission=self.rng.uniform(3, 9), roughness=None)

    def _window(self) -> None:
        """A glowing pane on a wall, where there is most room in front of it."""
        panes = []
        for _ in range(_TRIES):
            side = int(self.rng.integers(4))
            across, along = self._wall(side)
            outwards = rotation((0, 0, 1), side * np.pi / 2)
            place = outwards @ [across - 0.02, self.rng.uniform(-0.5, 0.5) * along, 0.55 * self.height]
            panes.append((place, outwards @ _INWARDS))
        place, turn = max(panes, key=lambda pane: self._clearance(pane[0]))
        half = (self.rng.uniform(0.3, 1.0), self.rng.uniform(0.3, 0.7), 1)
        matrix = transform(place=place, scale=half, turn=turn)
        self.add(rectangle(), matrix, _WHITE, emission=self.rng.uniform(2, 8), roughness=None)

    def _standing_lamp(self, cameras: tuple[Array, ...]) -> None:
        """A pole with a glowing shade, on the floor and away from the cameras."""
        places = [np.array([*self.rng.uniform(-0.8, 0.8, 2) * self.half, 0.7]) for _ in range(_TRIES)]
        place = max(places, key=lambda p: min(self._clearance(p), *(_apart(p, c) for c in cameras)))
        self.add(cylinder(10), transform(place=place, scale=(0.03, 0.03, 0.7)))
        shade = cone() if self.rng.random() < 0.5 else sphere()
        matrix = transform(place=place + np.array([0, 0, 0.75]), scale=0.2)
        self.add(shade, matrix, _WHITE, emission=self.rng.uniform(1, 5), roughness=None)

    def camera(self) -> Array:
        """A standpoint at eye height that looks across the room.

        The best of twelve: near a wall and away from the objects' centres.
        """
        best, clearance = np.zeros(3), -1.0
        for _ in range(12):
            eye = np.array([*self.rng.uniform(-0.92, 0.92, 2) * self.half, self.rng.uniform(0.7, 1.8)])
            gap = self._clearance(eye)
            room_ahead = float(np.linalg.norm(eye[:2]))
            if min(gap, 1.2) + 0.3 * room_ahead > clearance:
                best, clearance = eye, min(gap, 1.2) + 0.3 * room_ahead
        target = np.array([*self.rng.uniform(-0.5, 0.5, 2) * self.half, self.rng.uniform(0.3, 1.4)])
        return look_at(best, target, roll=self.rng.normal(0, 0.03))

    def _clearance(self, place: Array) -> float:
        """Distance to the nearest centre of an object, walls apart, on the floor plan [m]."""
        return min((_apart(place, item.poses[0]) for item in self.objects[6:]), default=9.0)

    def _wall(self, side: int) -> tuple[float, float]:
        """Distance of a wall (0 to 3) from the centre, and half its length [m]."""
        x, y = self.half
        return (x, y) if side % 2 == 0 else (y, x)

    def _plain(self, low: float = 0.35, high: float = 0.9) -> np.ndarray:
        return (colour(self.rng, low, high) * 255).astype(np.uint8).reshape(1, 1, 3)


def _apart(place: Array, pose: Array) -> float:
    """Distance of a place and of where a pose stands, on the floor plan [m]."""
    return float(np.linalg.norm(pose[:2, 3] - place[:2]))
