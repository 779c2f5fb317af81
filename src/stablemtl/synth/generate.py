"""Making of synthetic data: many scenes of each world, in parallel, reproducible from a seed, resumable."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import resource_tracker
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

_MOST = {
    ("rooms", "train"): 10 * len(layouts.ROOM_VOLUMES["train"]),
    ("rooms", "test"): 10 * len(layouts.ROOM_VOLUMES["test"]),
    ("cutouts", "train"): len(layouts.CHAIRS_NUMBERS["train"]),
    ("cutouts", "test"): len(layouts.CHAIRS_NUMBERS["val"]),
}
"""Scenes that fit into a part of a layout, where there is a limit."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Which scenes to make, and how."""

    out: Path
    """Folder that receives ``hypersim``, ``vkitti2``, ``FlyingThings3D_subset``, ``FlyingChairs_release``."""
    worlds: tuple[World, ...] = RENDERED
    """``things`` (pairs with flow and scene flow), ``rooms`` (three views each, with depth, normals, shading
    and albedo), ``streets`` (three frames each, with depth, normals, classes, flow and scene flow),
    ``cutouts`` (pairs with flow, no renderer)."""
    count: int = 100
    """Scenes of each world."""
    split: Literal["train", "test"] = "train"
    """``test`` makes held-out scenes, with other random numbers and textures kept apart; they go to the
    layouts' held-out parts (test, Scene01, val)."""
    textures: Path | None = None
    """Folder of photographs or texture packs, searched recursively; without it, procedural patterns alone."""
    size: tuple[int, int] = (96, 128)
    """Height and width of the frames [px]."""
    samples: int = 10
    """Rays per pixel before denoising."""
    seed: int = 0
    """Not negative. Scene n of a world and split follows from it, n, the textures, size and samples."""
    processes: int = field(default_factory=default_processes)
    """Scenes made at the same time."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if min(self.size) < 16:
            raise ValueError(f"size must be at least 16 x 16 px, got {self.size[0]} x {self.size[1]}")
        for name, least in (("samples", 1), ("seed", 0), ("processes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.split not in ("train", "test"):
            raise ValueError(f"unknown split {self.split!r}; choose from train, test")
        if not self.worlds or len(set(self.worlds)) < len(self.worlds) or set(self.worlds) - set(WORLDS):
            got = ", ".join(self.worlds) or "none"
            raise ValueError(f"worlds must be some of {', '.join(WORLDS)}, each once, got {got}")
        for world in self.worlds:
            numbers, most = split_name(world, self.split), _MOST.get((world, self.split), self.count)
            if self.count > most:
                raise ValueError(
                    f"count must be at most {most} for the {numbers} part of {world}, got {self.count}: "
                    "its layout has no more numbers. Make the others in another folder, with another seed."
                )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished scene."""

    world: World
    unit: int
    """Number of the scene in its world, from 0."""
    resumed: bool
    """True if it was there already."""


def generate(config: SynthConfig) -> Generator[Progress, None, None]:
    """Make what is missing, yielding as scenes finish.

    The worlds take turns, so that an interrupted run leaves a balanced set. Closing the generator ends the
    run after the scenes at work. The lists of the layouts are written however it ends, so that what is there
    can be read. Processes are spawned: a script that calls this needs the usual
    ``if __name__ == "__main__":``.

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
    for unit in range(config.count):
        for world in config.worlds:
            if _MARKS[world](config.out, split_name(world, config.split), unit).is_file():
                yield Progress(world=world, unit=unit, resumed=True)
            else:
                todo.append((world, unit))
    try:
        with closing(_run(config, todo)) as scenes:
            for world, unit in scenes:
                yield Progress(world=world, unit=unit, resumed=False)
    finally:
        _write_lists(config)
    _write_recipe(config)


def split_name(world: World, split: str) -> str:
    """What the layout of a world calls ``train`` or ``test``."""
    return "val" if split == "test" and world in ("things", "cutouts") else split


def make(config: SynthConfig, world: World, unit: int) -> None:
    """Make one scene in this process, and write it.

    Args:
        config: as for ``generate``.
        world: of the scene.
        unit: its number, from 0.
    """
    held_out = config.split == "test"
    rng = np.random.default_rng([config.seed, WORLDS.index(world), int(held_out), unit])
    textures = _textures(config.textures, held_out)
    root, split = config.out, split_name(world, config.split)
    if world == "cutouts":
        first, second, flow = cutouts(rng, textures, config.size)
        layouts.write_cutouts(root, split, unit, (first, second), flow)
        return
    if world == "things":
        scene = things(rng, textures)
    elif world == "rooms":
        scene = room(rng, textures)
    else:
        scene = street(rng, textures, layouts.street_variation(unit))
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


_MARKS = {
    "things": layouts.things_mark,
    "rooms": layouts.room_mark,
    "streets": layouts.street_mark,
    "cutouts": layouts.cutouts_mark,
}


def _run(config: SynthConfig, todo: list[tuple[World, int]]) -> Generator[tuple[World, int], None, None]:
    """Make scenes in processes of their own, yielding each when it is done."""
    if not todo:
        return
    # Spawned, not forked: the renderer's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(config.processes, mp_context=context, initializer=_start_process)
    waiting = iter(todo)
    running: dict[Future[None], tuple[World, int]] = {}
    try:
        while True:
            # One more than can run keeps all busy; what is handed over is still made after an interruption.
            while len(running) <= config.processes and (task := next(waiting, None)) is not None:
                with _interrupts_blocked():
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


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started in here never see Ctrl-C.

    A terminal sends it to all processes; this one decides what ends. It must not reach the renderer, which
    would give back a picture that is not complete.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and unblocks then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process() -> None:
    """Prepare a process for scenes: one thread, deaf to Ctrl-C, ends with the process that started it."""
    import cv2

    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        require_mitsuba(threads=1)
    except ImportError:
        logger.debug("no Mitsuba: only worlds that need no renderer can be made")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_lists(config: SynthConfig) -> None:
    """What the layouts list beside the scenes: splits and cameras."""
    if "rooms" in config.worlds:
        layouts.finish_rooms(config.out)
    if "streets" in config.worlds:
        layouts.finish_streets(config.out, STREET_FOCAL_RATIO, config.size)
    if "cutouts" in config.worlds:
        layouts.finish_cutouts(config.out)


def _write_recipe(config: SynthConfig) -> None:
    """The config of a complete run, without what depends on the machine."""
    recipe = {
        **asdict(config),
        "out": None,
        "processes": None,
        "textures": config.textures.name if config.textures else None,
    }
    path = config.out / f"synth-{config.split}-{'-'.join(config.worlds)}.json"
    path.write_text(json.dumps(recipe, indent=2) + "\n")
