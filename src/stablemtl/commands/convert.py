"""Convert published weights into a model folder, or predicted maps into other files, conventions and units.

    stablemtl convert published --auxiliary single_stream_unet.pth --main multi_stream.tar.gz
        --base models/stable-diffusion-2 --out models/stablemtl
    stablemtl convert map maps/depth.npz --to ply --image street.jpg

A converted model needs nothing else: networks, codec and task tokens are in one folder. The text encoder of
the base model runs once, here; it is not needed to predict. Without --main, the result is the single-stream
model.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from stablemtl.commands import convert_map
from stablemtl.commands.convert_map import MapConfig
from stablemtl.names import TASK_NAMES


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """Options of ``stablemtl convert published``."""

    auxiliary: Path
    """The single-stream UNet: single_stream_unet.pth, a run folder, or single_stream.tar.gz."""
    main: Path | None = None
    """The multi-stream UNet: diffusion_pytorch_model.bin, a run folder, or multi_stream.tar.gz."""
    base: str
    """Stable Diffusion 2 in diffusers format, a folder or hub id: its codec, text encoder, UNet options."""
    out: Path
    """Folder that receives the model."""
    heads: int | None = None
    """Heads of the task attention; the run's configuration says it, or else 4 as released."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...")] = TASK_NAMES
    """Tasks that the weights were trained for."""
    dtype: Literal["float32", "float16"] = "float32"
    """Number type of the written weights; float16 halves the size."""
    processing_resolution: int = 512
    """Longest edge at which the model processes images by default [px]."""
    overwrite: bool = False
    """Replace --out if it is there."""
    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""


_KINDS = {
    "published": (PublishedConfig, "Convert published weights into one folder that needs nothing else."),
    "map": (MapConfig, (convert_map.__doc__ or "").split("\n\n")[0]),
}
"""Kind of conversion -> its options and its help."""


def parse(program: str, arguments: Sequence[str]) -> PublishedConfig | MapConfig:
    """The conversion that the arguments describe.

    Raises:
        ValueError: unknown kind of conversion.
        SystemExit: as argument parsers do, after help or wrong options.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print((__doc__ or "").strip(), file=sys.stdout if arguments else sys.stderr)
        print("\nstablemtl convert published --help and stablemtl convert map --help list the options.")
        raise SystemExit(0 if arguments else 2)
    kind, *rest = arguments
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of weights {kind!r}; choose from {', '.join(_KINDS)}.")
    options, description = _KINDS[kind]
    config: PublishedConfig | MapConfig = tyro.cli(
        options, prog=f"{program} {kind}", description=description, args=rest
    )
    return config


def run(config: PublishedConfig | MapConfig) -> int:
    """Convert, and say what was written."""
    return convert_map.run(config) if isinstance(config, MapConfig) else _run_published(config)


def _run_published(config: PublishedConfig) -> int:
    """Read, convert, and write the folder."""
    if config.out.exists() and not config.overwrite:
        raise ValueError(f"--out {config.out} is there already. Choose another folder, or add --overwrite.")
    for option, path in (("--auxiliary", config.auxiliary), ("--main", config.main)):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{option}: there is nothing at {path}.")

    import logging

    import torch
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.commands.json_document import print_json
    from stablemtl.published import convert_published
    from stablemtl.training.checkpoint import written_beside

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    start = time.perf_counter()
    pipeline = convert_published(
        config.auxiliary,
        config.main,
        config.base,
        tasks=config.tasks,
        heads=config.heads,
        processing_resolution=config.processing_resolution,
    )
    pipeline.to(dtype=getattr(torch, config.dtype))
    with written_beside(config.out) as beside:
        pipeline.save_pretrained(beside)
    seconds = time.perf_counter() - start
    if config.json:
        print_json(_document(config, seconds))
        return 0
    size = sum(path.stat().st_size for path in config.out.rglob("*") if path.is_file())
    kind = "multi-stream" if config.main is not None else "single-stream"
    print(f"{kind} model with {len(config.tasks)} tasks: {config.out} ({size / 1e9:.2f} GB)")
    return 0


def _document(config: PublishedConfig, seconds: float) -> dict[str, Any]:
    """What was written; the seconds are those of converting, without the checksums."""
    from stablemtl import __version__
    from stablemtl.folders.results import checksum

    files = [
        {
            "name": path.relative_to(config.out).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": checksum(path),
        }
        for path in sorted(config.out.rglob("*"))
        if path.is_file()
    ]
    return {
        "stablemtl": __version__,
        "out": str(config.out),
        "streams": "single" if config.main is None else "multi",
        "tasks": list(config.tasks),
        "dtype": config.dtype,
        "processing_resolution": config.processing_resolution,
        "bytes": sum(file["bytes"] for file in files),
        "files": files,
        "seconds": seconds,
    }
