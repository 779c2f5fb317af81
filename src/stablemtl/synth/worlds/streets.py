"""`streets`: a road with buildings, trees, poles, signs and vehicles, as in Virtual KITTI 2."""

from __future__ import annotations

import cv2
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
from stablemtl.synth.textures import Textures, colour, noise, pattern

FOCAL_RATIO = 725.0087 / 1242
FRAMES = 3
VARIATIONS = ("clone", "morning", "overcast", "sunset", "15-deg-left", "15-deg-right")


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
    return Scene(
        objects=tuple(builder.objects), cameras=cameras, focal_ratio=FOCAL_RATIO, lights=sun, sky=sky
    )


def _light(rng: np.random.Generator, variation: str) -> tuple[tuple[Light, ...], np.ndarray]:
    elevation = {"morning": 0.35, "sunset": 0.2, "overcast": 1.0}.get(variation, rng.uniform(0.5, 1.2))
    azimuth = rng.uniform(0, 2 * np.pi)
    direction = (
        -np.cos(azimuth) * np.cos(elevation),
        -np.sin(azimuth) * np.cos(elevation),
        -np.sin(elevation),
    )
    warm = {"morning": (1.0, 0.85, 0.65), "sunset": (1.0, 0.6, 0.35)}.get(variation, (1.0, 0.97, 0.9))
    strength = 0.25 if variation == "overcast" else rng.uniform(1.5, 3.5)
    sky = gradient_sky(rng, rng.uniform(0.7, 1.2), clouds=1.2 if variation == "overcast" else None)
    if variation in {"morning", "sunset"}:
        sky = sky * np.array([1.1, 0.9, 0.75], np.float32)
    return (Light(kind="sun", vector=direction, power=tuple(strength * np.array(warm))),), sky


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
        self.add(
            rectangle(),
            transform(place=(60, 0, 0), scale=(100, self.road_half, 1)),
            _asphalt(self.rng),
            "Road",
            tiles=1.0,
        )
        grass = (
            _tinted(self.rng, (0.25, 0.4, 0.12), 0.15)
            if self.rng.random() < 0.6
            else _tinted(self.rng, (0.5, 0.48, 0.45), 0.1)
        )
        for side in (-1, 1):
            # Kerbs are boxes, so that no gap opens between the road and the terrain.
            place = (60, side * (self.road_half + 50), 0.0)
            self.add(
                box(),
                transform(place=place, scale=(100, 50, 0.02 + 0.1 * self.rng.random())),
                grass,
                "Terrain",
                tiles=20.0,
            )
        if self.rng.random() < 0.3:
            side = self.rng.choice([-1, 1])
            rail = transform(place=(40, side * (self.road_half + 0.4), 0.6), scale=(60, 0.04, 0.15))
            self.add(box(), rail, _tinted(self.rng, (0.6, 0.6, 0.62), 0.05), "GuardRail")

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
                    self.add(
                        box(),
                        transform(place=(x + length / 2, y, height), scale=(length / 2, depth, height)),
                        self._facade(),
                        "Building",
                    )
                x += length + self.rng.exponential(3.0)
            for x in np.cumsum(self.rng.exponential(9 - 6 * leafy, 14)) - 2:
                self._tree(float(x), side * (self.road_half + self.rng.uniform(1.2, 8)))
            if self.rng.random() < 0.4:
                place = (self.rng.uniform(5, 40), side * (self.road_half + self.rng.uniform(1, 3)), 0.5)
                self.add(
                    box(),
                    transform(place=place, scale=(self.rng.uniform(3, 15), 0.5, self.rng.uniform(0.4, 1.0))),
                    self._leaves(),
                    "Vegetation",
                    tiles=3.0,
                )
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
            cameras.append(look_at(eye, eye + [np.cos(angle), np.sin(angle), pitch]))
        return tuple(cameras)

    def _tree(self, x: float, y: float) -> None:
        height, crown = self.rng.uniform(1.0, 2.2), self.rng.uniform(0.9, 2.4)
        bark = _tinted(self.rng, (0.3, 0.22, 0.15), 0.1)
        self.add(
            cylinder(8), transform(place=(x, y, height / 2), scale=(0.14, 0.14, height / 2)), bark, "Tree"
        )
        leaves = self._leaves()
        for _ in range(int(self.rng.integers(1, 4))):
            place = np.array([x, y, height + 0.7 * crown]) + self.rng.normal(0, 0.3 * crown, 3)
            self.add(
                blob(self.rng, 0.6, 20),
                transform(place=place, scale=crown * self.rng.uniform(0.6, 1.1, 3)),
                leaves,
                "Tree",
                tiles=2.0,
            )

    def _post(self, x: float, y: float, side: int) -> None:
        """A pole that carries nothing, a traffic light or a sign."""
        height = self.rng.uniform(1.2, 3.2)
        grey = _tinted(self.rng, (0.45, 0.45, 0.45), 0.1)
        self.add(cylinder(8), transform(place=(x, y, height), scale=(0.07, 0.07, height)), grey, "Pole")
        carried = self.rng.choice(["nothing", "light", "sign"], p=[0.3, 0.3, 0.4])
        turn = rotation((0, 0, 1), self.rng.normal(0, 0.3))
        if carried == "light":
            head = transform(
                place=(x - 0.12, y - 0.2 * side, min(2 * height, 3.4) - 0.3),
                scale=(0.16, 0.2, 0.5),
                turn=turn,
            )
            self.add(box(), head, _lamps(self.rng), "TrafficLight")
        elif carried == "sign":
            shape = box() if self.rng.random() < 0.6 else cylinder()
            upright = (
                np.eye(3) if len(shape.vertices) == len(box().vertices) else rotation((0, 1, 0), np.pi / 2)
            )
            thin = (0.03, 0.45, 0.45) if upright[0, 0] == 1 else (0.45, 0.45, 0.03)
            place = transform(place=(x - 0.1, y, min(2 * height, 3.0) - 0.3), turn=turn @ upright)
            self.add(shape, place @ transform(scale=thin), _sign(self.rng), "TrafficSign")

    def _vehicle(self, x: float, y: float, side: int, speed: float) -> None:
        kind = self.rng.choice(["Car", "Van", "Truck"], p=[0.7, 0.18, 0.12])
        length, width, height = {"Car": (2.1, 0.85, 0.7), "Van": (2.4, 0.95, 1.0), "Truck": (3.6, 1.15, 1.5)}[
            str(kind)
        ] * self.rng.uniform(0.9, 1.1, 3)
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
            self.objects.append(
                SceneObject(mesh=mesh, poses=moved, texture=texture, label=str(kind), roughness=rough)
            )

        low = 0.5 * height
        part(box(), (0, 0, 0.3 + low), (length, width, low), paint, rough=0.15)
        if kind == "Car":
            part(
                box(),
                (-0.1 * length, 0, 0.3 + 2.6 * low),
                (0.55 * length, 0.88 * width, 0.65 * low),
                dark,
                rough=0.1,
            )
            part(
                box(),
                (-0.1 * length, 0, 0.3 + 3.3 * low),
                (0.5 * length, 0.85 * width, 0.06),
                paint,
                rough=0.15,
            )
        else:
            part(
                box(),
                (-0.2 * length, 0, 0.3 + 2.8 * low),
                (0.8 * length, width, 0.8 * low),
                paint if kind == "Van" else _tinted(self.rng, (0.7, 0.7, 0.7), 0.2),
            )
            part(
                box(),
                (0.62 * length, 0, 0.3 + 2.4 * low),
                (0.2 * length, 0.9 * width, 0.35 * low),
                dark,
                rough=0.1,
            )
        upright = rotation((1, 0, 0), np.pi / 2)
        for sx in (-0.62, 0.62):
            for sy in (-1.0, 1.0):
                part(
                    cylinder(12),
                    (sx * length, 0.92 * sy * width, 0.33),
                    (0.33, 0.33, 0.12),
                    dark,
                    turn=upright,
                )
        for sy in (-0.7, 0.7):
            lamp = np.array([[[200, 30, 25]]] if self.rng.random() < 0.5 else [[[240, 240, 215]]], np.uint8)
            part(sphere(8), (-length, sy * width, 0.35 + 1.4 * low), (0.05, 0.14, 0.1), lamp)

    def _facade(self) -> np.ndarray:
        """Wall with rows of windows, or a photograph's crop."""
        if self.rng.random() < 0.25:
            return self.textures.draw(self.rng)
        wall = np.repeat(np.repeat((colour(self.rng, 0.3, 0.85)[None, None] * 255), 128, 0), 128, 1)
        wall *= 0.85 + 0.3 * noise(self.rng)[..., None]
        rows, cols = self.rng.integers(2, 5), self.rng.integers(2, 7)
        glass = colour(self.rng, 0.1, 0.5) * 255
        for r in range(rows):
            for c in range(cols):
                top, left = int((r + 0.25) * 128 / rows), int((c + 0.25) * 128 / cols)
                wall[top : top + 64 // rows, left : left + 64 // cols] = glass * self.rng.uniform(0.7, 1.3)
        return np.clip(wall, 5, 250).astype(np.uint8)

    def _leaves(self) -> np.ndarray:
        return _tinted(self.rng, (0.2 + 0.15 * self.rng.random(), 0.4, 0.12), 0.3)


def _tinted(rng: np.random.Generator, rgb: tuple[float, float, float], contrast: float) -> np.ndarray:
    """Noise around a colour, uint8 (128, 128, 3)."""
    base = np.clip(np.array(rgb) * rng.uniform(0.7, 1.3) + rng.normal(0, 0.03, 3), 0.03, 0.95)
    grain = 1 + 2 * contrast * (noise(rng, octaves=6, roughness=0.9)[..., None] - 0.5)
    return (np.clip(base * grain, 0.02, 0.97) * 255).astype(np.uint8)


def _asphalt(rng: np.random.Generator) -> np.ndarray:
    """Grey surface with lane marks. The texture spans the whole road: 1024 along it, 64 across."""
    grey = rng.uniform(0.2, 0.45)
    tile = grey * (0.9 + 0.2 * cv2.resize(rng.random((64, 1024)).astype(np.float32), (1024, 64)))
    image = np.repeat(tile[..., None], 3, 2)
    mark = rng.uniform(0.7, 0.9)
    if rng.random() < 0.85:
        dashed = (np.arange(1024) // 12) % 2 == 0 if rng.random() < 0.7 else np.ones(1024, bool)
        image[31:33, dashed] = mark
    if rng.random() < 0.7:
        image[[2, 61]] = mark
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _lamps(rng: np.random.Generator) -> np.ndarray:
    """Dark housing with three lamps, one lit."""
    image = np.full((48, 32, 3), 30, np.uint8)
    lit = int(rng.integers(3))
    for i, rgb in enumerate([(230, 40, 30), (240, 180, 40), (40, 220, 90)]):
        shade = rgb if i == lit else tuple(v // 5 for v in rgb)
        cv2.circle(image, (16, 8 + 16 * i), 6, shade, -1)
    return image[::-1].copy()


def _sign(rng: np.random.Generator) -> np.ndarray:
    """Bright plate with a border, sometimes with a pattern."""
    plate = [(210, 30, 30), (30, 70, 190), (240, 200, 30), (235, 235, 235)][int(rng.integers(4))]
    image = np.empty((48, 48, 3), np.uint8)
    image[:] = plate
    image[6:42, 6:42] = (245, 245, 245) if plate != (235, 235, 235) else (200, 30, 30)
    if rng.random() < 0.5:
        image[14:34, 14:34] = cv2.resize(pattern(rng), (20, 20))
    return image
