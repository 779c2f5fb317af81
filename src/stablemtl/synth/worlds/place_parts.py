"""Things that stand in halls and gardens: each a function of the random generator and the textures.

They stand on the floor around the origin; a list of objects in their own axes, in metres.
"""

from __future__ import annotations

import numpy as np

from stablemtl.synth.scenes import Array, SceneObject, random_rotation, rotation, transform
from stablemtl.synth.shapes import Mesh, box, cylinder, prism
from stablemtl.synth.textures import Image, Textures, colour
from stablemtl.synth.worlds.held_out_shapes import (
    capsule,
    gable,
    held_out_shape,
    lathe,
    polygon,
    rounded_box,
    tapered,
    vase,
)
from stablemtl.synth.worlds.held_out_surfaces import needles, planks, plaster, roof_tiles, stones

Parts = list[SceneObject]
Triple = tuple[float, float, float]

COLUMN = lathe(
    np.array([[1.0, -1], [1.0, -0.93], [0.78, -0.88], [0.66, 0.86], [1.0, 0.93], [1.0, 1.0]]), segments=20
)
_BASIN = lathe(
    np.array([[0.5, -1], [0.25, -0.6], [0.25, 0], [1, 0.7], [1, 0.9], [0.85, 0.9], [0.6, 0.6], [0.1, 0.5]])
)
_BOULDER = tapered(prism(polygon(7)), 0.55)


def masonry(rng: np.random.Generator) -> Image:
    """Stones in a random colour."""
    return stones(rng, (colour(rng, 0.4, 0.85), colour(rng, 0.15, 0.5)))


def part(
    mesh: Mesh, centre: Triple, half: Triple, texture: Image, turn: Array | None = None, tiles: float = 1.0
) -> SceneObject:
    """An object at a place, of half a size and in an attitude of its own."""
    return SceneObject(
        mesh=mesh, poses=(transform(place=centre, scale=half, turn=turn),), texture=texture, tiles=tiles
    )


def column(rng: np.random.Generator, textures: Textures) -> Parts:
    """A column, or what is left of it."""
    half, width = rng.uniform(0.4, 1.4), rng.uniform(0.2, 0.35)
    return [part(COLUMN, (0, 0, half), (width, width, half), masonry(rng), tiles=2.0)]


def stairs(rng: np.random.Generator, textures: Textures) -> Parts:
    """Three to seven steps."""
    rise, run, wide = rng.uniform(0.12, 0.2), rng.uniform(0.22, 0.32), rng.uniform(0.5, 1.1)
    texture, steps = (masonry(rng) if rng.random() < 0.5 else planks(rng)), int(rng.integers(3, 8))
    return [
        part(
            box(),
            (run * (step - steps / 2), 0, rise * (step + 0.5)),
            (run / 2, wide, rise * (step + 0.5)),
            texture,
        )
        for step in range(steps)
    ]


def bench(rng: np.random.Generator, textures: Textures) -> Parts:
    """Boards on two blocks, some with a back."""
    wide, high, wood = rng.uniform(0.5, 1.0), rng.uniform(0.38, 0.5), planks(rng)
    parts = [part(box(), (0, 0, high), (0.22, wide, 0.03), wood)]
    parts += [
        part(box(), (0, side * 0.8 * wide, high / 2), (0.18, 0.06, high / 2), plaster(rng))
        for side in (-1, 1)
    ]
    if rng.random() < 0.5:
        parts.append(part(box(), (-0.24, 0, high + 0.3), (0.025, wide, 0.2), wood, rotation((0, 1, 0), -0.2)))
    return parts


def chair(rng: np.random.Generator, textures: Textures) -> Parts:
    """Seat, back and four slanted legs."""
    texture, high = textures.draw(rng), rng.uniform(0.4, 0.5)
    parts = [
        part(rounded_box(), (0, 0, high), (0.24, 0.24, 0.05), texture),
        part(rounded_box(), (-0.25, 0, high + 0.35), (0.04, 0.22, 0.28), texture),
    ]
    for x in (-1, 1):
        for y in (-1, 1):
            slant = rotation((-y, x, 0), 0.12)
            parts.append(
                part(cylinder(8), (0.2 * x, 0.2 * y, high / 2), (0.02, 0.02, high / 2), planks(rng), slant)
            )
    return parts


def plant(rng: np.random.Generator, textures: Textures) -> Parts:
    """Long leaves in a pot."""
    green, pot, size = needles(rng), textures.draw(rng), rng.uniform(0.25, 0.45)
    parts = [part(vase(rng), (0, 0, size), (0.8 * size, 0.8 * size, size), pot)]
    for turn in rng.uniform(0, 2 * np.pi, int(rng.integers(5, 11))):
        long = size * rng.uniform(0.8, 1.6)
        lean = rotation((0, 0, 1), turn) @ rotation((0, 1, 0), rng.uniform(0.2, 0.9))
        centre = np.array([0, 0, 1.9 * size]) + lean @ [0, 0, 0.8 * long]
        parts.append(part(capsule(), tuple(centre), (0.05, 0.2 * long, long), green, lean))
    return parts


def statue(rng: np.random.Generator, textures: Textures) -> Parts:
    """Two or three shapes on top of each other."""
    parts, height, width = [], 0.0, rng.uniform(0.25, 0.5)
    texture = masonry(rng) if rng.random() < 0.5 else textures.draw(rng)
    for _ in range(int(rng.integers(2, 4))):
        half = width * rng.uniform(0.5, 1.3)
        turn = rotation((0, 0, 1), rng.uniform(0, np.pi))
        parts.append(part(held_out_shape(rng), (0, 0, height + half), (width, width, half), texture, turn))
        height, width = height + 2 * half, width * rng.uniform(0.6, 0.95)
        if rng.random() < 0.5:
            texture = textures.draw(rng)
    return parts


def crates(rng: np.random.Generator, textures: Textures) -> Parts:
    """A stack of boxes with round edges, each turned a little."""
    parts, height = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        half = (rng.uniform(0.2, 0.45), rng.uniform(0.2, 0.45), rng.uniform(0.12, 0.35))
        texture = planks(rng) if rng.random() < 0.5 else textures.draw(rng)
        turn = rotation((0, 0, 1), rng.uniform(-0.4, 0.4))
        parts.append(part(rounded_box(12.0), (0, 0, height + half[2]), half, texture, turn))
        height += 2 * half[2]
    return parts


def ruin(rng: np.random.Generator, textures: Textures) -> Parts:
    """A wall with battlements, and a gate or not."""
    long, high, texture = rng.uniform(1.5, 3.5), rng.uniform(0.6, 1.6), masonry(rng)
    gap = rng.uniform(0.4, 0.8) if rng.random() < 0.6 else 0.0
    parts = []
    for side in (-1, 1):
        half = (long - gap) / 2
        parts.append(part(box(), (side * (gap + half), 0, high), (half, 0.25, high), texture, tiles=2.0))
        for x in np.arange(gap + 0.2, long, 0.8):
            parts.append(part(box(), (side * float(x), 0, 2 * high + 0.2), (0.2, 0.25, 0.2), texture))
    if gap:
        parts.append(
            part(
                gable(),
                (0, 0, 2 * high + 0.3),
                (1.3 * gap, 0.3, 0.3),
                texture,
                rotation((0, 0, 1), np.pi / 2),
            )
        )
    return parts


def pergola(rng: np.random.Generator, textures: Textures) -> Parts:
    """Posts that carry slats."""
    x, y, high = rng.uniform(0.9, 1.8), rng.uniform(0.9, 1.8), rng.uniform(1.1, 1.4)
    wood = planks(rng)
    parts = [part(box(), (a * x, b * y, high), (0.08, 0.08, high), wood) for a in (-1, 1) for b in (-1, 1)]
    parts += [part(box(), (a * x, 0, 2 * high), (0.06, 1.15 * y, 0.09), wood) for a in (-1, 1)]
    slats = np.linspace(-1, 1, int(rng.integers(4, 9)))
    return parts + [
        part(box(), (0, float(s) * y, 2 * high + 0.14), (1.15 * x, 0.04, 0.06), wood) for s in slats
    ]


def tower(rng: np.random.Generator, textures: Textures) -> Parts:
    """A round or many-sided tower under a pointed roof."""
    radius, high, sides = rng.uniform(0.8, 1.6), rng.uniform(1.5, 4.0), int(rng.integers(5, 9))
    body = cylinder() if rng.random() < 0.5 else prism(polygon(sides))
    roof = tapered(prism(polygon(sides)), 0.04)
    return [
        part(body, (0, 0, high), (radius, radius, high), masonry(rng), tiles=3.0),
        part(roof, (0, 0, 2 * high + 0.9), (1.2 * radius, 1.2 * radius, 0.9), roof_tiles(rng), tiles=2.0),
    ]


def fountain(rng: np.random.Generator, textures: Textures) -> Parts:
    """A basin on a foot in a ring."""
    radius, texture = rng.uniform(0.7, 1.4), masonry(rng)
    return [
        part(prism(polygon(8)), (0, 0, 0.15), (radius, radius, 0.15), texture),
        part(_BASIN, (0, 0, 0.9), (0.7 * radius, 0.7 * radius, 0.75), texture),
    ]


def tree(rng: np.random.Generator, textures: Textures) -> Parts:
    """A poplar, a cone or a crown of three balls."""
    high, width, green = rng.uniform(1.2, 3.0), rng.uniform(0.6, 1.4), needles(rng)
    parts = [part(cylinder(8), (0, 0, high / 2), (0.12, 0.12, high / 2), planks(rng, 3))]
    kind = rng.choice(["poplar", "cone", "balls"])
    if kind == "poplar":
        parts.append(part(capsule(), (0, 0, 1.8 * high), (0.5 * width, 0.5 * width, high), green, tiles=3.0))
    elif kind == "cone":
        parts.append(
            part(
                tapered(prism(polygon(10)), 0.04), (0, 0, 1.7 * high), (width, width, high), green, tiles=3.0
            )
        )
    else:
        for turn in rng.uniform(0, 2 * np.pi, 3):
            centre = (0.5 * width * np.cos(turn), 0.5 * width * np.sin(turn), high + 0.4 * width + 0.2 * turn)
            half = width * rng.uniform(0.5, 0.9)
            parts.append(part(rounded_box(2.5), centre, (half, half, 0.8 * half), green, tiles=3.0))
    return parts


def rock(rng: np.random.Generator, textures: Textures) -> Parts:
    """Boulders with edges."""
    grey = stones(rng, (colour(rng, 0.35, 0.7), colour(rng, 0.3, 0.5)), count=5)
    return [
        part(
            _BOULDER,
            (*rng.uniform(-0.4, 0.4, 2), 0.2),
            tuple(rng.uniform(0.25, 0.9, 3)),
            grey,
            random_rotation(rng, 0.5),
        )
        for _ in range(int(rng.integers(1, 4)))
    ]


def bush(rng: np.random.Generator, textures: Textures) -> Parts:
    """A clipped bush."""
    half = rng.uniform(0.3, 0.9, 3)
    return [part(rounded_box(rng.uniform(2, 8)), (0, 0, half[2]), tuple(half), needles(rng), tiles=2.0)]
