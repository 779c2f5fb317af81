"""Making of synthetic data: many scenes of each world, in parallel, reproducible from a seed, resumable."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from stablemtl.synth import layouts
from stablemtl.synth.render import default_processes, motion, render, require_mitsuba
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import cutouts, room, street, things
from stablemtl.synth.worlds.streets import FOCAL_RATIO as STREET_FOCAL_RATIO

World = Literal["things", "rooms", "streets", "cutouts"]
WORLDS: tuple[World, ...] = ("things", "rooms", "streets", "cutouts")
RENDERED: tuple[World, ...] = ("things", "rooms", "streets")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Which scenes to make, and how."""

    out: Path
    """Folder that receives ``hypersim``, ``vkitti2``, ``FlyingThings3D_subset``, ``FlyingChairs_release``."""
    worlds: tuple[World, ...] = RENDERED
    """``things`` (pairs with flow and scene flow), ``rooms`` (three views each, with depth, normals, shading, albedo), ``streets`` (three frames each, with
    depth, normals, classes, flow, scene flow), ``cutouts`` (pairs with flow, no renderer)."""
    count: int = 100
    """Scenes of each world."""
    split: Literal["train", "test"] = "train"
    """``test`` makes held-out scenes: other random numbers, and textures kept apart; they go to the layouts' held-out parts (Scene01, val, test)."""
    textures: Path | None = None
    """Folder of photographs or texture packs, searched recursively; procedural patterns alone without it."""
    size: tuple[int, int] = (96, 128)
    """Height and width of the frames [px]."""
    samples: int = 10
    """Rays per pixel before denoising."""
    seed: int = 0
    """Scene n of a world and split depends on this, n and the textures only."""
    processes: int = field(default_factory=default_processes)
    """Scenes made at the same time."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if min(self.size) < 16:
            raise ValueError(f"size must be at least 16 x 16 px, got {self.size[0]} x {self.size[1]}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        unknown = sorted(set(self.worlds) - set(WORLDS))
        if unknown or not self.worlds:
            raise ValueError(
                f"worlds must be some of {', '.join(WORLDS)}, got {', '.join(unknown) or 'none'}"
            )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished scene."""

    world: str
    unit: int
    resumed: bool
    """True if it was there already."""


def generate(config: SynthConfig) -> Iterator[Progress]:
    """Make what is missing, yielding as scenes finish; the lists of the layouts are written at the end.

    Raises:
        ImportError: a rendered world is asked for without Mitsuba.
        FileNotFoundError: the folder of textures is missing or holds no picture.
        RuntimeError: a scene failed; the message names it. What is complete stays.
    """
    if set(config.worlds) & set(RENDERED):
        require_mitsuba()
    Textures(config.textures)  # a wrong folder is reported before any work
    config.out.mkdir(parents=True, exist_ok=True)
    todo = []
    for unit in range(config.count):  # the worlds take turns: an interrupted run leaves a balanced set
        for world in config.worlds:
            if _mark(world)(config.out, split_name(world, config.split), unit).is_file():
                yield Progress(world=world, unit=unit, resumed=True)
            else:
                todo.append((world, unit))
    for world, unit in _run(config, todo):
        yield Progress(world=world, unit=unit, resumed=False)
    _finish(config)


def split_name(world: World, split: str) -> str:
    """What a layout calls its held-out part."""
    return "val" if split == "test" and world in ("things", "cutouts") else split


def make(config: SynthConfig, world: World, unit: int) -> None:
    """Make one scene and write it."""
    held_out = config.split == "test"
    rng = np.random.default_rng([config.seed, WORLDS.index(world), int(held_out), unit])
    textures = _textures(config.textures, held_out)
    root, split = config.out, split_name(world, config.split)
    if world == "cutouts":
        first, second, flow = cutouts(rng, textures, config.size)
        layouts.write_cutouts(root, split, unit, (first, second), flow)
        return
    variation = layouts.street_variation(unit)
    scene = (
        street(rng, textures, variation)
        if world == "streets"
        else {"things": things, "rooms": room}[world](rng, textures)
    )
    frames = render(scene, config.size, config.samples, seed=int(rng.integers(2**24)))
    if world == "rooms":
        layouts.write_room(root, split, unit, frames)
        return
    motions = [motion(scene, frames, i) for i in range(len(frames) - 1)]
    if world == "things":
        layouts.write_things(root, split, unit, frames, motions[0])
    else:
        layouts.write_street(root, split, unit, scene, frames, motions)


_OPEN: dict[tuple[Path | None, bool], Textures] = {}


def _textures(folder: Path | None, held_out: bool) -> Textures:
    """Texture sources are kept open in each process: reading photographs is slow."""
    if (folder, held_out) not in _OPEN:
        _OPEN[folder, held_out] = Textures(folder, held_out=held_out)
    return _OPEN[folder, held_out]


def _mark(world: World) -> Callable[[Path, str, int], Path]:
    marks = {
        "things": layouts.things_mark,
        "rooms": layouts.room_mark,
        "streets": layouts.street_mark,
        "cutouts": layouts.cutouts_mark,
    }
    return marks[world]


def _run(config: SynthConfig, todo: list[tuple[World, int]]) -> Iterator[tuple[World, int]]:
    if not todo:
        return
    # Spawned, not forked: the renderer's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        config.processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_process
    )
    waiting = iter(todo)
    running = {}
    try:
        while True:
            while len(running) < 2 * config.processes and (task := next(waiting, None)) is not None:
                running[pool.submit(make, config, *task)] = task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                world, unit = running.pop(future)
                if (error := future.exception()) is not None:
                    raise RuntimeError(
                        f"scene {unit} of {world} failed: {error}. Run the same command again to continue."
                    ) from error
                yield world, unit
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    import cv2

    cv2.setNumThreads(1)
    try:
        require_mitsuba(threads=1)
    except ImportError:
        logger.debug("no Mitsuba: only worlds that need no renderer can be made")


def _finish(config: SynthConfig) -> None:
    if "rooms" in config.worlds:
        layouts.finish_rooms(config.out)
    if "streets" in config.worlds:
        layouts.finish_streets(config.out, STREET_FOCAL_RATIO, config.size)
    if "cutouts" in config.worlds:
        layouts.finish_cutouts(config.out)
    recipe = {
        **asdict(config),
        "out": None,
        "processes": None,
        "textures": config.textures.name if config.textures else None,
    }
    path = config.out / f"synth-{config.split}-{'-'.join(config.worlds)}.json"
    path.write_text(json.dumps(recipe, indent=2) + "\n")
