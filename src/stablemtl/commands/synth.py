"""Render labelled scenes, written in the download layouts of public datasets.

To train on: rooms are written as Hypersim, streets as Virtual KITTI 2, things as FlyingThings3D and cut-outs
as FlyingChairs; each world carries only some of the labels, as the datasets do. To evaluate on, with
--bench: held-out worlds in the layouts of Cityscapes, KITTI depth, KITTI flow 2015, DIODE and MIDIntrinsics.

The same seed gives the same scenes. Interrupted, a run ends after the scenes at work, and the same command
goes on from there. A folder keeps to one recipe: other options need another folder.

With --json, one document about the scenes and the folders is printed.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from stablemtl.synth.config import BENCH_VERSION, SynthConfig


@dataclass(frozen=True, kw_only=True)
class SynthOptions(SynthConfig):
    """Options of ``stablemtl synth``."""

    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""


def run(config: SynthOptions) -> int:
    """Make the scenes with a progress bar."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from stablemtl.commands.json_document import print_json
    from stablemtl.synth.generate import generate

    console = Console(stderr=True)
    start, new = time.perf_counter(), dict.fromkeys(config.made, 0)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        closing(generate(config)) as scenes,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bars = {world: progress.add_task(world, total=config.count) for world in config.made}
        for finished in scenes:
            progress.advance(bars[finished.world])
            new[finished.world] += not finished.resumed
    seconds = time.perf_counter() - start
    if config.json:
        print_json(_document(config, new, seconds))
    else:
        _print(config, sum(new.values()), seconds)
    return 0


def _print(config: SynthConfig, new: int, seconds: float) -> None:
    rate = f", {seconds / new:.2f} s each" if new else ""
    print(f"{new} new scenes in {seconds:.0f} s{rate}; {len(config.made) * config.count} in {config.out}")
    if config.bench:
        version = f"MiniBench version {BENCH_VERSION}, {config.count} scenes of each world"
        other = "not MiniBench, whose seed, size, samples and textures are the defaults"
        print(version if config.minibench else other)


def _document(config: SynthConfig, new: dict[str, int], seconds: float) -> dict[str, Any]:
    """The scenes of each world, and the datasets that the folder holds by now."""
    from stablemtl import __version__
    from stablemtl.data import CATALOG
    from stablemtl.synth.recipe import recipe_path

    folders = {name: config.out / info.folder for name, info in CATALOG.items()}
    return {
        "stablemtl": __version__,
        "out": str(config.out),
        "part": config.part,
        "minibench": config.minibench,
        "size": list(config.size),
        "seed": config.seed,
        "worlds": {
            world: {"scenes": config.count, "new": new[world], "recipe": str(recipe_path(config, world))}
            for world in config.made
        },
        "datasets": {
            name: {
                "folder": str(folder),
                "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            }
            for name, folder in folders.items()
            if folder.is_dir()
        },
        "new": sum(new.values()),
        "seconds": seconds,
    }
