"""List the Hypersim frames whose depth has no holes: the second of StableMTL's two filtering rules.

Every depth file of the split is read once. The list is kept beside the split file; depth, albedo and shading
then take those frames only. Delete it to have all frames again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Options of ``stablemtl data index``."""

    root: Annotated[Path, tyro.conf.Positional]
    """Data folder with ``hypersim`` in it."""
    split: Literal["train", "val", "test"] = "train"
    """Part of the data."""
    workers: int = 8
    """Files read at the same time."""


def run(config: IndexConfig) -> int:
    """Read all depth files with a progress bar, and write the list."""
    from rich.console import Console
    from rich.progress import Progress

    from stablemtl.data import CATALOG, Hypersim
    from stablemtl.data.hypersim_lists import complete_frames_path

    if config.workers < 1:
        raise ValueError(f"--workers must be 1 or more, got {config.workers}.")
    dataset = Hypersim(config.root / CATALOG["hypersim"].folder, config.split)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(f"hypersim {config.split}", total=len(dataset))
        count = dataset.list_complete_frames(
            workers=config.workers, on_progress=lambda done: progress.update(bar, completed=done)
        )
    print(
        f"{count} of {len(dataset)} frames are complete: {complete_frames_path(dataset.root, config.split)}"
    )
    return 0
