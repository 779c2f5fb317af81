"""The held-out worlds in the layouts of the benchmarks: town, places and still lifes.

Units and marks are those of ``stablemtl.synth.layouts.rendered``. One town is a frame of Cityscapes, one of
KITTI depth and a pair of KITTI flow 2015; one place is a frame of DIODE, indoors and outdoors in turn; one
still life is a scene of MIDIntrinsics. ``root`` is the data folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.kitti_depth import MAX_DEPTH_M
from stablemtl.data.kitti_flow import BASELINE_M
from stablemtl.synth.frames import Frame, Motion, exposure, to_srgb8
from stablemtl.synth.layouts.cityscapes import write_cityscapes
from stablemtl.synth.layouts.diode import write_diode
from stablemtl.synth.layouts.kitti_depth import write_kitti_depth, write_kitti_depth_list
from stablemtl.synth.layouts.kitti_flow import write_kitti_flow
from stablemtl.synth.layouts.midintrinsics import write_midintrinsics, write_midintrinsics_albedo
from stablemtl.synth.layouts.rendered import NEAREST_M
from stablemtl.synth.scenes import Scene

# Town: Cityscapes, KITTI depth, KITTI flow 2015 -----------------------------------------------------

LABEL_IDS = {
    "Road": 7,
    "Sidewalk": 8,
    "Building": 11,
    "Wall": 12,
    "Fence": 13,
    "Pole": 17,
    "TrafficLight": 19,
    "TrafficSign": 20,
    "Vegetation": 21,
    "Terrain": 22,
    "Sky": 23,
    "Person": 24,
    "Car": 26,
    "Truck": 27,
    "Bus": 28,
}
"""Label ids of Cityscapes for the labels of a town. Half of them belong to none of the eight classes."""

CITY = "minitown"
SCANNED_SINE = 0.04
"""The laser looks up to 2.3 degrees above the horizon."""
MAX_DISPARITY_DEPTH_M = 30.0
"""Points further away have no disparity: its steps of 1/256 px would be centimetres in small frames."""


def town_mark(root: Path, unit: int) -> Path:
    """Last file of a town."""
    return root / "kitti_flow_2015" / "training" / "image_2" / f"{unit:06d}_10.png"


def write_town(
    root: Path, unit: int, scene: Scene, frames: Sequence[Frame], seen: Motion, rng: np.random.Generator
) -> None:
    """Two instants of a town in three layouts; ``rng`` decides which pixels the laser hits."""
    first, second = frames
    scale = exposure(first.colour)
    image, image_next = (to_srgb8(frame.colour, scale) for frame in (first, second))
    ids = np.array([LABEL_IDS[label] for label in scene.labels], np.uint8)
    write_cityscapes(root / "cityscapes", CITY, unit, image=image, label_ids=ids[first.index])
    depth = np.where(laser(first, rng), first.depth, 0)
    drive = f"2011_01_01_drive_{unit // 100:04d}_sync"
    write_kitti_depth(root / "kitti_depth", drive, unit % 100, image=image, depth_m=depth)
    focal_px = float(first.intrinsics[0, 0])
    moving = first.hit & (seen.depth_next > NEAREST_M)
    near = moving & (first.depth < MAX_DISPARITY_DEPTH_M)
    with np.errstate(divide="ignore"):
        disparity = np.where(near, BASELINE_M * focal_px / first.depth, 0)
        disparity_next = np.where(near, BASELINE_M * focal_px / seen.depth_next, 0)
    write_kitti_flow(
        root / "kitti_flow_2015",
        unit,
        image=image,
        image_next=image_next,
        flow=seen.flow,
        flow_valid=moving,
        disparity=disparity,
        disparity_next=disparity_next,
        focal_px=focal_px,
        center_px=(float(first.intrinsics[0, 2]), float(first.intrinsics[1, 2])),
    )


def laser(frame: Frame, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Pixels that a laser scanner measures (H, W): most of three rows in five, below the horizon and 80 m."""
    ray = frame.position - frame.camera[:3, 3]
    sine = ray[..., 2] / np.maximum(np.linalg.norm(ray, axis=-1), 1e-6)
    rows = (np.arange(len(sine)) + rng.integers(5)) % 5 < 3
    hit = frame.hit & (sine < SCANNED_SINE) & (frame.depth < MAX_DEPTH_M)
    return np.asarray(hit & rows[:, None] & (rng.random(sine.shape) < 0.8))


def finish_town(root: Path, focal_ratio: float, size: tuple[int, int]) -> None:
    """The list of KITTI depth, from the frames that are there.

    Args:
        root: data folder.
        focal_ratio: focal length divided by the image width.
        size: (height, width) of the frames [px].
    """
    base = root / "kitti_depth"
    rows = []
    for depth in sorted(base.glob("*/proj_depth/groundtruth/image_02/[0-9]*.png")):
        drive = depth.relative_to(base).parts[0]
        picture = f"{drive[:10]}/{drive}/image_02/data/{depth.name}"
        rows.append((picture, depth.relative_to(base).as_posix(), focal_ratio * size[1]))
    write_kitti_depth_list(base, rows)


# Places: DIODE ----------------------------------------------------------------------------------------

MAX_PLACE_DEPTH_M = 300.0
"""The scanner's range."""


def place_kind(unit: int) -> Literal["indoors", "outdoor"]:
    """Indoors and outdoors in turn."""
    return "outdoor" if unit % 2 else "indoors"


def _place_numbers(unit: int) -> tuple[int, int, str]:
    """Scene, scan and name of a place."""
    scene, scan = unit // 20, unit
    return scene, scan, f"{scene:05d}_{scan:05d}_{place_kind(unit)}_000_000"


def place_mark(root: Path, unit: int) -> Path:
    """Last file of a place."""
    scene, scan, name = _place_numbers(unit)
    folder = root / "diode" / "val" / place_kind(unit) / f"scene_{scene:05d}" / f"scan_{scan:05d}"
    return folder / f"{name}.png"


def write_place(root: Path, unit: int, frame: Frame) -> None:
    """The view of a place as a frame of DIODE."""
    write_diode(
        root / "diode",
        place_kind(unit),
        *_place_numbers(unit),
        image=to_srgb8(frame.colour, exposure(frame.colour)),
        depth_m=frame.depth,
        normal=frame.normal_to_viewer,
        valid=frame.hit & (frame.depth < MAX_PLACE_DEPTH_M),
    )


# Still lifes: MIDIntrinsics ---------------------------------------------------------------------------


def still_life_mark(root: Path, unit: int, lights: int) -> Path:
    """Last file of a still life that is seen under so many lights."""
    return root / "midintrinsics" / "test" / f"still_life_{unit:04d}" / f"dir_{lights - 1}_mip2.exr"


def write_still_life(root: Path, unit: int, frames: Sequence[Frame]) -> None:
    """The pictures of a still life, one for each light, after their albedo."""
    base, name = root / "midintrinsics", f"still_life_{unit:04d}"
    write_midintrinsics_albedo(base, name, frames[0].albedo.astype(np.float16))
    for light, frame in enumerate(frames):
        write_midintrinsics(base, name, light, color=frame.colour.astype(np.float16))
