"""Large images in tiles: how far tiles disagree, how much of them shows, and what the whole view would say.

    python benchmarks/large_images.py --height 1024 --width 2048 --tile 512
    python benchmarks/large_images.py --scene motorcycle --height 1376 --width 2048 --tile 512

``smooth`` is a drawn scene without texture: a floor and a sky that change slowly, balls, soft light; its
second frame is the first, moved by 2 px. ``motorcycle`` is the Middlebury pair that comes with scikit-image,
enlarged. Columns, all in % of the map's range (of class ids: of the pixels):

- overlap: how much two tiles differ where they overlap;
- seam: jump across the tiles' borders beyond the jump elsewhere, in the joined map;
- untiled: mean difference of the joined map from one pass over the whole image.

Each as predicted (raw), with one scale (and shift) for each tile (scaled), and with broad structures from the
coarse map too (full), which is the default.

Memory is the highest of the whole process so far, from the first tiled call and from saving its maps.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro
from measure import Options, Report, load

from stablemtl.large_images import predict_tiled_with_report, seam_error
from stablemtl.outputs import Prediction


@dataclass(kw_only=True)
class LargeImageOptions(Options):
    """Seams and disagreement of tiles."""

    scene: Literal["smooth", "motorcycle"] = "smooth"
    """What is in the image."""
    height: int = 1024
    """Height of the frames [px]."""
    width: int = 2048
    """Width of the frames [px]."""
    tile: int = 512
    """Longest edge of a tile [px]."""
    overlap: int | None = None
    """Overlap of neighbours [px]; a quarter of the tile by default."""
    processing_resolution: int | None = None
    """Longest edge at which a tile is processed [px]; the model's own by default."""
    save: bool = False
    """Save the maps too, for the memory that takes."""


def main(options: LargeImageOptions) -> Report:
    device = options.start()
    pipe = load(options.size, device, options.dtype)
    size = (options.height, options.width)
    frames = smooth_scene(size) if options.scene == "smooth" else motorcycle(size)
    common: dict[str, Any] = {"processing_resolution": options.processing_resolution}
    tiled: dict[str, Any] = {"tile": options.tile, "overlap": options.overlap, **common}
    full, report = predict_tiled_with_report(pipe, *frames, **tiled)
    notes = [f"{len(report.tiles)} tiles; memory of the process {peak_gb():.2f} GB after predicting"]
    if options.save:
        with tempfile.TemporaryDirectory() as folder:
            full.save(folder)
        notes.append(f"{peak_gb():.2f} GB after saving")
    ways = {
        "raw": predict_tiled_with_report(pipe, *frames, align=False, **tiled),
        "scaled": predict_tiled_with_report(pipe, *frames, context=0, **tiled),
        "full": (full, report),
    }
    whole = pipe(*frames, **common)
    table = Report(
        f"large_images_{options.scene}_{options.height}x{options.width}_tile{options.tile}_{options.size}",
        f"Tiles of {options.tile} px in {options.height}x{options.width} px ({options.scene}), in %",
        options,
        notes=notes,
    )
    for name in full:
        row: dict[str, Any] = {"task": name, "fitted": report.tasks[name].freedom}
        for way, (_, facts) in ways.items():
            row[f"overlap_{way}"] = 100 * facts.tasks[name].disagreement
        for way, (maps, _) in ways.items():
            row[f"seam_{way}"] = 100 * seam_error(maps[name].values, report.rows, report.columns)
        for way, (maps, _) in ways.items():
            row[f"untiled_{way}"] = 100 * difference(maps[name], whole[name])
        table.rows.append(row)
    table.write()
    return table


def difference(one: Prediction, other: Prediction) -> float:
    """Mean difference as a share of the second one's range; of class ids, the share that differs."""
    if one.values.dtype.kind in "iu":
        return float((one.values != other.values).mean())
    lowest, highest = other.range
    return float(np.abs(one.values - other.values).mean()) / max(highest - lowest, 1e-9)


def smooth_scene(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two frames, uint8 (H, W, 3); the second shows everything 2 px further to the right."""
    return _smooth(size, 0.0), _smooth(size, 2.0)


def _smooth(size: tuple[int, int], shift_px: float) -> np.ndarray:
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height, (x - shift_px) / height
    floor = 1 / (1 + np.exp(-(y - 0.45) * 40))  # a soft horizon
    sky = np.stack([0.55 + 0.2 * y, 0.7 + 0.15 * y, 0.95 - 0.05 * y], axis=2)
    ground = np.stack([0.35 + 0.25 * y, 0.33 + 0.2 * y, 0.3 + 0.15 * y], axis=2)
    picture = sky * (1 - floor[..., None]) + ground * floor[..., None]
    light = np.array([-0.5, -0.6, -0.62], dtype=np.float32)  # towards it; x right, y down, z forward
    for at_x, at_y, radius, colour in (
        (0.35, 0.62, 0.22, (0.8, 0.3, 0.25)),
        (1.05, 0.55, 0.3, (0.3, 0.55, 0.75)),
        (1.65, 0.72, 0.16, (0.75, 0.7, 0.3)),
    ):
        dx, dy = (x - at_x) / radius, (y - at_y) / radius
        inside = np.clip((1 - np.hypot(dx, dy)) * radius * height / 8, 0, 1)[..., None]  # a border of 8 px
        depth = np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1))
        lit = 0.25 + 0.75 * np.clip(dx * light[0] + dy * light[1] - depth * light[2], 0, 1)
        ball = lit[..., None] * np.array(colour, dtype=np.float32)
        picture = picture * (1 - inside) + ball * inside
    return np.asarray(np.clip(picture * 255, 0, 255).round(), np.uint8)


def motorcycle(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Both views, enlarged to (H, W)."""
    import cv2
    from skimage.data import stereo_motorcycle

    left, right, _ = stereo_motorcycle()
    return tuple(cv2.resize(view, size[::-1], interpolation=cv2.INTER_CUBIC) for view in (left, right))


def peak_gb() -> float:
    """Highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    main(tyro.cli(LargeImageOptions))
