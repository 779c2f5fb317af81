"""Train a model: first a codec, then stage 1, then stage 2.

Each recipe is a set of options that can all be overridden. A run writes its log, checkpoints and pictures to
--out; the same command continues an interrupted run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import tyro

from stablemtl.recipes import RECIPES
from stablemtl.training.config import CodecRun, StageRun

if TYPE_CHECKING:
    Config = CodecRun | StageRun
else:
    Config = tyro.extras.subcommand_type_from_defaults(
        {name: recipe() for name, recipe in RECIPES.items()},
        descriptions={name: (recipe.__doc__ or "").splitlines()[0] for name, recipe in RECIPES.items()},
    )


def run(config: Config) -> int:
    """Train, and say where the result is."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("accelerate", "diffusers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if isinstance(config, CodecRun):
        from stablemtl.training.autoencoder import train_codec

        print(f"codec: {train_codec(config)}")
    else:
        from stablemtl.training.stages import train_stage

        print(f"pipeline: {train_stage(config)}")
    return 0
