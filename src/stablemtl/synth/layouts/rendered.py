"""The training worlds in their layouts: rooms, streets, things and cut-outs as the generator makes them.

A unit is what one scene gives: three views of a room, three frames of a street, one pair of things or of
cut-outs. The *mark* of a unit is the file that is written last, so that its presence says that the unit is
complete. ``root`` is the data folder, which holds those of the datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.vkitti import CLASS_COLOURS, TEST_SCENES, TRAIN_SCENES
from stablemtl.synth.frames import Frame, Motion, exposure, to_srgb8
from stablemtl.synth.layouts.flyingchairs import write_chairs_pair, write_chairs_split
from stablemtl.synth.layouts.flyingthings3d import write_things_pair
from stablemtl.synth.layouts.hypersim import (
    SplitRow,
    write_hypersim_cameras,
    write_hypersim_frame,
    write_hypersim_split,
)
from stablemtl.synth.layouts.vkitti import write_vkitti_frame, write_vkitti_intrinsics
from stablemtl.synth.scenes import Scene
from stablemtl.synth.worlds.streets import FRAMES, VARIATIONS

NEAREST_M = 0.05
"""Points nearer than this to the later camera have no flow."""

# Rooms: Hypersim ---------------------------------------------------------------------------------

ROOM_VOLUMES = {"train": range(100, 500), "val": range(500, 700), "test": range(700, 1000)}
"""Numbers VVV in the scenes' names ai_VVV_NNN, ten scenes each: far from the official 001 to 055."""

_ROOM_CAMERA = "cam_00"


def room_folder(root: Path, split: str, unit: int) -> Path:
    """Folder of a room's scene."""
    return root / "hypersim" / f"ai_{ROOM_VOLUMES[split][unit // 10]:03d}_{unit % 10 + 1:03d}"


def room_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a room."""
    return _room_cameras(room_folder(root, split, unit))


def _room_cameras(scene: Path) -> Path:
    return scene / "_detail" / _ROOM_CAMERA / "camera_keyframe_positions.hdf5"


def write_room(root: Path, split: str, unit: int, frames: Sequence[Frame]) -> None:
    """Views of a room as one camera of a Hypersim scene."""
    folder = room_folder(root, split, unit)
    for number, frame in enumerate(frames):
        hit = frame.hit[..., None]
        write_hypersim_frame(
            folder.parent,
            folder.name,
            _ROOM_CAMERA,
            number,
            color=frame.colour,
            reflectance=frame.albedo,
            distance=np.where(frame.hit, np.linalg.norm(frame.in_camera(frame.position), axis=-1), np.nan),
            normal_cam=frame.normal_to_viewer,
            normal_world=frame.normal,
            position=np.where(hit, frame.position, np.nan),
            entity=np.where(frame.hit, frame.index + 1, -1),
        )
    positions = np.stack([frame.camera[:3, 3] for frame in frames])
    write_hypersim_cameras(folder.parent, folder.name, _ROOM_CAMERA, positions)


def finish_rooms(root: Path) -> None:
    """The split file, from the rooms that are complete."""
    base = root / "hypersim"
    rows: list[SplitRow] = []
    for scene in sorted(base.glob("ai_*")):
        if not _room_cameras(scene).is_file():
            continue
        volume = int(scene.name.split("_")[1])
        split = next(name for name, volumes in ROOM_VOLUMES.items() if volume in volumes)
        pictures = (scene / "images" / f"scene_{_ROOM_CAMERA}_final_hdf5").glob("frame.*.color.hdf5")
        for number in sorted(int(path.name.split(".")[1]) for path in pictures):
            rows.append((scene.name, _ROOM_CAMERA, number, True, "", split))
    write_hypersim_split(base, rows)


# Streets: Virtual KITTI 2 ------------------------------------------------------------------------


def street_variation(unit: int) -> str:
    """Light or heading of a street, taken in turn."""
    return VARIATIONS[unit % len(VARIATIONS)]


def _street_place(split: str, unit: int) -> tuple[str, int]:
    """Scene that a street goes to, and its first frame number.

    One number is left out between streets, so that no pair of frames spans two of them.
    """
    scenes = TRAIN_SCENES if split == "train" else TEST_SCENES
    turn = unit // len(VARIATIONS)
    return scenes[turn % len(scenes)], (turn // len(scenes)) * (FRAMES + 1)


def street_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a street."""
    name, first = _street_place(split, unit)
    pictures = root / "vkitti2" / name / street_variation(unit) / "frames" / "rgb" / "Camera_0"
    return pictures / f"rgb_{first + FRAMES - 1:05d}.jpg"


def write_street(
    root: Path, split: str, unit: int, scene: Scene, frames: Sequence[Frame], motions: Sequence[Motion]
) -> None:
    """Frames of a street as camera 0 of a Virtual KITTI 2 sequence."""
    name, first = _street_place(split, unit)
    colours = np.array([CLASS_COLOURS[label] for label in scene.labels], np.uint8)
    scale = exposure(frames[0].colour)
    for step, frame in enumerate(frames):
        seen = motions[step] if step < len(motions) else None
        write_vkitti_frame(
            root / "vkitti2",
            name,
            street_variation(unit),
            0,
            first + step,
            image=to_srgb8(frame.colour, scale),
            depth_m=np.where(frame.hit, frame.depth, np.inf),
            classes_rgb=colours[frame.index],
            flow=seen.flow if seen else None,
            flow_valid=frame.hit & (seen.depth_next > NEAREST_M) if seen else None,
            scene_flow=seen.scene_flow if seen else None,
        )


def finish_streets(root: Path, focal_ratio: float, size: tuple[int, int]) -> None:
    """The cameras' file of every sequence.

    Args:
        root: data folder.
        focal_ratio: focal length divided by the image width.
        size: (height, width) of the frames [px].
    """
    height, width = size
    focal_px = focal_ratio * width
    for sequence in sorted((root / "vkitti2").glob("Scene*/*")):
        pictures = (sequence / "frames" / "rgb" / "Camera_0").glob("rgb_*.jpg")
        numbers = sorted(int(path.stem[4:]) for path in pictures)
        rows = [(number, 0, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2) for number in numbers]
        write_vkitti_intrinsics(root / "vkitti2", sequence.parent.name, sequence.name, rows)


# Things: FlyingThings3D subset -------------------------------------------------------------------


def things_mark(root: Path, split: str, unit: int) -> Path:
    """Last file of a pair of things."""
    return root / "FlyingThings3D_subset" / split / "flow" / "left" / "into_future" / f"{2 * unit:07d}.flo"


def write_things(root: Path, split: str, unit: int, frames: Sequence[Frame], seen: Motion) -> None:
    """A pair of frames as ids 2n and 2n + 1; the disparities are those of a stereo baseline of 1 m."""
    first, second = frames
    focal_px = first.intrinsics[0, 0]
    scale = exposure(first.colour)
    with np.errstate(divide="ignore"):
        disparity = np.where(first.hit, focal_px / first.depth, 0)
        later = np.where(first.hit & (seen.depth_next > NEAREST_M), focal_px / seen.depth_next, 0)
    write_things_pair(
        root / "FlyingThings3D_subset",
        split,
        2 * unit,
        image=to_srgb8(first.colour, scale),
        image_next=to_srgb8(second.colour, scale),
        disparity=disparity,
        disparity_change=later - disparity,
        flow=seen.flow,
        occluded=seen.occluded,
    )


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
    number = CHAIRS_NUMBERS[split][unit]
    write_chairs_pair(root / "FlyingChairs_release", number, image=pair[0], image_next=pair[1], flow=flow)


def finish_cutouts(root: Path) -> None:
    """The split file, from the pairs that are there."""
    base = root / "FlyingChairs_release"
    numbers = [int(path.name.split("_")[0]) for path in (base / "data").glob("*_flow.flo")]
    marks = np.zeros(max(numbers, default=0), int)
    for number in numbers:
        marks[number - 1] = 1 if number in CHAIRS_NUMBERS["train"] else 2
    write_chairs_split(base, marks)
