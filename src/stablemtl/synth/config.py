"""Which scenes to make: the options of ``stablemtl synth``. Light to import."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

World = Literal["things", "rooms", "streets", "cutouts"]
TRAINING_WORLDS: tuple[World, ...] = ("things", "rooms", "streets", "cutouts")
DEFAULT_WORLDS: tuple[World, ...] = ("things", "rooms", "streets")
BENCH_WORLDS = ("town", "places", "still_lifes")

BENCH_VERSION = 1
"""Version of MiniBench. Raise it with every change of a held-out world or of the recipe below."""

BENCH_SEED, BENCH_SIZE, BENCH_SAMPLES = 0, (96, 128), 10
"""The recipe of MiniBench, which also has no textures but the held-out worlds' own."""

MOST_SCENES = {
    ("rooms", "train"): 4000,
    ("rooms", "test"): 3000,
    ("cutouts", "train"): 40_000,
    ("cutouts", "test"): 59_999,
}
"""Scenes that fit into a part of a layout, where its numbers end."""


def default_processes() -> int:
    """Number of rendering processes: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Which scenes to make, and how."""

    out: Path
    """Data folder that receives a folder for each dataset, and a recipe ``synth-*.json`` for each world."""
    worlds: tuple[World, ...] = DEFAULT_WORLDS
    """``things`` (pairs with flow and scene flow), ``rooms`` (three views each, with depth, normals, shading
    and albedo), ``streets`` (three frames each, with depth, normals, classes, flow and scene flow),
    ``cutouts`` (pairs with flow, no renderer)."""
    bench: bool = False
    """Make MiniBench instead: held-out worlds to evaluate on, in the layouts of Cityscapes, KITTI depth,
    KITTI flow 2015, DIODE and MIDIntrinsics. Its recipe is fixed: seed, size, samples or textures other than
    the defaults make something else, and the recipe files say so."""
    count: int = 100
    """Scenes of each world."""
    split: Literal["train", "test"] = "train"
    """``test`` makes held-out scenes, with other random numbers and textures kept apart; they go to the
    layouts' held-out parts (test, Scene01, val). Not used with ``bench``."""
    textures: Path | None = None
    """Folder of photographs or texture packs, searched recursively; without it, procedural patterns alone."""
    size: tuple[int, int] = BENCH_SIZE
    """Height and width of the frames [px]."""
    samples: int = BENCH_SAMPLES
    """Rays per pixel before denoising."""
    seed: int = BENCH_SEED
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
        wrong = set(self.worlds) - set(TRAINING_WORLDS)
        if not self.worlds or len(set(self.worlds)) < len(self.worlds) or wrong:
            got = ", ".join(self.worlds) or "none"
            raise ValueError(f"worlds must be some of {', '.join(TRAINING_WORLDS)}, each once, got {got}")
        if self.bench and (self.worlds != DEFAULT_WORLDS or self.split != "train"):
            raise ValueError(
                f"bench makes {', '.join(BENCH_WORLDS)}, which have one part each: leave worlds and split out"
            )
        for world in self.made:
            most = MOST_SCENES.get((world, self.part), self.count)
            if self.count > most:
                raise ValueError(
                    f"count must be at most {most} for the {self.part} part of {world}, got {self.count}: "
                    "its layout has no more numbers. Make the others in another folder, with another seed."
                )

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the worlds to make."""
        return BENCH_WORLDS if self.bench else self.worlds

    @property
    def part(self) -> str:
        """``train``, ``test`` or ``bench``."""
        return "bench" if self.bench else self.split

    @property
    def held_out(self) -> bool:
        """Whether the scenes are kept apart from training."""
        return self.part != "train"

    @property
    def minibench(self) -> int | None:
        """Version of MiniBench that this makes, or ``None`` if it is something else."""
        recipe = (self.seed, self.size, self.samples, self.textures)
        official = (BENCH_SEED, BENCH_SIZE, BENCH_SAMPLES, None)
        return BENCH_VERSION if self.bench and recipe == official else None
