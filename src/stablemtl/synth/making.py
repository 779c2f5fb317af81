"""How a scene of each world is made and written: the table that the generator works from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stablemtl.synth.config import BENCH_VERSION
from stablemtl.synth.frames import motion
from stablemtl.synth.layouts import benchmarks, rendered
from stablemtl.synth.render import look, paint, render
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import cutouts, garden, hall, room, still_life, street, things, town
from stablemtl.synth.worlds.still_lifes import LIGHTS
from stablemtl.synth.worlds.streets import FOCAL_RATIO as STREET_FOCAL_RATIO
from stablemtl.synth.worlds.town import FOCAL_RATIO as TOWN_FOCAL_RATIO


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One scene to make."""

    root: Path
    """Data folder."""
    split: str
    """As the layout calls it."""
    number: int
    """Of the scene in its world and split, from 0."""
    rng: np.random.Generator
    """Decides everything random."""
    textures: Textures
    size: tuple[int, int]
    """Height and width [px]."""
    samples: int
    """Rays per pixel."""

    def render_seed(self) -> int:
        """A seed for the renderer; another one each time."""
        return int(self.rng.integers(2**24))


@dataclass(frozen=True, kw_only=True)
class WorldInfo:
    """What the generator knows about a world."""

    make: Callable[[Unit], None]
    """Makes a scene and writes it."""
    mark: Callable[[Path, str, int], Path]
    """Last file of a scene, from data folder, split and number."""
    finish: Callable[[Path, tuple[int, int]], None] | None = None
    """Writes what the layout lists beside the scenes, from data folder and size."""
    held_out_split: str = "test"
    """What the layout calls the held-out part."""
    rendered: bool = True
    """Whether it needs the renderer."""
    version: int = 1
    """To be raised with every change of what is drawn, so that a folder never mixes two versions."""

    def split(self, part: str) -> str:
        """What the layout calls ``train``, ``test`` or ``bench``."""
        return "train" if part == "train" else self.held_out_split


def _things(unit: Unit) -> None:
    scene = things(unit.rng, unit.textures)
    frames = render(scene, unit.size, unit.samples, unit.render_seed())
    rendered.write_things(unit.root, unit.split, unit.number, frames, motion(scene, frames, 0))


def _room(unit: Unit) -> None:
    scene = room(unit.rng, unit.textures)
    frames = render(scene, unit.size, unit.samples, unit.render_seed())
    rendered.write_room(unit.root, unit.split, unit.number, frames)


def _street(unit: Unit) -> None:
    scene = street(unit.rng, unit.textures, rendered.street_variation(unit.number))
    frames = render(scene, unit.size, unit.samples, unit.render_seed())
    motions = [motion(scene, frames, i) for i in range(len(frames) - 1)]
    rendered.write_street(unit.root, unit.split, unit.number, scene, frames, motions)


def _cutouts(unit: Unit) -> None:
    first, second, flow = cutouts(unit.rng, unit.textures, unit.size)
    rendered.write_cutouts(unit.root, unit.split, unit.number, (first, second), flow)


def _town(unit: Unit) -> None:
    scene = town(unit.rng, unit.textures)
    frames = render(scene, unit.size, unit.samples, unit.render_seed())
    benchmarks.write_town(unit.root, unit.number, scene, frames, motion(scene, frames, 0), unit.rng)


def _place(unit: Unit) -> None:
    world = hall if benchmarks.place_kind(unit.number) == "indoors" else garden
    (frame,) = render(world(unit.rng, unit.textures), unit.size, unit.samples, unit.render_seed())
    benchmarks.write_place(unit.root, unit.number, frame)


def _still_life(unit: Unit) -> None:
    lit = still_life(unit.rng, unit.textures)
    seen = look(lit[0], 0, unit.size)
    frames = [paint(scene, 0, seen, unit.samples, unit.render_seed()) for scene in lit]
    benchmarks.write_still_life(unit.root, unit.number, frames)


WORLDS: dict[str, WorldInfo] = {
    "things": WorldInfo(make=_things, mark=rendered.things_mark, held_out_split="val", version=2),
    "rooms": WorldInfo(
        make=_room,
        mark=rendered.room_mark,
        finish=lambda root, _: rendered.finish_rooms(root),
        version=2,
    ),
    "streets": WorldInfo(
        make=_street,
        mark=rendered.street_mark,
        finish=lambda root, size: rendered.finish_streets(root, STREET_FOCAL_RATIO, size),
        version=2,
    ),
    "cutouts": WorldInfo(
        make=_cutouts,
        mark=rendered.cutouts_mark,
        finish=lambda root, _: rendered.finish_cutouts(root),
        held_out_split="val",
        rendered=False,
    ),
    "town": WorldInfo(
        make=_town,
        mark=lambda root, _, number: benchmarks.town_mark(root, number),
        finish=lambda root, size: benchmarks.finish_town(root, TOWN_FOCAL_RATIO, size),
        version=BENCH_VERSION,
    ),
    "places": WorldInfo(
        make=_place,
        mark=lambda root, _, number: benchmarks.place_mark(root, number),
        version=BENCH_VERSION,
    ),
    "still_lifes": WorldInfo(
        make=_still_life,
        mark=lambda root, _, number: benchmarks.still_life_mark(root, number, LIGHTS),
        version=BENCH_VERSION,
    ),
}
"""All worlds. Their order is part of every scene's seed: new ones go to the end."""
