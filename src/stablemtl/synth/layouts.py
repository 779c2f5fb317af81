"""Writers of rendered scenes in the official download layouts, read back by ``stablemtl.data``.

A unit is what one scene gives: three views of a room, three frames of a street, one pair of things or of
cut-outs. Every file is written beside its place and renamed; the *mark* of a unit is written last, so that
its presence says that the unit is complete.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.flyingchairs import SPLIT_FILE
from stablemtl.data.formats import write_flo, write_hdf5, write_pfm, write_png16, write_rgb
from stablemtl.data.hypersim import SPLIT_CSV
from stablemtl.data.vkitti import CLASS_COLOURS, SCENE_FLOW_RANGE_M, TEST_SCENES, TRAIN_SCENES
from stablemtl.synth.render import Frame, Motion
from stablemtl.synth.scenes import Scene
from stablemtl.synth.worlds.streets import FRAMES, VARIATIONS

ROOM_VOLUMES = {"train": range(100, 500), "val": range(500, 700), "test": range(700, 1000)}
"""Numbers VVV in the scenes' names ai_VVV_NNN, ten scenes each: far from the official 001 to 055."""

_SPLIT_COLUMNS = (
    *("scene_name", "camera_name", "frame_id"),
    *("included_in_public_release", "exclude_reason", "split_partition_name"),
)
_EXPOSED = 0.8  # brightness given to the 90th percentile, as Hypersim's tone map does
_GREY = np.array([0.3, 0.59, 0.11])


def exposure(colour: NDArray[np.float32]) -> float:
    """Scale s that brings the 90th percentile of the brightness to 0.8 after a gamma of 1/2.2."""
    bright = float(np.percentile(colour @ _GREY, 90))
    return _EXPOSED**2.2 / bright if bright > 1e-4 else 0.0


def to_srgb8(colour: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    """Linear radiance (H, W, 3) to 8 bits with a gamma of 1/2.2."""
    return np.asarray(255 * np.clip(np.maximum(colour * scale, 0) ** (1 / 2.2), 0, 1), np.uint8)


# Rooms: Hypersim ---------------------------------------------------------------------------------


def room_folder(root: Path, split: str, unit: int) -> Path:
    """Folder of a room's scene."""
    return root / "hypersim" / f"ai_{ROOM_VOLUMES[split][unit // 10]:03d}_{unit % 10 + 1:03d}"


def room_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a room."""
    return room_folder(root, split, unit) / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5"


def write_room(root: Path, split: str, unit: int, frames: Sequence[Frame]) -> None:
    """Views of a room as camera ``cam_00`` of a Hypersim scene."""
    images = room_folder(root, split, unit) / "images"
    for number, frame in enumerate(frames):
        distance = np.linalg.norm(frame.in_camera(frame.position), axis=-1)
        # Hypersim's camera has y up and looks along -z.
        in_camera = (frame.normal @ frame.camera[:3, :3]) * [1, -1, -1]
        final: dict[str, NDArray[Any]] = {
            "color": frame.colour.astype(np.float16),
            "diffuse_reflectance": frame.albedo.astype(np.float16),
        }
        geometry: dict[str, NDArray[Any]] = {
            "depth_meters": np.where(frame.hit, distance, np.nan).astype(np.float16),
            "normal_cam": in_camera.astype(np.float16),
            "normal_world": frame.normal.astype(np.float16),
            "position": np.where(frame.hit[..., None], frame.position, np.nan).astype(np.float32),
            "render_entity_id": np.where(frame.hit, frame.index + 1, -1).astype(np.int32),
        }
        for group, arrays in (("final", final), ("geometry", geometry)):
            for kind, array in arrays.items():
                write_hdf5(images / f"scene_cam_00_{group}_hdf5" / f"frame.{number:04d}.{kind}.hdf5", array)
    write_hdf5(room_mark(root, split, unit), np.stack([frame.camera[:3, 3] for frame in frames]))


def finish_rooms(root: Path) -> None:
    """The split file, from the rooms that are complete."""
    base = root / "hypersim"
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_SPLIT_COLUMNS)
    for scene in sorted(base.glob("ai_*")):
        if not (scene / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5").is_file():
            continue
        volume = int(scene.name.split("_")[1])
        split = next(name for name, volumes in ROOM_VOLUMES.items() if volume in volumes)
        for path in sorted((scene / "images" / "scene_cam_00_final_hdf5").glob("frame.*.color.hdf5")):
            rows.writerow([scene.name, "cam_00", int(path.name.split(".")[1]), "True", "", split])
    _write_text(base / SPLIT_CSV, text.getvalue())


# Streets: Virtual KITTI 2 ------------------------------------------------------------------------


def street_variation(unit: int) -> str:
    """Light or heading of a street, taken in turn."""
    return VARIATIONS[unit % len(VARIATIONS)]


def _street_place(root: Path, split: str, unit: int) -> tuple[Path, int]:
    """Folder of the sequence that a street goes to, and its first frame number.

    One number is left out between streets, so that no pair of frames spans two of them.
    """
    scenes = TRAIN_SCENES if split == "train" else TEST_SCENES
    turn = unit // len(VARIATIONS)
    folder = root / "vkitti2" / scenes[turn % len(scenes)] / street_variation(unit) / "frames"
    return folder, (turn // len(scenes)) * (FRAMES + 1)


def street_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a street."""
    folder, first = _street_place(root, split, unit)
    return folder / "rgb" / "Camera_0" / f"rgb_{first + FRAMES - 1:05d}.jpg"


def write_street(
    root: Path, split: str, unit: int, scene: Scene, frames: Sequence[Frame], motions: Sequence[Motion]
) -> None:
    """Frames of a street as camera 0 of a Virtual KITTI 2 sequence."""
    folder, first = _street_place(root, split, unit)
    labels = [item.label for item in scene.objects] + ["Sky"]  # the sky's index is -1
    colours = np.array([CLASS_COLOURS[label] for label in labels], np.uint8)
    scale = exposure(frames[0].colour)
    for step, frame in enumerate(frames):
        number = first + step
        height, width = frame.index.shape

        def path(kind: str, stem: str, number: int = number) -> Path:
            return folder / kind / "Camera_0" / f"{stem}_{number:05d}.png"

        depth_cm = np.where(frame.hit, np.rint(frame.depth * 100), 65535)
        write_png16(path("depth", "depth"), np.clip(depth_cm, 1, 65535).astype(np.uint16))
        write_rgb(path("classSegmentation", "classgt"), colours[frame.index])
        if step < len(motions):
            seen = motions[step]
            # What leaves the range of the format is marked as not valid, like the sky.
            flow = seen.flow / [width - 1, height - 1]
            valid = frame.hit & (np.abs(flow) < 1).all(-1) & (seen.depth_next > 0.05)
            valid &= (np.abs(seen.scene_flow) < SCENE_FLOW_RANGE_M).all(-1)
            coded = _coded(np.concatenate([flow, np.ones_like(flow[..., :1])], -1))
            write_png16(path("forwardFlow", "flow"), np.where(valid[..., None], coded, 0).astype(np.uint16))
            write_png16(path("forwardSceneFlow", "sceneFlow"), _coded(seen.scene_flow / SCENE_FLOW_RANGE_M))
    for step, frame in enumerate(frames):
        place = folder / "rgb" / "Camera_0" / f"rgb_{first + step:05d}.jpg"  # the last one is the mark
        write_rgb(place, to_srgb8(frame.colour, scale), jpeg_quality=95)


def _coded(values: NDArray[Any]) -> NDArray[np.uint16]:
    """[-1, 1] to the whole range of 16 bits."""
    return np.rint((np.clip(values, -1, 1) + 1) / 2 * 65535).astype(np.uint16)


def finish_streets(root: Path, focal_ratio: float, size: tuple[int, int]) -> None:
    """The cameras' file of every sequence.

    Args:
        root: data folder.
        focal_ratio: focal length divided by the image width.
        size: (height, width) of the frames [px].
    """
    height, width = size
    focal_px = focal_ratio * width
    camera = f"0 {focal_px:.6f} {focal_px:.6f} {(width - 1) / 2} {(height - 1) / 2}"
    for sequence in sorted((root / "vkitti2").glob("Scene*/*")):
        pictures = (sequence / "frames" / "rgb" / "Camera_0").glob("rgb_*.jpg")
        rows = [f"{number} {camera}" for number in sorted(int(path.stem[4:]) for path in pictures)]
        _write_text(
            sequence / "intrinsic.txt", "\n".join(["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]", *rows, ""])
        )


# Things: FlyingThings3D subset -------------------------------------------------------------------


def things_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a pair of things."""
    return root / "FlyingThings3D_subset" / split / "flow" / "left" / "into_future" / f"{2 * unit:07d}.flo"


def write_things(root: Path, split: str, unit: int, frames: Sequence[Frame], seen: Motion) -> None:
    """A pair of frames as ids 2n and 2n + 1 of the FlyingThings3D subset.

    Disparities are those of a stereo baseline of 1 m, stored negated as in the release.
    """
    base, number = root / "FlyingThings3D_subset" / split, 2 * unit
    first = frames[0]
    focal_px = first.intrinsics[0, 0]
    scale = exposure(first.colour)
    with np.errstate(divide="ignore"):
        disparity = np.where(first.hit, focal_px / first.depth, 0)
        later = np.where(first.hit & (seen.depth_next > 0.05), focal_px / seen.depth_next, 0)

    def path(kind: str, suffix: str, at: int = number) -> Path:
        return base / kind / f"{at:07d}.{suffix}"

    for step, frame in enumerate(frames):
        write_rgb(path("image_clean/left", "png", number + step), to_srgb8(frame.colour, scale))
    write_pfm(path("disparity/left", "pfm"), -disparity.astype(np.float32))
    write_pfm(path("disparity_change/left/into_future", "pfm"), -(later - disparity).astype(np.float32))
    occlusions = np.where(seen.occluded, 255, 0).astype(np.uint8)
    write_rgb(path("flow_occlusions/left/into_future", "png"), occlusions)
    write_flo(things_mark(root, split, unit), seen.flow)


# Cut-outs: FlyingChairs --------------------------------------------------------------------------

CHAIRS_NUMBERS = {"train": range(1, 40001), "val": range(40001, 100_000)}
"""Numbers of the pairs of a split."""


def cutouts_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a pair of cut-outs."""
    return root / "FlyingChairs_release" / "data" / f"{CHAIRS_NUMBERS[split][unit]:05d}_flow.flo"


def write_cutouts(
    root: Path, split: str, unit: int, pair: Sequence[NDArray[np.uint8]], flow: NDArray[np.float32]
) -> None:
    """A pair of frames with its flow."""
    mark = cutouts_mark(root, split, unit)
    number = mark.name.split("_")[0]
    for step, picture in enumerate(pair, start=1):
        write_rgb(mark.with_name(f"{number}_img{step}.ppm"), picture)
    write_flo(mark, flow)


def finish_cutouts(root: Path) -> None:
    """The split file: line n is 1 (train), 2 (val), or 0 where there is no pair n."""
    base = root / "FlyingChairs_release"
    numbers = [int(path.name.split("_")[0]) for path in (base / "data").glob("*_flow.flo")]
    marks = np.zeros(max(numbers, default=0), int)
    for number in numbers:
        marks[number - 1] = 1 if number in CHAIRS_NUMBERS["train"] else 2
    _write_text(base / SPLIT_FILE, "".join(f"{mark}\n" for mark in marks))


def _write_text(path: Path, text: str) -> None:
    """Written beside its place and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)
