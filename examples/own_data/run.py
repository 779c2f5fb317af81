"""Own data from nothing to a prediction: ``python examples/own_data/run.py``.

Writes a dataset of 20 images with different labels, checks it, shows a sample, trains a few steps on it, and
predicts with the result. The commands are those of the README beside this file.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from make_data import main as make_data

from stablemtl import cli
from stablemtl.locate import find_model


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where, and for how long."""

    data: Path = Path("data/own")
    """Data folder to make; the dataset is its folder ``photos``."""
    out: Path = Path("runs/own")
    """Folder of the training run."""
    steps: int = 20
    """Optimizer steps."""
    size: tuple[int, int] = (96, 128)
    """Height and width to train at [px]."""


def commands(options: Options) -> list[list[str]]:
    """The commands after the data are made."""
    data, out = str(options.data), str(options.out)
    frames = [f"{data}/photos/wall_5.jpg", "--next", f"{data}/photos/wall_5_next.jpg"]
    train = ["--data.root", data, "--data.pairs", "None", "--init", "None", "--out", out]
    train += [
        "--codec",
        str(find_model("nano") / "vae"),
        "--loop.steps",
        str(options.steps),
        "--loop.batch-size",
        "4",
    ]
    if options.size != Options.size:
        train += ["--data.size", *map(str, options.size)]
    return [
        ["data", "check", data],
        ["data", "describe", data],
        ["data", "show", "photos", "7", "--root", data, "--out", f"{out}/sample.png"],
        ["train", "nano-stage1", *train],
        ["predict", *frames, "--model", f"{out}/pipeline", "--out", f"{out}/maps"],
    ]


def run(options: Options) -> int:
    """Do everything; the exit status of the first command that fails, or 0."""
    make_data(options.data / "photos")
    for command in commands(options):
        print(f"\n$ stablemtl {shlex.join(command)}", flush=True)
        if status := cli.main(command):
            return status
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this example."""
    return run(tyro.cli(Options, description=__doc__, args=arguments))


if __name__ == "__main__":
    sys.exit(main())
