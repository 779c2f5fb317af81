"""Render labelled scenes, written in the download layouts of public datasets.

To train on: rooms are written as Hypersim, streets as Virtual KITTI 2, things as FlyingThings3D and cut-outs
as FlyingChairs; each world carries only some of the labels, as the datasets do. To evaluate on, with
--bench: held-out worlds in the layouts of Cityscapes, KITTI depth, KITTI flow 2015, DIODE and MIDIntrinsics.

The same seed gives the same scenes. Interrupted, a run ends after the scenes at work, and the same command
goes on from there. A folder keeps to one recipe: other options need another folder.
"""

from __future__ import annotations

import time
from contextlib import closing

from stablemtl.synth.config import BENCH_VERSION, SynthConfig


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

    from stablemtl.synth.generate import generate

    console = Console()
    start, made = time.perf_counter(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with closing(generate(config)) as scenes, Progress(*columns, console=console) as progress:
        bars = {world: progress.add_task(world, total=config.count) for world in config.made}
        for finished in scenes:
            progress.advance(bars[finished.world])
            made += not finished.resumed
    seconds = time.perf_counter() - start
    rate = f", {seconds / made:.2f} s each" if made else ""
    console.print(
        f"{made} new scenes in {seconds:.0f} s{rate}; {len(config.made) * config.count} in {config.out}"
    )
    if config.bench:
        version = f"MiniBench version {BENCH_VERSION}, {config.count} scenes of each world"
        other = "not MiniBench, whose seed, size, samples and textures are the defaults"
        console.print(version if config.minibench else other)
    return 0
