"""Making of synthetic data: many scenes of each world, in parallel, reproducible from a seed, resumable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.synth.config import SynthConfig
from stablemtl.synth.making import WORLDS, Unit
from stablemtl.synth.pool import in_processes
from stablemtl.synth.recipe import check_recipe, recipe, write_recipe
from stablemtl.synth.render import require_mitsuba
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import held_out_pattern


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished scene."""

    world: str
    unit: int
    """Number of the scene in its world, from 0."""
    resumed: bool
    """True if it was there already."""


def generate(config: SynthConfig) -> Generator[Progress, None, None]:
    """Make what is missing, yielding as scenes finish. What is wrong with the config is told at once.

    The worlds take turns, so that an interrupted run leaves a balanced set. Closing the generator ends the
    run after the scenes at work. The lists of the layouts are written however it ends, so that what is there
    can be read. Processes are spawned: a script that calls this needs the usual
    ``if __name__ == "__main__":``.

    Raises:
        ImportError: a rendered world is asked for without Mitsuba.
        FileNotFoundError: the folder of textures is missing or holds no picture.
        ValueError: the folder holds scenes of another recipe.
        RuntimeError: a scene failed; the message names it. What is complete stays.
    """
    if any(WORLDS[world].rendered for world in config.made):
        require_mitsuba()
    textures = _textures(config.textures, config.part)
    recipes = {world: recipe(config, world, textures) for world in config.made}
    for world, wanted in recipes.items():  # all of them before any work
        check_recipe(config, world, wanted)
    return _generate(config, recipes)


def _generate(config: SynthConfig, recipes: dict[str, dict[str, Any]]) -> Generator[Progress, None, None]:
    config.out.mkdir(parents=True, exist_ok=True)
    for world, wanted in recipes.items():
        write_recipe(config, world, wanted)
    todo = []
    for unit in range(config.count):
        for world in config.made:
            info = WORLDS[world]
            if info.mark(config.out, info.split(config.part), unit).is_file():
                yield Progress(world=world, unit=unit, resumed=True)
            else:
                todo.append((world, unit))
    try:
        if todo:
            yield from _make_all(config, todo)
    finally:
        for world, wanted in recipes.items():
            if (finish := WORLDS[world].finish) is not None:
                finish(config.out, config.size)
            write_recipe(config, world, wanted)


def make(config: SynthConfig, task: tuple[str, int]) -> None:
    """Make one scene in this process, and write it.

    Args:
        config: as for ``generate``.
        task: world of the scene, and its number from 0.
    """
    world, number = task
    info = WORLDS[world]
    unit = Unit(
        root=config.out,
        split=info.split(config.part),
        number=number,
        rng=np.random.default_rng([config.seed, list(WORLDS).index(world), int(config.held_out), number]),
        textures=_textures(config.textures, config.part),
        size=config.size,
        samples=config.samples,
    )
    info.make(unit)


def _make_all(config: SynthConfig, todo: list[tuple[str, int]]) -> Generator[Progress, None, None]:
    with closing(in_processes(partial(make, config), todo, config.processes)) as finished:
        for (world, unit), error in finished:
            if error is not None:
                raise RuntimeError(
                    f"scene {unit} of {world} failed: {error}. Run the same command again to continue."
                ) from error
            yield Progress(world=world, unit=unit, resumed=False)


_OPEN: dict[tuple[Path | None, str], Textures] = {}


def _textures(folder: Path | None, part: str) -> Textures:
    """Texture sources are kept open in each process: reading photographs is slow."""
    if (folder, part) not in _OPEN:
        patterns = held_out_pattern if part == "bench" else None
        _OPEN[folder, part] = Textures(folder, held_out=part != "train", patterns=patterns)
    return _OPEN[folder, part]
