"""Two-frame copies of the official downloads, with values that can be checked by hand.

Sizes are not square, and differ from one dataset to the next. Encodings are written out here, not taken from
the package, so that a reader and its fake cannot share a mistake.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from stablemtl.data.formats import write_flo, write_hdf5, write_pfm, write_png16, write_rgb

HYPERSIM_SIZE = (4, 6)
VKITTI_SIZE = (5, 7)
THINGS_SIZE = (6, 8)
CHAIRS_SIZE = (3, 5)

CSV_HEADER = (
    "scene_name",
    "camera_name",
    "frame_id",
    "included_in_public_release",
    "exclude_reason",
    "split_partition_name",
)
CSV_ROWS = [
    ("ai_001_001", "cam_00", 0, True, "", "train"),
    ("ai_001_001", "cam_00", 1, True, "", "train"),
    ("ai_001_001", "cam_00", 2, False, "scene outlier", ""),
    ("ai_032_004", "cam_00", 0, True, "", "train"),  # left out by the published lists
    ("ai_052_002", "cam_01", 21, True, "", "train"),  # left out by the published lists
    ("ai_001_002", "cam_00", 0, True, "", "val"),
]


def write_hypersim(root: Path) -> Path:
    """Two train frames and one val frame; the second train frame is seen from another place."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "metadata_images_split_scene_v1.csv").open("w", newline="") as file:
        csv.writer(file).writerows([CSV_HEADER, *CSV_ROWS])
    for scene, frames in (("ai_001_001", (0, 1)), ("ai_001_002", (0,))):
        cameras = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
        write_hdf5(root / scene / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5", cameras)
        for number in frames:
            _hypersim_frame(root / scene / "images", number, cameras[number])
    return root


def _hypersim_frame(images: Path, number: int, camera: np.ndarray) -> None:
    """Walls as named below, at 2 m from the camera; camera axes are the world's."""
    height, width = HYPERSIM_SIZE
    entity = np.ones((height, width), np.int32)
    entity[0, 0] = -1
    color = np.broadcast_to(np.array([0.25, 0.5, 0.75], np.float16), (height, width, 3)).copy()
    color[0, 0] = 50.0  # a lamp outside the scene, which the exposure must not see
    reflectance = np.full((height, width, 3), 0.5, np.float16)
    reflectance[1, 2] = 0.002
    distance = np.full((height, width), 2.0, np.float32)
    distance[3, 0] = np.nan
    distance[3, 5] = 100.0
    normal = np.zeros((height, width, 3), np.float16)
    normal[..., 2] = 1.0  # faces the camera (x right, y up, z to the viewer)
    position = np.zeros((height, width, 3), np.float32)
    position[..., 2] = -5.0
    normal[1, 0], position[1, 0] = (0, 1, 0), (0, -1, -5)  # floor
    normal[1, 1], position[1, 1] = (1, 0, 0), (-1, 0, -5)  # wall on the left
    normal[1, 3] = (0, 0, -2)  # stored from behind, and not of unit length
    normal[1, 4] = 0
    position[1, 5] = np.nan
    final, geometry = images / "scene_cam_00_final_hdf5", images / "scene_cam_00_geometry_hdf5"
    write_hdf5(final / f"frame.{number:04d}.color.hdf5", color)
    write_hdf5(final / f"frame.{number:04d}.diffuse_reflectance.hdf5", reflectance)
    write_hdf5(geometry / f"frame.{number:04d}.depth_meters.hdf5", distance)
    write_hdf5(geometry / f"frame.{number:04d}.normal_cam.hdf5", normal)
    write_hdf5(geometry / f"frame.{number:04d}.normal_world.hdf5", normal)
    write_hdf5(geometry / f"frame.{number:04d}.position.hdf5", position + camera.astype(np.float32))
    write_hdf5(geometry / f"frame.{number:04d}.render_entity_id.hdf5", entity)


def write_vkitti2(root: Path) -> Path:
    """Two frames of Scene02/clone for both cameras, two of Scene20/sunset and of Scene01/clone for one."""
    sequences = [
        ("Scene02", "clone", (0, 1)),
        ("Scene20", "sunset", (0,)),
        ("Scene20", "fog", (0,)),
        ("Scene01", "clone", (0,)),
    ]
    for scene, variation, cameras in sequences:
        for camera in cameras:
            for number in (0, 1):
                _vkitti_frame(root / scene / variation / "frames", camera, number)
    return root


def write_vkitti2_intrinsics(
    root: Path, scene: str, variation: str, focal: float, center: tuple[float, float]
) -> None:
    """The official ``intrinsic.txt``, for two frames and two cameras."""
    rows = [
        f"{frame} {camera} {focal} {focal} {center[0]} {center[1]}" for frame in (0, 1) for camera in (0, 1)
    ]
    header = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"
    (root / scene / variation / "intrinsic.txt").write_text("\n".join([header, *rows]) + "\n")


def _vkitti_frame(frames: Path, camera: int, number: int) -> None:
    height, width = VKITTI_SIZE

    def path(kind: str, stem: str, suffix: str) -> Path:
        return frames / kind / f"Camera_{camera}" / f"{stem}_{number:05d}.{suffix}"

    grey = np.full((height, width, 3), 50 + 100 * number + 10 * camera, np.uint8)
    write_rgb(path("rgb", "rgb", "jpg"), grey)
    depth = np.full((height, width), 1250, np.uint16)  # 12.5 m
    depth[0] = 65535  # sky
    depth[1, 0] = 8000  # 80 m: just out of range
    write_png16(path("depth", "depth", "png"), depth)
    classes = np.full((height, width, 3), (100, 60, 100), np.uint8)  # road
    classes[0] = (90, 200, 255)  # sky
    classes[1, 0] = (210, 0, 200)  # terrain
    classes[1, 1] = (0, 139, 139)  # van
    classes[1, 2] = (90, 240, 0)  # vegetation
    classes[1, 3] = (90, 240, 1)  # no class has this colour
    write_rgb(path("classSegmentation", "classgt", "png"), classes)
    if number == 0:  # the last frame of a sequence has no flow
        flow = np.zeros((height, width, 3), np.uint16)
        flow[..., 2] = 65535
        flow[..., 0] = 65535  # u = W - 1
        flow[..., 1] = 0  # v = -(H - 1)
        flow[2, 3] = (49151, 49151, 65535)  # three quarters: half of the largest motion to the right and down
        flow[4, 6] = (65535, 65535, 0)
        write_png16(path("forwardFlow", "flow", "png"), flow)
        motion = np.full((height, width, 3), (65535, 0, 49151), np.uint16)  # (10, -10, 5) m
        write_png16(path("forwardSceneFlow", "sceneFlow", "png"), motion)


def write_flyingthings3d(root: Path) -> Path:
    """Pairs (3, 4) and (4, 5) of train and (0, 1) of val."""
    for split, numbers in (("train", (3, 4)), ("val", (0,))):
        for number in numbers:
            _things_pair(root / split, number)
        for number in (*numbers, numbers[-1] + 1):
            image = np.full((*THINGS_SIZE, 3), (10 * number, 100, 200), np.uint8)
            write_rgb(root / split / "image_clean" / "left" / f"{number:07d}.png", image)
            write_rgb(root / split / "image_final" / "left" / f"{number:07d}.png", image // 2)
    return root


def _things_pair(split: Path, number: int) -> None:
    height, width = THINGS_SIZE
    flow = np.zeros((height, width, 2), np.float32)
    flow[..., 0], flow[..., 1] = 2.0, -1.0
    flow[0, 0] = (500.0, 0.0)
    flow[0, 1] = np.nan
    disparity = np.full((height, width), 1.0, np.float32)
    disparity[5, 0] = 0.2  # z = 43.75
    change = np.full((height, width), 0.25, np.float32)
    change[5, 1] = -1.5  # behind the later camera
    write_flo(split / "flow" / "left" / "into_future" / f"{number:07d}.flo", flow)
    write_pfm(split / "disparity" / "left" / f"{number:07d}.pfm", -disparity)
    write_pfm(split / "disparity_change" / "left" / "into_future" / f"{number:07d}.pfm", -change)


def write_flyingchairs(root: Path) -> Path:
    """Pairs 1 and 3 train, pair 2 val."""
    for number in (1, 2, 3):
        flow = np.zeros((*CHAIRS_SIZE, 2), np.float32)
        flow[..., 0], flow[..., 1] = number, -0.5
        flow[0, 0] = np.nan
        image = np.full((*CHAIRS_SIZE, 3), (number, 2, 3), np.uint8)
        write_flo(root / "data" / f"{number:05d}_flow.flo", flow)
        write_rgb(root / "data" / f"{number:05d}_img1.ppm", image)
        write_rgb(root / "data" / f"{number:05d}_img2.ppm", image + 100)
    (root / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n")
    return root


def write_all(root: Path) -> Path:
    """A data folder with all four."""
    write_hypersim(root / "hypersim")
    write_vkitti2(root / "vkitti2")
    write_flyingthings3d(root / "FlyingThings3D_subset")
    write_flyingchairs(root / "FlyingChairs_release")
    return root
