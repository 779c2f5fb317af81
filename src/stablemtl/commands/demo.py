"""Predict on a stereo pair of a motorcycle that comes with scikit-image, and write everything to a folder.

The two views are treated as two frames: the camera moved to the right by the stereo baseline, so all flow
points left, and near things move most.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stablemtl.commands import predict


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Options of ``stablemtl demo``."""

    out: Path = Path("demo")
    """Folder for the two views and the maps."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id (owner/name)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""


def run(config: DemoConfig) -> int:
    """Write the two views, then do what ``stablemtl predict`` does."""
    left, right = write_views(config.out)
    command = f"stablemtl predict {left} --next {right} --out {config.out}"
    print(command, file=sys.stderr if config.json else sys.stdout)
    return predict.run(
        predict.PredictConfig(
            inputs=(left,),
            next=right,
            out=config.out,
            model=config.model,
            device=config.device,
            json=config.json,
        )
    )


def write_views(folder: Path) -> tuple[Path, Path]:
    """The two views as ``left.png`` and ``right.png``, 741x500 px.

    Source: Scharstein et al., GCPR 2014 (the Middlebury stereo set), as scikit-image ships it.
    """
    from PIL import Image
    from skimage.data import stereo_motorcycle

    from stablemtl.writers import write_picture

    views = stereo_motorcycle()[:2]  # (500, 741, 3) uint8 each; the third is the disparity
    paths = (folder / "left.png", folder / "right.png")
    for path, view in zip(paths, views, strict=True):
        write_picture(path, Image.fromarray(view))
    return paths
