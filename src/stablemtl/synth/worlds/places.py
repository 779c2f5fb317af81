"""`places`: halls and gardens, seen once each; a held-out world of indoor and outdoor scans.

Halls have many-sided plans, columns, stairs and skylights where training rooms are boxes with furniture;
gardens have ruins, rocks and fountains where training streets have traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stablemtl.synth.scenes import Array, Light, Scene, SceneObject, look_at, rotation, transform
from stablemtl.synth.shapes import Mesh, box, rectangle
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import place_parts as parts
from stablemtl.synth.worlds.held_out_shapes import gable, rounded_box
from stablemtl.synth.worlds.held_out_skies import hazy_sky, towards
from stablemtl.synth.worlds.held_out_surfaces import meadow, needles, planks, plaster, slabs, terrazzo

Maker = Callable[[np.random.Generator, Textures], list[SceneObject]]

_WHITE = np.full((1, 1, 3), 255, np.uint8)
_DOWN = rotation((1, 0, 0), np.pi)
_INSIDE: tuple[Maker, ...] = (parts.stairs, parts.bench, parts.chair, parts.plant, parts.statue, parts.crates)
_LARGE: tuple[Maker, ...] = (parts.ruin, parts.pergola, parts.tower, parts.fountain)
_GREEN: tuple[Maker, ...] = (parts.tree, parts.rock, parts.bush)


def hall(rng: np.random.Generator, textures: Textures) -> Scene:
    """One view into a closed hall."""
    builder = _Place(rng, textures)
    lights = builder.hall()
    camera = builder.camera()
    objects = tuple(builder.objects)
    return Scene(objects=objects, cameras=(camera,), focal_ratio=builder.focal_ratio, lights=lights)


def garden(rng: np.random.Generator, textures: Textures) -> Scene:
    """One view of a garden under the sky."""
    builder = _Place(rng, textures)
    builder.garden()
    camera = builder.camera()
    sun = towards(rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.0))
    power = rng.uniform(0.2, 2.8) * np.array([1.0, 0.95, 0.85])
    return Scene(
        objects=tuple(builder.objects),
        cameras=(camera,),
        focal_ratio=builder.focal_ratio,
        lights=(Light(kind="sun", vector=tuple(-sun), power=tuple(power)),),
        sky=hazy_sky(rng, sun, rng.uniform(0.6, 1.1), rng.uniform(0, 0.5)),
    )


class _Place:
    """Collects the objects of one place. Things stand within ``radius`` [m] of the origin."""

    def __init__(self, rng: np.random.Generator, textures: Textures) -> None:
        self.rng, self.textures = rng, textures
        self.radius = 1.0
        self.focal_ratio = float(rng.uniform(0.65, 1.05))
        self.objects: list[SceneObject] = []
        self.taken: list[tuple[float, float, float]] = []
        """Places (x, y) and radii of what stands there [m]."""

    def add(self, mesh: Mesh, matrix: Array, texture: np.ndarray, **looks: float) -> None:
        """One more object."""
        self.objects.append(SceneObject(mesh=mesh, poses=(matrix,), texture=texture, **looks))  # type: ignore[arg-type]

    def hall(self) -> tuple[Light, ...]:
        """Five to nine walls, floor, ceiling with beams, things, and lamps; gives the lights."""
        rng, sides = self.rng, int(self.rng.integers(5, 10))
        outer, height = rng.uniform(3.0, 7.0), rng.uniform(2.6, 5.0)
        across, half = outer * np.cos(np.pi / sides), outer * np.sin(np.pi / sides)
        floors = (terrazzo(rng), planks(rng, 10), slabs(rng), parts.masonry(rng))
        floor, scale = floors[int(rng.integers(4))], (1.1 * outer, 1.1 * outer, 1)
        self.add(rectangle(), transform(scale=scale), floor, tiles=rng.uniform(2, 5))
        self.add(rectangle(), transform(place=(0, 0, height), scale=scale, turn=_DOWN), plaster(rng, 0.7))
        wall = parts.masonry(rng) if rng.random() < 0.4 else plaster(rng)
        for side in range(sides):
            outwards = rotation((0, 0, 1), 2 * np.pi * (side + 0.5) / sides)
            place = outwards @ [across + 0.1, 0, height / 2]
            panel = transform(place=place, scale=(0.1, half + 0.1, height / 2), turn=outwards)
            self.add(box(), panel, wall if rng.random() < 0.85 else self.textures.draw(rng), tiles=2.0)
            if half > 0.8 and rng.random() < 0.5:
                self._door(outwards, across, height)
        wood = planks(rng)
        for offset in np.arange(0.5 - outer, outer, rng.uniform(1.2, 2.5)):
            beam = transform(place=(float(offset), 0, height - 0.12), scale=(0.09, outer, 0.12))
            self.add(box(), beam, wood, tiles=2.0)
        self.radius = across - 0.3
        for _ in range(int(rng.integers(0, 5))):
            width = rng.uniform(0.2, 0.35)
            half3 = (width, width, height / 2)
            column = parts.part(parts.COLUMN, (0, 0, height / 2), half3, parts.masonry(rng), tiles=2.0)
            self._stand([column])
        self._furnish(_INSIDE, (3, 9))
        return self._lamps(height)

    def garden(self) -> None:
        """Grass, a terrace, buildings, plants and rocks, smaller things, and hills far away."""
        rng = self.rng
        self.radius = rng.uniform(5, 10)
        self.add(rectangle(), transform(place=(0, 0, -0.02), scale=250), meadow(rng), tiles=60.0)
        paving = parts.masonry(rng) if rng.random() < 0.6 else slabs(rng)
        terrace = transform(place=(*rng.uniform(-3, 3, 2), 0), scale=(*rng.uniform(2.5, 7, 2), 0.06))
        self.add(box(), terrace, paving, tiles=3.0)
        for _ in range(int(rng.integers(1, 4))):
            place = np.array([*(rng.uniform(60, 160) * towards(rng.uniform(0, 2 * np.pi), 0)[:2]), -4])
            hill = transform(place=place, scale=(*rng.uniform(20, 45, 2), rng.uniform(8, 25)))
            self.add(rounded_box(2.0), hill, meadow(rng), tiles=10.0)
        if rng.random() < 0.7:
            self._border()
        self._furnish(_LARGE, (2, 5))
        self._furnish(_GREEN, (6, 17))
        self._furnish((*_INSIDE, parts.column), (1, 6))

    def _border(self) -> None:
        """A hedge or a wall around the garden, open here and there."""
        rng, sides = self.rng, int(self.rng.integers(6, 11))
        far, thick, high = self.radius + rng.uniform(0.5, 3), rng.uniform(0.15, 0.5), rng.uniform(0.5, 1.6)
        half = 1.02 * far * np.tan(np.pi / sides)
        surface = needles(rng) if rng.random() < 0.5 else parts.masonry(rng)
        for side in range(sides):
            if rng.random() < 0.85:
                turn = rotation((0, 0, 1), 2 * np.pi * side / sides)
                wall = transform(place=turn @ [far, 0, high], scale=(thick, half, high), turn=turn)
                self.add(box(), wall, surface, tiles=4.0)

    def camera(self) -> Array:
        """A stand with room around it, towards the rim, that looks across the middle."""
        rng = self.rng
        stands = [self._spot() for _ in range(12)]
        x, y = max(stands, key=lambda spot: min(self._gap(spot), 1.2) + 0.1 * float(np.hypot(*spot)))
        eye, target = np.array([x, y, rng.uniform(0.5, 2.2)]), np.array([*self._spot(), 0.0]) * 0.4
        target[2] = eye[2] + np.linalg.norm(target[:2] - eye[:2]) * rng.uniform(-0.35, 0.05)
        return look_at(eye, target, roll=rng.normal(0, 0.05))

    def _spot(self) -> tuple[float, float]:
        x, y, _ = self.radius * np.sqrt(self.rng.random()) * towards(self.rng.uniform(0, 2 * np.pi), 0.0)
        return float(x), float(y)

    def _gap(self, spot: tuple[float, float]) -> float:
        """Free distance around a spot [m]."""
        return min((float(np.hypot(x - spot[0], y - spot[1])) - r for x, y, r in self.taken), default=9.0)

    def _furnish(self, makers: Sequence[Maker], count: tuple[int, int]) -> None:
        for _ in range(int(self.rng.integers(*count))):
            self._stand(makers[int(self.rng.integers(len(makers)))](self.rng, self.textures))

    def _stand(self, thing: list[SceneObject]) -> None:
        """Put a thing where there is room; if there is none in eight tries, leave it out."""
        corners = np.concatenate(
            [item.mesh.vertices @ item.poses[0][:2, :3].T + item.poses[0][:2, 3] for item in thing]
        )
        radius, turn = float(np.linalg.norm(corners, axis=1).max()), self.rng.uniform(0, 2 * np.pi)
        for _ in range(8):
            spot = self._spot()
            if self._gap(spot) > radius:
                self.taken.append((*spot, radius))
                put = transform(place=(*spot, 0), turn=rotation((0, 0, 1), turn))
                self.objects += [replace(item, poses=(put @ item.poses[0],)) for item in thing]
                return

    def _door(self, outwards: Array, across: float, height: float) -> None:
        """A door in its frame under a gable."""
        rng = self.rng
        wide, tall = rng.uniform(0.4, 0.65), min(rng.uniform(0.9, 1.1), 0.42 * height)
        leaf = transform(place=outwards @ [across - 0.01, 0, tall], scale=(0.03, wide, tall), turn=outwards)
        self.add(box(), leaf, planks(rng, 4) if rng.random() < 0.6 else self.textures.draw(rng))
        stone, quarter = plaster(rng), outwards @ rotation((0, 0, 1), np.pi / 2)
        for side in (-1, 1):
            place = outwards @ [across - 0.04, side * (wide + 0.06), tall]
            self.add(box(), transform(place=place, scale=(0.08, 0.06, tall), turn=outwards), stone)
        place = outwards @ [across - 0.04, 0, 2 * tall + 0.12]
        self.add(gable(), transform(place=place, scale=(1.4 * wide, 0.1, 0.12), turn=quarter), stone)

    def _lamps(self, height: float) -> tuple[Light, ...]:
        """Hanging globes and a skylight."""
        rng, lights = self.rng, []
        warm = np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1.0)])
        for _ in range(int(rng.integers(1, 4))):
            x, y = self._spot()
            z = height - rng.uniform(0.4, 0.8)
            globe = transform(place=(x, y, z), scale=0.12)
            self.add(rounded_box(2.0), globe, _WHITE, emission=rng.uniform(2, 6))
            power = tuple(rng.uniform(1, 4) * height / 3 * warm)
            lights.append(Light(kind="point", vector=(x, y, z - 0.2), power=power))
        if rng.random() < 0.5:
            scale = (*rng.uniform(0.4, 1.2, 2), 1)
            pane = transform(place=(*self._spot(), height - 0.02), scale=scale, turn=_DOWN)
            self.add(rectangle(), pane, _WHITE, emission=rng.uniform(2, 8))
        return tuple(lights)
