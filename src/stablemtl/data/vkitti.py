"""Virtual KITTI 2: rendered streets with depth, normals, classes, optical flow and scene flow.

Source: Cabon et al., arXiv 2001.10773, version 2.0.3. Read as downloaded (one archive per kind)::

    <scene>/<variation>/intrinsic.txt
    <scene>/<variation>/frames/rgb/Camera_0/rgb_00000.jpg
    .../frames/depth/Camera_0/depth_00000.png                          uint16 cm, sky 65535
    .../frames/classSegmentation/Camera_0/classgt_00000.png            RGB
    .../frames/forwardFlow/Camera_0/flow_00000.png                     uint16 RGB, blue 0 = invalid
    .../frames/forwardSceneFlow/Camera_0/sceneFlow_00000.png           uint16 RGB

H, W: height and width of the frame, official (375, 1242) or not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import read_png16, read_rgb
from stablemtl.data.normals_from_depth import normals_from_depth
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, Mask
from stablemtl.data.sample import IGNORE_CLASS, Sample, require_file, sorted_names

TRAIN_SCENES = ("Scene02", "Scene06", "Scene18", "Scene20")
TEST_SCENES = ("Scene01",)
VARIATIONS = ("clone", "morning", "overcast", "sunset", "15-deg-left", "15-deg-right")
CAMERAS = ("Camera_0", "Camera_1")
FLOWS = ("optical_flow", "scene_flow")

OFFICIAL_FOCAL_PX, OFFICIAL_WIDTH_PX = 725.0087, 1242
MIN_DEPTH_M, MAX_DEPTH_M = 1e-5, 80.0
SCENE_FLOW_RANGE_M = 10.0

CLASS_COLOURS: dict[str, tuple[int, int, int]] = {
    "Terrain": (210, 0, 200),
    "Sky": (90, 200, 255),
    "Tree": (0, 199, 0),
    "Vegetation": (90, 240, 0),
    "Building": (140, 140, 140),
    "Road": (100, 60, 100),
    "GuardRail": (250, 100, 255),
    "TrafficSign": (255, 255, 0),
    "TrafficLight": (200, 200, 0),
    "Pole": (255, 130, 0),
    "Misc": (80, 80, 80),
    "Truck": (160, 60, 60),
    "Car": (255, 127, 80),
    "Van": (0, 139, 139),
}
"""RGB of the classes in ``classgt`` images."""

CLASS_IDS: dict[str, int] = {
    "Road": 0,
    "Building": 1,
    "Pole": 2,
    "TrafficLight": 3,
    "TrafficSign": 4,
    "Tree": 5,
    "Vegetation": 5,
    "Sky": 6,
    "Truck": 7,
    "Car": 7,
    "Van": 7,
}
"""Class ids shared with Cityscapes (DenseMTL, Lopes et al., WACV 2023); classes not named are ignored."""


class Frame(NamedTuple):
    """Where a frame lies, and whether the sequence goes on after it."""

    scene: str
    variation: str
    camera: str
    number: int
    has_next: bool


class VirtualKITTI2(DatasetReader[Frame]):
    """Frames of Virtual KITTI 2 with the labels of five tasks.

    Depth is planar z [m], valid up to 80 m; flow is in pixels of the source frame; scene flow [m] is the
    movement of a point between the two cameras' own frames, and valid where the flow is. The release has no
    normals: they are computed from depth at full resolution by D2NT (``normals_from_depth``). Labels are zero
    where not valid; class ids are then 250.

    Scenes, variations, cameras: those of the release that are present; a partial download works.

    Args:
        root: folder that holds ``Scene01``, ``Scene02``, ...
        split: ``train`` (scenes 02, 06, 18, 20) or ``test`` (scene 01).
        variations: to read, in this order; fog, rain and the 30-degree views are left out as in StableMTL.
        pixel_origin: number of the first pixel in the computation of normals. 0 is exact; StableMTL's labels
            were made with 1, which tilts them by 1/f rad (0.08 degrees at full size, more on small frames).
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no frame of the split's scenes under ``root``.
        ValueError: unknown split.
    """

    name = "vkitti2"
    tasks = ("semantic", "normal", "depth", "optical_flow", "scene_flow")
    splits = ("train", "test")

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        variations: Sequence[str] = VARIATIONS,
        pixel_origin: int = 0,
    ) -> None:
        super().__init__(root, split)
        self.pixel_origin = pixel_origin
        scenes = TRAIN_SCENES if split == "train" else TEST_SCENES
        self.frames = [
            frame
            for scene in scenes
            for variation in variations
            for camera in CAMERAS
            for frame in self._list(scene, variation, camera)
        ]
        self.require_frames(f"{{{','.join(scenes)}}}/*/frames/rgb/Camera_*/rgb_*.jpg in {self.root}")
        self._with_next = [index for index, frame in enumerate(self.frames) if frame.has_next]
        self._intrinsics: dict[Path, dict[tuple[int, int], tuple[float, float, float, float]]] = {}

    def indices(self, task: str) -> Sequence[int]:
        """All frames; for the flows, those that are followed by another one."""
        return self._with_next if task in FLOWS else super().indices(task)

    def load(self, index: int, task: str) -> Sample:
        """One frame, or pair of frames for the flows, with one label; see the class.

        Raises:
            ValueError: no such task here, or a flow is asked for the last frame of a sequence.
            FileNotFoundError: a file of the frame is missing.
        """
        if task in FLOWS and not self.frames[index].has_next:
            raise ValueError(f"vkitti2 frame {index} ends its sequence: it has no {task}; use indices().")
        return super().load(index, task)

    def read_frame(self, frame: Frame, task: str) -> LabelledFrame:
        """The files of a frame, and of the next one for the flows; see ``load``."""
        image_next = None
        if task in FLOWS:
            image_next = read_rgb(self._path(frame._replace(number=frame.number + 1), "rgb"))
        label, valid = {
            "semantic": self._semantic,
            "normal": self._normal,
            "depth": self._depth,
            "optical_flow": self._optical_flow,
            "scene_flow": self._scene_flow,
        }[task](frame)
        return LabelledFrame(
            image=read_rgb(self._path(frame, "rgb")),
            image_next=image_next,
            label=label,
            valid=valid,
            key=f"{frame.scene}/{frame.variation}/{frame.camera}/{frame.number:05d}",
        )

    def _semantic(self, frame: Frame) -> tuple[Floats, Mask]:
        classes = class_ids(read_rgb(self._path(frame, "classSegmentation")))
        return classes, classes != IGNORE_CLASS

    def _depth(self, frame: Frame) -> tuple[Floats, Mask]:
        depth = read_png16(self._path(frame, "depth")) / np.float32(100.0)
        valid = (depth > MIN_DEPTH_M) & (depth < MAX_DEPTH_M)
        return np.where(valid, depth, np.float32(0.0)), valid

    def _normal(self, frame: Frame) -> tuple[Floats, Mask]:
        depth = read_png16(self._path(frame, "depth")) / 100.0
        fx, fy, u0, v0 = self.intrinsics(frame, (depth.shape[0], depth.shape[1]))
        normals = normals_from_depth(
            depth, focal_px=(fx, fy), center_px=(u0, v0), pixel_origin=self.pixel_origin
        )
        valid = (depth > MIN_DEPTH_M) & (depth < MAX_DEPTH_M)
        return np.where(valid[..., None], normals, np.float32(0.0)), valid

    def _optical_flow(self, frame: Frame) -> tuple[Floats, Mask]:
        return decode_flow(read_png16(self._path(frame, "forwardFlow")))

    def _scene_flow(self, frame: Frame) -> tuple[Floats, Mask]:
        valid = read_png16(self._path(frame, "forwardFlow"))[..., 2] > 0
        motion = decode_scene_flow(read_png16(self._path(frame, "forwardSceneFlow")))
        return np.where(valid[..., None], motion, np.float32(0.0)), valid

    def intrinsics(self, frame: Frame, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """fx, fy, u0, v0 [px] of a frame of ``size`` (height, width).

        From ``intrinsic.txt`` where there is one, else a focal length of 725.0087 px at a width of 1242, in
        proportion, and the middle of the frame.
        """
        path = self.root / frame.scene / frame.variation / "intrinsic.txt"
        if path not in self._intrinsics:
            self._intrinsics[path] = read_intrinsics(path) if path.is_file() else {}
        key = (frame.number, int(frame.camera[-1]))
        if key in self._intrinsics[path]:
            return self._intrinsics[path][key]
        if self._intrinsics[path]:
            raise ValueError(f"{path} has no row for frame {key[0]}, camera {key[1]}.")
        height, width = size
        focal = OFFICIAL_FOCAL_PX * width / OFFICIAL_WIDTH_PX
        return focal, focal, (width - 1) / 2, (height - 1) / 2

    def _list(self, scene: str, variation: str, camera: str) -> list[Frame]:
        folder = self.root / scene / variation / "frames" / "rgb" / camera
        numbers = [int(name[len("rgb_") : -len(".jpg")]) for name in sorted_names(folder.glob("rgb_*.jpg"))]
        present = set(numbers)
        return [Frame(scene, variation, camera, number, number + 1 in present) for number in numbers]

    def _path(self, frame: Frame, kind: str) -> Path:
        stem, suffix = _FILES[kind]
        folder = self.root / frame.scene / frame.variation / "frames" / kind / frame.camera
        return require_file(folder / f"{stem}_{frame.number:05d}.{suffix}", self.name, self.split)


_FILES = {
    "rgb": ("rgb", "jpg"),
    "depth": ("depth", "png"),
    "classSegmentation": ("classgt", "png"),
    "forwardFlow": ("flow", "png"),
    "forwardSceneFlow": ("sceneFlow", "png"),
}


def class_ids(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Colours of a ``classgt`` image (H, W, 3) to class ids 0-7 (H, W); 250 for other classes and colours."""
    ids = np.full(colours.shape[:2], IGNORE_CLASS, np.int64)
    packed = _pack(colours)
    for name, number in CLASS_IDS.items():
        ids[packed == _pack(np.array(CLASS_COLOURS[name]))] = number
    return ids


def decode_flow(image: NDArray[np.uint16]) -> tuple[Floats, Mask]:
    """uint16 RGB (H, W, 3) to optical flow [px] (H, W, 2), zero where not valid, and validity (H, W).

    u = (2 R / 65535 - 1)(W - 1), v = (2 G / 65535 - 1)(H - 1), valid where B is not 0.
    """
    height, width = image.shape[:2]
    valid = image[..., 2] > 0
    flow = (image[..., :2] * (2.0 / 65535.0) - 1.0) * np.array([width - 1, height - 1])
    return np.where(valid[..., None], flow, 0.0).astype(np.float32), valid


def decode_scene_flow(image: NDArray[np.uint16]) -> Floats:
    """uint16 RGB (H, W, 3) to motion [m] (H, W, 3) in OpenCV axes: (2 RGB / 65535 - 1) * 10."""
    return ((image * (2.0 / 65535.0) - 1.0) * SCENE_FLOW_RANGE_M).astype(np.float32)


def read_intrinsics(path: Path) -> dict[tuple[int, int], tuple[float, float, float, float]]:
    """``intrinsic.txt``: (frame, camera) to (fx, fy, u0, v0) [px].

    Columns, after a header line: frame, cameraID, K[0,0], K[1,1], K[0,2], K[1,2].
    """
    rows: dict[tuple[int, int], tuple[float, float, float, float]] = {}
    for line in path.read_text().splitlines()[1:]:
        if not line.strip():
            continue
        try:
            frame, camera, fx, fy, u0, v0 = line.split()
            rows[int(frame), int(camera)] = (float(fx), float(fy), float(u0), float(v0))
        except ValueError as error:
            raise ValueError(
                f"{path}: a row must be 'frame cameraID fx fy u0 v0' with numbers, got {line!r}."
            ) from error
    return rows


def _pack(colours: NDArray[Any]) -> NDArray[np.int64]:
    wide = colours.astype(np.int64)
    return wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2]
