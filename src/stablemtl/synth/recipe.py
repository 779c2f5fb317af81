"""The recipe beside the scenes, ``synth-<part>-<world>.json``: how they were made.

It is written before the first scene, and compared when a run comes back to the folder, so that scenes of two
recipes never share one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stablemtl.data.formats import write_text
from stablemtl.synth.config import SynthConfig
from stablemtl.synth.making import WORLDS
from stablemtl.synth.textures import Textures

COUNT, SCENES = "count", "scenes"
"""Keys of the largest number of scenes asked for and of those that are complete; they may change."""

MINIBENCH = "minibench"
"""Key of MiniBench's version; null where held-out worlds were made by another recipe than its own."""


def recipe_path(config: SynthConfig, world: str) -> Path:
    """Where the recipe of a world lies."""
    return config.out / f"synth-{config.part}-{world}.json"


def recipe(config: SynthConfig, world: str, textures: Textures) -> dict[str, Any]:
    """What decides the scenes of a world, as JSON values, and nothing that depends on the machine."""
    made = {
        "world": world,
        "part": config.part,
        "seed": config.seed,
        "size": list(config.size),
        "samples": config.samples if WORLDS[world].rendered else None,
        "textures": None,
        "version": WORLDS[world].version,
    }
    if config.textures is not None:
        name = config.textures.name
        made["textures"] = f"{name}, {len(textures.photos)} pictures, {textures.fingerprint()}"
    if config.bench:
        made[MINIBENCH] = config.minibench
    return made


def check_recipe(config: SynthConfig, world: str, wanted: dict[str, Any]) -> None:
    """Compare the recipe in the folder with the one that is asked for.

    Raises:
        ValueError: they differ, or there are scenes without a recipe.
    """
    path, info = recipe_path(config, world), WORLDS[world]
    way_out = f"Choose another --out, or remove the scenes and {path.name} first."
    if not path.is_file():
        split = info.split(config.part)
        if any(info.mark(config.out, split, number).is_file() for number in range(config.count)):
            raise ValueError(
                f"{config.out} holds scenes of {world}, but no {path.name} that says how they were made. "
                f"{way_out}"
            )
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a recipe ({error}). {way_out}") from error
    different = [
        f"{key} {_shown(found.get(key))} there, {_shown(value)} now"
        for key, value in wanted.items()
        if key != MINIBENCH and found.get(key) != value  # which follows from the others
    ]
    if different:
        raise ValueError(
            f"{config.out} holds scenes of {world} of another recipe: {'; '.join(different)}. Repeat the "
            f"values of {path.name} to go on with them. {way_out}"
        )


def write_recipe(config: SynthConfig, world: str, wanted: dict[str, Any]) -> None:
    """Write the recipe with the number of scenes that are complete."""
    path, info = recipe_path(config, world), WORLDS[world]
    before = json.loads(path.read_text(encoding="utf-8")).get(COUNT, 0) if path.is_file() else 0
    count, split = max(config.count, int(before)), info.split(config.part)
    done = sum(info.mark(config.out, split, number).is_file() for number in range(count))
    write_text(path, json.dumps({**wanted, COUNT: count, SCENES: done}, indent=2) + "\n")


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
