"""Train a model: a named recipe, every field of which can be overridden.

    stablemtl train RECIPE [options]       train, or go on where the same command was interrupted
    stablemtl train RECIPE --dry-run       memory and time that it would take, and nothing else; also --json
    stablemtl train RECIPE --help          the recipe's options and their values
    stablemtl train report FOLDER          write the report of a run, finished or not

A run writes its log, checkpoints and pictures to --out. For several processes:
accelerate launch -m stablemtl train RECIPE
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from stablemtl.training.config import CodecRun, StageRun, TinyCodecRun

    Config = CodecRun | StageRun | TinyCodecRun


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Options of ``stablemtl train report``."""

    folder: Path
    """Folder of a run: its --out."""


def parse(program: str, arguments: Sequence[str]) -> Config | ReportConfig:
    """The run that the arguments describe.

    Raises:
        ValueError: no such recipe.
        SystemExit: as argument parsers do, after help or wrong options.
    """
    import tyro

    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(), file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    if name == "report":
        positional = Annotated[ReportConfig, tyro.conf.PositionalRequiredArgs]
        return tyro.cli(positional, prog=f"{program} report", args=rest)

    from stablemtl.recipes import RECIPES, describe

    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3)
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown recipe {name!r}.{guess} `{program} --help` lists them all.")
    default = RECIPES[name]()
    return tyro.cli(
        type(default), default=default, prog=f"{program} {name}", description=describe(name), args=rest
    )


def run(config: Config | ReportConfig) -> int:
    """Train, and say where the result is."""
    if isinstance(config, ReportConfig):
        from stablemtl.training.report import write_report

        print(f"report: {write_report(config.folder)}")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("accelerate", "diffusers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)

    from stablemtl.training.config import CodecRun, TinyCodecRun

    if isinstance(config, CodecRun):
        from stablemtl.training.autoencoder import train_codec

        print(f"codec: {train_codec(config)}")
        return 0
    if isinstance(config, TinyCodecRun):
        from stablemtl.training.distillation import distill_codec

        print(f"tiny codec: {distill_codec(config)}")
        return 0
    if config.dry_run:
        from stablemtl.training.dry_run import estimate_run

        estimate = estimate_run(config)
        if config.json:
            from stablemtl.commands.json_document import print_json
            from stablemtl.training.estimate_document import estimate_document

            print_json(estimate_document(estimate))
        else:
            from rich.console import Console

            Console().print(estimate.table())
        return 0
    from stablemtl.training.stages import train_stage

    print(f"pipeline: {train_stage(config)}")
    return 0


def _overview() -> str:
    from stablemtl.recipes import RECIPES, describe

    width = max(map(len, RECIPES))
    lines = [f"  {name:<{width}}  {describe(name)}" for name in RECIPES]
    return "\n".join([(__doc__ or "").strip(), "", "recipes:", *lines])
