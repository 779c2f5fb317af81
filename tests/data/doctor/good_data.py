"""The nine public datasets, small and without a fault: views of a textured box, with labels in closed form.

The box is convex and the camera is inside: of its six planes n . P = d, with n away from the camera, a ray r
meets the one with the smallest d / (n . r) first. Camera axes are OpenCV's and never turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from stablemtl.data.doctor.geometry import FOCAL_PER_WIDTH, rays
from stablemtl.data.kitti_flow import BASELINE_M
from stablemtl.data.vkitti import CLASS_COLOURS
from stablemtl.synth.layouts.cityscapes import write_cityscapes
from stablemtl.synth.layouts.diode import write_diode
from stablemtl.synth.layouts.flyingchairs import write_chairs_pair, write_chairs_split
from stablemtl.synth.layouts.flyingthings3d import write_things_pair
from stablemtl.synth.layouts.hypersim import (
    write_hypersim_cameras,
    write_hypersim_frame,
    write_hypersim_split,
)
from stablemtl.synth.layouts.kitti_depth import write_kitti_depth, write_kitti_depth_list
from stablemtl.synth.layouts.kitti_flow import write_kitti_flow
from stablemtl.synth.layouts.midintrinsics import write_midintrinsics, write_midintrinsics_albedo
from stablemtl.synth.layouts.vkitti import write_vkitti_frame

SIZE = (48, 64)
MOVE = np.array([0.12, 0.05, 0.3])
"""Of the camera from frame to frame [m]."""


class View(NamedTuple):
    """What the camera sees. Arrays are (H, W, ...)."""

    points: np.ndarray  # in camera axes
    normal: np.ndarray  # away from the camera
    plane: np.ndarray  # number of the plane
    albedo: np.ndarray
    image: np.ndarray  # uint8


class Box:
    """A street or a room: floor, ceiling, left, right, far and near wall."""

    def __init__(self, dataset: str, *, room: bool) -> None:
        # Walls lean a little, so that no normal has two zeros.
        normals = [(0, 1, 0.05), (0, -1, 0.1), (-1, 0.05, 0), (1, 0, 0.3), (0.1, 0.05, 1), (0, 0, -1)]
        self.normals = np.array([np.array(n) / np.linalg.norm(n) for n in normals])
        reach = [1.5, 1.4, 1.6, 1.9, 5.0, 9.0] if room else [1.6, 5.0, 4.0, 5.0, 14.0, 9.0]
        self.reach = np.array(reach)
        self.focal = FOCAL_PER_WIDTH[dataset] * SIZE[1] if dataset in FOCAL_PER_WIDTH else 60.0
        self.rays = rays(SIZE, self.focal)

    def view(self, eye: np.ndarray) -> View:
        """From ``eye`` [m]; the box stays."""
        with np.errstate(divide="ignore"):
            z = (self.reach - self.normals @ eye) / (self.rays @ self.normals.T)
        z = np.where(z > 0, z, np.inf)
        plane = z.argmin(-1)
        points = self.rays * z.min(-1)[..., None]
        albedo = texture(points + eye, plane)
        image = np.uint8(np.round(255 * albedo))
        return View(points, self.normals[plane], plane, albedo, image)

    def flow(self, view: View, move: np.ndarray) -> np.ndarray:
        """Optical flow [px] when the camera moves: points move the other way."""
        later = view.points - move
        return self.focal * (later[..., :2] / later[..., 2:] - view.points[..., :2] / view.points[..., 2:])


def texture(points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Albedo in [0.1, 0.9] of points of the box: waves of 1 to 5 m in all directions, other ones on each."""
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(6, 3, 3)) * np.array([1.0, 2.0, 4.0])[:, None]  # plane, wave, axis [rad/m]
    phase = rng.uniform(0, 2 * np.pi, (6, 3, 3))  # plane, wave, colour
    angle = np.einsum("hwi,hwji->hwj", points, waves[plane])[..., None] + phase[plane]
    return 0.5 + 0.4 * np.sin(angle).mean(-2)


def write_hypersim(root: Path) -> None:
    """Two scenes of two frames for train, one of two for test."""
    box = Box("hypersim", room=True)
    rows = []
    for scene, count, split in (
        ("ai_001_001", 2, "train"),
        ("ai_001_002", 2, "train"),
        ("ai_002_001", 2, "test"),
    ):
        eyes = np.array([[0.1, 0.0, 0.2]]) + 0.15 * np.arange(count)[:, None] * MOVE / np.abs(MOVE).max()
        eyes += int(scene[-1]) * 0.1
        for number, eye in enumerate(eyes):
            view = box.view(eye)
            to_viewer = np.array([1.0, -1.0, -1.0])  # x right, y up, z to the viewer: also the world's axes
            facing = -view.normal * to_viewer
            write_hypersim_frame(
                root,
                scene,
                "cam_00",
                number,
                color=view.albedo * 0.6,
                reflectance=view.albedo,
                distance=np.linalg.norm(view.points, axis=-1),
                normal_cam=facing,
                normal_world=facing,
                position=(view.points + eye) * to_viewer,
                entity=view.plane + 1,
            )
            rows.append((scene, "cam_00", number, True, "", split))
        write_hypersim_cameras(root, scene, "cam_00", eyes * [1.0, -1.0, -1.0])
    write_hypersim_split(root, rows)


def write_vkitti2(root: Path) -> None:
    """Scene02 and Scene20 of three frames for train, Scene01 of three for test. The ceiling is sky."""
    names = ("Road", "Sky", "Building", "Tree", "Building", "Misc")
    colours = np.array([CLASS_COLOURS[name] for name in names], np.uint8)
    box = Box("vkitti2", room=False)
    for scene, count in (("Scene02", 3), ("Scene20", 3), ("Scene01", 3)):
        start = np.array([0.1 * int(scene[-2:]), 0.0, 0.0])
        for number in range(count):
            view = box.view(start + number * MOVE)
            sky = view.plane == 1
            last = number == count - 1
            write_vkitti_frame(
                root,
                scene,
                "clone",
                0,
                number,
                image=view.image,
                depth_m=np.where(sky, np.inf, view.points[..., 2]),
                classes_rgb=colours[view.plane],
                flow=None if last else box.flow(view, MOVE),
                flow_valid=None if last else ~sky,
                scene_flow=None if last else np.broadcast_to(-MOVE, view.points.shape),
            )


def write_flyingthings3d(root: Path) -> None:
    """Four pairs for train, two for val."""
    box = Box("flyingthings3d", room=True)
    for split, count in (("train", 4), ("val", 2)):
        for pair in range(count):
            eye = np.array([0.1 * pair, 0.0, 0.1 if split == "val" else 0.0])
            move = MOVE * [(-1) ** pair, 1, 1]
            view = box.view(eye)
            disparity = box.focal / view.points[..., 2]
            write_things_pair(
                root,
                split,
                2 * pair,
                image=view.image,
                image_next=box.view(eye + move).image,
                disparity=disparity,
                disparity_change=box.focal / (view.points[..., 2] - move[2]) - disparity,
                flow=box.flow(view, move),
                occluded=np.zeros(SIZE, bool),
            )


def write_flyingchairs(root: Path) -> None:
    """Six pairs: the first four for train, the others for val."""
    box = Box("flyingchairs", room=True)
    for number in range(1, 7):
        eye = np.array([0.05 * number, 0.0, 0.0])
        move = MOVE * [1, (-1) ** number, 1]
        view = box.view(eye)
        after = box.view(eye + move)
        write_chairs_pair(root, number, image=view.image, image_next=after.image, flow=box.flow(view, move))
    write_chairs_split(root, (1, 1, 1, 1, 2, 2))


def write_streets(root: Path) -> None:
    """Cityscapes, KITTI depth and KITTI flow, three frames each."""
    ids = np.array([7, 23, 11, 21, 11, 0], np.uint8)
    box = Box("kitti_flow", room=False)
    rows: list[tuple[str, str | None, float]] = []
    for number in range(3):
        eye = np.array([0.2 * number, 0.0, 0.0])
        view, sky = box.view(eye), box.view(eye).plane == 1
        image = view.image
        write_cityscapes(root / "cityscapes", "box", number, image=image, label_ids=ids[view.plane])
        depth = np.where(sky, 0, view.points[..., 2])
        paths = write_kitti_depth(
            root / "kitti_depth", "2011_01_01_drive_0000_sync", number, image=image, depth_m=depth
        )
        rows.append((*paths, box.focal))
        later = view.points[..., 2] - MOVE[2]
        write_kitti_flow(
            root / "kitti_flow_2015",
            number,
            image=image,
            image_next=box.view(eye + MOVE).image,
            flow=box.flow(view, MOVE),
            flow_valid=~sky,
            disparity=np.where(sky, 0, BASELINE_M * box.focal / view.points[..., 2]),
            disparity_next=np.where(sky, 0, BASELINE_M * box.focal / later),
            focal_px=box.focal,
            center_px=((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2),
        )
    write_kitti_depth_list(root / "kitti_depth", rows)


def write_indoors(root: Path) -> None:
    """Two frames of DIODE, and a scene of MIDIntrinsics in three lights."""
    box = Box("diode", room=True)
    for number in range(2):
        view = box.view(np.array([0.2 * number, 0.0, 0.0]))
        write_diode(
            root / "diode",
            "indoors",
            0,
            number,
            f"00000_0000{number}_indoors_000_000",
            image=view.image,
            depth_m=view.points[..., 2],
            normal=view.normal * [-1.0, 1.0, 1.0],
            valid=view.plane != 4,
        )
    for light in range(3):
        color = (0.2 + 0.3 * light) * view.albedo
        write_midintrinsics(root / "midintrinsics", "everett_box", light, color=color)
    write_midintrinsics_albedo(root / "midintrinsics", "everett_box", view.albedo)


def write_all(root: Path) -> Path:
    """A data folder with all nine."""
    write_hypersim(root / "hypersim")
    write_vkitti2(root / "vkitti2")
    write_flyingthings3d(root / "FlyingThings3D_subset")
    write_flyingchairs(root / "FlyingChairs_release")
    write_streets(root)
    write_indoors(root)
    return root
