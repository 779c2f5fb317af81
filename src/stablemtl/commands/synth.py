"""Render labelled scenes, written in the download layouts of four public datasets.

Rooms are written as Hypersim, streets as Virtual KITTI 2, things as FlyingThings3D and cut-outs as
FlyingChairs; each world carries only some of the labels, as the datasets do. The same seed gives the same
scenes. Interrupted, a run ends after the scenes at work, and the same command goes on from there.
"""

from __future__ import annotations

import time
from contextlib import closing

from stablemtl.synth.generate import SynthConfig, generate


def run(config: SynthConfig) -> int:
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

    console = Console()
    start, made = time.perf_counter(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, closing(generate(config)) as scenes:
        bars = {world: progress.add_task(world, total=config.count) for world in config.worlds}
        for finished in scenes:
            progress.advance(bars[finished.world])
            made += not finished.resumed
    seconds = time.perf_counter() - start
    rate = f", {seconds / made:.2f} s each" if made else ""
    console.print(
        f"{made} new scenes in {seconds:.0f} s{rate}; {len(config.worlds) * config.count} in {config.out}"
    )
    return 0
