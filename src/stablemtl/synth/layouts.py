"""Writers of rendered scenes in the official download layouts, read back by ``stablemtl.data``.

A unit is what one scene gives: three views of a room, three frames of a street, one pair of things or cut-outs. Every file is written beside and renamed;
the last file of a unit is written last, so that its presence says that the unit is complete.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import write_flo, write_hdf5, write_pfm, write_png16, write_rgb
from stablemtl.data.vkitti import CLASS_COLOURS, SCENE_FLOW_RANGE_M, TEST_SCENES, TRAIN_SCENES
from stablemtl.synth.render import Frame, Motion
from stablemtl.synth.scenes import Scene
from stablemtl.synth.worlds.streets import FRAMES, VARIATIONS

ROOM_VOLUMES = {"train": 100, "val": 500, "test": 700}
"""First number of the scenes' names (ai_VVV_NNN): far from the official 001 to 055."""

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
    return root / "hypersim" / f"ai_{ROOM_VOLUMES[split] + unit // 10:03d}_{unit % 10 + 1:03d}"


def room_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a room."""
    return room_folder(root, split, unit) / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5"


def write_room(root: Path, split: str, unit: int, frames: Sequence[Frame]) -> None:
    """Views of a room as camera ``cam_00`` of a Hypersim scene."""
    folder = room_folder(root, split, unit)
    final, geometry = (
        folder / "images" / "scene_cam_00_final_hdf5",
        folder / "images" / "scene_cam_00_geometry_hdf5",
    )
    for number, frame in enumerate(frames):
        hit = frame.hit
        distance = np.linalg.norm(frame.in_camera(frame.position), axis=-1)
        # Hypersim's camera has y up and looks along -z.
        in_camera = (frame.normal @ frame.camera[:3, :3]) * [1, -1, -1]
        write = {
            final / f"frame.{number:04d}.color.hdf5": frame.colour.astype(np.float16),
            final / f"frame.{number:04d}.diffuse_reflectance.hdf5": frame.albedo.astype(np.float16),
            geometry / f"frame.{number:04d}.depth_meters.hdf5": np.where(hit, distance, np.nan).astype(
                np.float16
            ),
            geometry / f"frame.{number:04d}.normal_cam.hdf5": in_camera.astype(np.float16),
            geometry / f"frame.{number:04d}.normal_world.hdf5": frame.normal.astype(np.float16),
            geometry / f"frame.{number:04d}.position.hdf5": np.where(
                hit[..., None], frame.position, np.nan
            ).astype(np.float32),
            geometry / f"frame.{number:04d}.render_entity_id.hdf5": np.where(hit, frame.index + 1, -1).astype(
                np.int32
            ),
        }
        for path, array in write.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_hdf5(path, array)
    mark = room_mark(root, split, unit)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_hdf5(mark, np.stack([frame.camera[:3, 3] for frame in frames]))


def finish_rooms(root: Path) -> None:
    """The split file, from the rooms that are complete."""
    base = root / "hypersim"
    names = {"train": range(100, 500), "val": range(500, 700), "test": range(700, 1000)}
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(
        [
            "scene_name",
            "camera_name",
            "frame_id",
            "included_in_public_release",
            "exclude_reason",
            "split_partition_name",
        ]
    )
    for scene in sorted(base.glob("ai_*")):
        if not (scene / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5").is_file():
            continue
        split = next(name for name, volumes in names.items() if int(scene.name.split("_")[1]) in volumes)
        for path in sorted((scene / "images" / "scene_cam_00_final_hdf5").glob("frame.*.color.hdf5")):
            rows.writerow([scene.name, "cam_00", int(path.name.split(".")[1]), "True", "", split])
    _write_text(base / "metadata_images_split_scene_v1.csv", text.getvalue())


# Streets: Virtual KITTI 2 ------------------------------------------------------------------------


def street_variation(unit: int) -> str:
    """Light or heading of a street, taken in turn."""
    return VARIATIONS[unit % len(VARIATIONS)]


def _street_place(root: Path, split: str, unit: int) -> tuple[Path, int]:
    """Folder of the sequence a street goes to, and its first frame number. One number is left out between streets: no pair spans two."""
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
    colours = np.array(
        [CLASS_COLOURS[item.label] for item in scene.objects] + [CLASS_COLOURS["Sky"]], np.uint8
    )
    scale = exposure(frames[0].colour)
    for step, frame in enumerate(frames):
        number = first + step
        height, width = frame.index.shape

        def path(kind: str, stem: str, suffix: str = "png", number: int = number) -> Path:
            place = folder / kind / "Camera_0" / f"{stem}_{number:05d}.{suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            return place

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
        place = folder / "rgb" / "Camera_0" / f"rgb_{first + step:05d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_rgb(place, to_srgb8(frame.colour, scale), jpeg_quality=95)


def _coded(values: NDArray[Any]) -> NDArray[np.uint16]:
    return np.rint((np.clip(values, -1, 1) + 1) / 2 * 65535).astype(np.uint16)


def finish_streets(root: Path, focal_ratio: float, size: tuple[int, int]) -> None:
    """The cameras' file of every sequence."""
    height, width = size
    for sequence in sorted((root / "vkitti2").glob("Scene*/*")):
        numbers = sorted(
            int(p.stem[4:]) for p in (sequence / "frames" / "rgb" / "Camera_0").glob("rgb_*.jpg")
        )
        lines = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
        focal_px = focal_ratio * width
        lines += [
            f"{n} 0 {focal_px:.6f} {focal_px:.6f} {(width - 1) / 2} {(height - 1) / 2}" for n in numbers
        ]
        _write_text(sequence / "intrinsic.txt", "\n".join(lines) + "\n")


# Things: FlyingThings3D subset -------------------------------------------------------------------


def things_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a pair of things."""
    return root / "FlyingThings3D_subset" / split / "flow" / "left" / "into_future" / f"{2 * unit:07d}.flo"


def write_things(root: Path, split: str, unit: int, frames: Sequence[Frame], seen: Motion) -> None:
    """A pair of frames as ids 2n and 2n + 1 of the FlyingThings3D subset; disparities are stored negated, for a baseline of 1."""
    base, number = root / "FlyingThings3D_subset" / split, 2 * unit
    first = frames[0]
    focal_px = first.intrinsics[0, 0]
    scale = exposure(first.colour)
    with np.errstate(divide="ignore"):
        disparity = np.where(first.hit, focal_px / first.depth, 0)
        later = np.where(first.hit & (seen.depth_next > 0.05), focal_px / seen.depth_next, 0)

    def path(kind: str, suffix: str, at: int = number) -> Path:
        place = base / kind / f"{at:07d}.{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    for step, frame in enumerate(frames):
        write_rgb(path("image_clean/left", "png", number + step), to_srgb8(frame.colour, scale))
    write_pfm(path("disparity/left", "pfm"), -disparity.astype(np.float32))
    write_pfm(path("disparity_change/left/into_future", "pfm"), -(later - disparity).astype(np.float32))
    write_rgb(
        path("flow_occlusions/left/into_future", "png"), np.where(seen.occluded, 255, 0).astype(np.uint8)
    )
    mark = things_mark(root, split, unit)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_flo(mark, seen.flow)


# Cut-outs: FlyingChairs --------------------------------------------------------------------------

CHAIRS_FIRST = {"train": 1, "val": 40001}
"""First number of the pairs of a split."""


def cutouts_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a pair of cut-outs."""
    return root / "FlyingChairs_release" / "data" / f"{CHAIRS_FIRST[split] + unit:05d}_flow.flo"


def write_cutouts(
    root: Path, split: str, unit: int, pair: Sequence[NDArray[np.uint8]], flow: NDArray[np.float32]
) -> None:
    """A pair of frames with its flow."""
    mark = cutouts_mark(root, split, unit)
    mark.parent.mkdir(parents=True, exist_ok=True)
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
        marks[number - 1] = 1 if number < CHAIRS_FIRST["val"] else 2
    _write_text(base / "FlyingChairs_train_val.txt", "".join(f"{mark}\n" for mark in marks))


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)
