"""Ways to spoil the good datasets, each with what the doctor must say of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from stablemtl.data.exr import read_exr, write_exr
from stablemtl.data.formats import (
    read_flo,
    read_hdf5,
    read_npy,
    read_pfm,
    read_png16,
    read_rgb,
    write_flo,
    write_hdf5,
    write_npy,
    write_pfm,
    write_png16,
    write_rgb,
)
from stablemtl.data.hypersim import planar_depth


class Fault(NamedTuple):
    plant: Callable[[Path], None]  # called with the data folder
    severity: str
    check: str
    dataset: str
    split: str
    words: str  # in the message or an example


def edit(read, write, change) -> Callable[[Path], None]:
    """Reads a file, changes the array, writes it back."""
    return lambda path: write(path, change(read(path)))


def everywhere(pattern: str, spoil: Callable[[Path], None], *, at_least: int = 1) -> Callable[[Path], None]:
    """Spoils all files of a pattern."""

    def plant(root: Path) -> None:
        paths = sorted(root.glob(pattern))
        assert len(paths) >= at_least, pattern
        for path in paths:
            spoil(path)

    return plant


def hdf5(change) -> Callable[[Path], None]:
    return edit(read_hdf5, write_hdf5, change)


def png16(change) -> Callable[[Path], None]:
    return edit(read_png16, write_png16, lambda image: change(image).astype(np.uint16))


def rgb(change) -> Callable[[Path], None]:
    return edit(read_rgb, write_rgb, change)


def flo(change) -> Callable[[Path], None]:
    return edit(read_flo, write_flo, change)


def npy(change) -> Callable[[Path], None]:
    return edit(read_npy, write_npy, change)


def pfm(change) -> Callable[[Path], None]:
    return edit(read_pfm, write_pfm, change)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def set_patch(value: float):
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[10:20, 10:20] = value
        return array

    return change


def replace_text(path: str, old: str, new: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    return plant


def wrap(depth: np.ndarray) -> np.ndarray:
    """Depth of a larger scene, with the sky as it was."""
    return np.where(depth == 65535, 65535, (depth.astype(int) * 60) % 65536)


def train_ids(labels: np.ndarray) -> np.ndarray:
    """Cityscapes' other numbering."""
    numbers = np.full(256, 255, np.uint8)
    numbers[[7, 8, 11, 21, 23]] = (0, 1, 2, 8, 10)
    return numbers[labels]


def kitti_flow_of_64(code: np.ndarray) -> np.ndarray:
    """Stored as 2^15 + u in place of 2^15 + 64 u."""
    flow = 32768 + np.round((code[..., :2].astype(float) - 32768) / 64)
    return np.dstack([flow, code[..., 2]])


def repeat_a_line(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[0]]) + "\n")


FRAMES = "{}/images/scene_cam_00_{}_hdf5/frame.{}.{}.hdf5"
CSV = "hypersim/metadata_images_split_scene_v1.csv"
TEST = "hypersim/" + FRAMES.format("ai_002_001", "geometry", "*", "depth_meters")
TRAIN_NORMALS = "hypersim/" + FRAMES.format("ai_001_00*", "geometry", "*", "normal_cam")
KITTI = "vkitti2/{}/clone/frames/{}/Camera_0/*.png"
FLO = "FlyingThings3D_subset/{}/flow/left/into_future/*.flo"
CHAIRS = "FlyingChairs_release/data/"
ONE_CHAIR = CHAIRS + "00002_"

TWELVE: dict[str, Fault] = {
    "planar depth for distance": Fault(
        everywhere(TEST, hdf5(lambda a: planar_depth(a).astype(np.float16)), at_least=2),
        *("error", "depth-kind", "hypersim", "test", "looks to hold planar depth"),
    ),
    "normals in other axes": Fault(
        everywhere(TRAIN_NORMALS, hdf5(lambda a: a * np.float16([1, -1, 1])), at_least=4),
        *("error", "normal-convention", "hypersim", "train", "looks to have y flipped"),
    ),
    "a frame listed twice": Fault(
        replace_text(
            CSV, "ai_001_001,cam_00,1,True,,train", "\n".join(["ai_001_001,cam_00,1,True,,train"] * 2)
        ),
        *("warning", "index", "hypersim", "train", "lists frames more than once"),
    ),
    "albedo of 0 to 255": Fault(
        everywhere(
            "hypersim/" + FRAMES.format("ai_001_002", "final", "0001", "diffuse_reflectance"),
            hdf5(lambda a: a * np.float16(255)),
        ),
        *("error", "albedo-range", "hypersim", "train", "ai_001_002/cam_00/0001"),
    ),
    "class colours in BGR": Fault(
        everywhere(
            KITTI.format("Scene01", "classSegmentation"), rgb(lambda a: a[..., ::-1].copy()), at_least=3
        ),
        *("error", "class-colours", "vkitti2", "test", "red and blue swapped"),
    ),
    "scene flow of the opposite sign": Fault(
        everywhere(KITTI.format("Scene*[02]", "forwardSceneFlow"), png16(lambda a: 65535 - a), at_least=4),
        *("error", "scene-flow", "vkitti2", "train", "looks of the opposite sign"),
    ),
    "depth beyond 16 bits": Fault(
        everywhere("vkitti2/Scene01/clone/frames/depth/Camera_0/depth_00001.png", png16(wrap)),
        *("error", "depth-overflow", "vkitti2", "test", "16 bits of centimetres overflowed"),
    ),
    "a missing label": Fault(
        everywhere("vkitti2/Scene20/clone/frames/classSegmentation/Camera_0/classgt_00002.png", Path.unlink),
        *("error", "missing-file", "vkitti2", "train", "Scene20/clone/frames/classSegmentation"),
    ),
    "disparity not negated": Fault(
        everywhere("FlyingThings3D_subset/val/disparity/left/*.pfm", pfm(lambda a: -a), at_least=2),
        *("error", "disparity-sign", "flyingthings3d", "val", "must not be positive"),
    ),
    "a frame of another size": Fault(
        everywhere(
            "FlyingThings3D_subset/train/image_clean/left/0000003.png", rgb(lambda a: cv2.resize(a, (32, 24)))
        ),
        *("error", "size", "flyingthings3d", "train", "image of the next frame 24x32"),
    ),
    "flow with u and v swapped": Fault(
        everywhere(CHAIRS + "0000[1-4]_flow.flo", flo(lambda a: a[..., ::-1].copy()), at_least=4),
        *("error", "flow-convention", "flyingchairs", "train", "to have u and v swapped"),
    ),
    "a file cut off": Fault(
        everywhere(CHAIRS + "00006_img2.ppm", cut),
        *("error", "unreadable", "flyingchairs", "val", "data/00006_img2.ppm"),
    ),
}
"""Planted together, each must be named, and nothing else."""

OTHERS: dict[str, Fault] = {
    "normals not of unit length": Fault(
        everywhere(TRAIN_NORMALS.replace("*.normal", "0001.normal"), hdf5(lambda a: a / np.float16(2))),
        *("error", "normal-length", "hypersim", "train", "median 0.5"),
    ),
    "normals with x and z swapped": Fault(
        everywhere(TRAIN_NORMALS, hdf5(lambda a: a[..., ::-1].copy()), at_least=4),
        *("error", "normal-convention", "hypersim", "train", "to be right as"),
    ),
    "distance in millimetres": Fault(
        everywhere(TEST, hdf5(lambda a: a.astype(np.float32) * 1000), at_least=2),
        *("error", "depth-unit", "hypersim", "test", "larger than the distance"),
    ),
    "a frame in two splits": Fault(
        replace_text(
            CSV,
            "ai_002_001,cam_00,0,True,,test",
            "ai_002_001,cam_00,0,True,,test\nai_002_001,cam_00,0,True,,val",
        ),
        *("error", "index", "hypersim", "", "more than one split"),
    ),
    "a split file that cannot be read": Fault(
        replace_text(CSV, "ai_001_001,cam_00,1,", "ai_001_001,cam_00,one,"),
        *("error", "index", "hypersim", "train", "the dataset cannot be opened"),
    ),
    "no split file": Fault(
        everywhere(CSV, Path.unlink),
        *("error", "missing-file", "hypersim", "train, val, test", "no metadata_images_split_scene_v1.csv"),
    ),
    "a missing scene": Fault(
        everywhere("hypersim/ai_001_002", shutil.rmtree),
        *("error", "missing-file", "hypersim", "train", "1 of 2 scenes of the split have no folder"),
    ),
    "no surface anywhere": Fault(
        everywhere(TEST.replace("depth_meters", "render_entity_id"), hdf5(lambda a: a * 0 - 1), at_least=2),
        *("error", "all-invalid", "hypersim", "test", "has no valid pixel in 2 of 2 frames"),
    ),
    "NaN in a raw label": Fault(
        everywhere(
            "hypersim/" + FRAMES.format("ai_001_001", "geometry", "0000", "depth_meters"),
            hdf5(set_patch(np.nan)),
        ),
        *("warning", "not-finite", "hypersim", "train", "depth_meters holds NaN"),
    ),
    "no camera positions": Fault(
        everywhere("hypersim/ai_002_001/_detail", shutil.rmtree),
        *("error", "missing-file", "hypersim", "test", "no camera position"),
    ),
    "a black picture": Fault(
        everywhere(
            "hypersim/" + FRAMES.format("ai_002_001", "final", "0000", "color"), hdf5(lambda a: a * 0)
        ),
        *("warning", "blank-image", "hypersim", "test", "ai_002_001/cam_00/0000"),
    ),
    "depth in millimetres": Fault(
        everywhere(
            KITTI.format("Scene01", "depth"),
            png16(lambda a: np.minimum(a.astype(int) * 10, 65535)),
            at_least=3,
        ),
        *("error", "depth-unit", "vkitti2", "test", "depth is not in metres"),
    ),
    "scene flow of a hundredth": Fault(
        everywhere(
            KITTI.format("Scene*[02]", "forwardSceneFlow"),
            png16(lambda a: 32767.5 + (a - 32767.5) / 10),
            at_least=4,
        ),
        *("error", "scene-flow", "vkitti2", "train", "10 times too small"),
    ),
    "scene flow with y up": Fault(
        everywhere(
            KITTI.format("Scene01", "forwardSceneFlow"),
            png16(lambda a: np.dstack([a[..., 0], 65535 - a[..., 1], a[..., 2]])),
            at_least=2,
        ),
        *("error", "scene-flow", "vkitti2", "test", "to have y flipped"),
    ),
    "scene flow of nothing": Fault(
        everywhere(
            KITTI.format("Scene01", "forwardSceneFlow"),
            png16(lambda a: 65535 - a[::-1, ::-1] // 7),
            at_least=2,
        ),
        *("warning", "scene-flow", "vkitti2", "test", "does not fit"),
    ),
    "flow valid nowhere": Fault(
        everywhere(KITTI.format("Scene02", "forwardFlow"), png16(lambda a: a * 0), at_least=2),
        *("warning", "all-invalid", "vkitti2", "train", "has no valid pixel in 2 of 4 frames"),
    ),
    "a single colour of no class": Fault(
        everywhere(
            KITTI.format("Scene01", "classSegmentation").replace("*.png", "*1.png"), rgb(set_patch(7))
        ),
        *("error", "class-colours", "vkitti2", "test", "such as (7, 7, 7)"),
    ),
    "an image that is missing": Fault(
        everywhere("vkitti2/Scene02/clone/frames/rgb/Camera_0/rgb_00002.jpg", Path.unlink),
        *("warning", "without-label", "vkitti2", "train", "labels without an image"),
    ),
    "8-bit depth": Fault(
        everywhere(
            "vkitti2/Scene02/clone/frames/depth/Camera_0/depth_00001.png",
            edit(read_png16, write_rgb, lambda a: (a // 256).astype(np.uint8)),
        ),
        *("error", "unreadable", "vkitti2", "train", "must hold 16 bits per channel"),
    ),
    "disparity change of the opposite sign": Fault(
        everywhere(
            "FlyingThings3D_subset/train/disparity_change/left/into_future/*.pfm",
            pfm(lambda a: -a),
            at_least=4,
        ),
        *("error", "disparity-change", "flyingthings3d", "train", "looks negated"),
    ),
    "disparity change of zero": Fault(
        everywhere(
            "FlyingThings3D_subset/val/disparity_change/left/into_future/*.pfm",
            pfm(lambda a: 0 * a),
            at_least=2,
        ),
        *("warning", "disparity-change", "flyingthings3d", "val", "zero everywhere"),
    ),
    "depth in steps of 1/256 m": Fault(
        everywhere(
            KITTI.format("Scene01", "depth"),
            png16(lambda a: np.minimum(a.astype(int) * 2.56, 65535)),
            at_least=3,
        ),
        *("error", "scene-flow", "vkitti2", "test", "1/256 m read as cm"),
    ),
    "a missing flow": Fault(
        everywhere("FlyingThings3D_subset/train/flow/left/into_future/0000004.flo", Path.unlink),
        *("warning", "without-label", "flyingthings3d", "train", "train/image_clean/left/0000004.png"),
    ),
    "one flow of the opposite sign": Fault(
        everywhere(ONE_CHAIR + "flow.flo", flo(lambda a: -a)),
        *(
            "error",
            "flow-convention",
            "flyingchairs",
            "train",
            "in 1 of 4 frames that can be judged looks negated",
        ),
    ),
    "flow with v up": Fault(
        everywhere(FLO.format("train"), flo(lambda a: a * [1, -1]), at_least=4),
        *("error", "flow-convention", "flyingthings3d", "train", "to have v flipped"),
    ),
    "flow as in KITTI files": Fault(
        everywhere(CHAIRS + "*.flo", flo(lambda a: a * 64), at_least=6),
        *("error", "flow-convention", "flyingchairs", "train", "64 times too large"),
    ),
    "flow / 64": Fault(
        everywhere(CHAIRS + "*.flo", flo(lambda a: a / 64), at_least=6),
        *("error", "flow-convention", "flyingchairs", "val", "64 times too small"),
    ),
    "flow in widths": Fault(
        everywhere(CHAIRS + "*.flo", flo(lambda a: a / [64, 48]), at_least=6),
        *("error", "flow-convention", "flyingchairs", "val", "divided by the size of the frame"),
    ),
    "flow of other pairs": Fault(
        everywhere(CHAIRS + "*.flo", flo(lambda a: np.roll(a, 24, 0)[:, ::-1] * [-2.1, 1.3]), at_least=6),
        *("error", "flow-convention", "flyingchairs", "train", ""),
    ),
    "the same frame twice": Fault(
        lambda root: shutil.copy(root / (ONE_CHAIR + "img1.ppm"), root / (ONE_CHAIR + "img2.ppm")),
        *("error", "same-frames", "flyingchairs", "train", "00002"),
    ),
    "NaN in a flow": Fault(
        everywhere(ONE_CHAIR + "flow.flo", flo(set_patch(np.nan))),
        *("warning", "not-finite", "flyingchairs", "train", "flow holds NaN"),
    ),
    "a pair that is not listed": Fault(
        replace_text("FlyingChairs_release/FlyingChairs_train_val.txt", "1\n1\n1\n1\n", "1\n0\n1\n1\n"),
        *("warning", "without-label", "flyingchairs", "", "00002_flow.flo"),
    ),
    "an empty file": Fault(
        everywhere(ONE_CHAIR + "img1.ppm", lambda path: path.write_bytes(b"")),
        *("error", "unreadable", "flyingchairs", "train", "00002_img1.ppm"),
    ),
    "a mark that is none": Fault(
        replace_text("FlyingChairs_release/FlyingChairs_train_val.txt", "1", "x"),
        *("error", "index", "flyingchairs", "train, val", "every line must be 1 (train), 2 (val)"),
    ),
    "train ids for label ids": Fault(
        everywhere("cityscapes/gtFine/val/box/*.png", edit(read_rgb, write_rgb, train_ids), at_least=3),
        *("error", "class-ids", "cityscapes", "val", "these look like train ids"),
    ),
    "train ids with a void": Fault(
        everywhere(
            "cityscapes/gtFine/val/box/*.png", rgb(lambda a: set_patch(255)(train_ids(a))), at_least=3
        ),
        *("error", "class-ids", "cityscapes", "val", "label ids must be 0 to 33; these look like train ids"),
    ),
    "coloured labels": Fault(
        everywhere("cityscapes/gtFine/val/box/*.png", rgb(lambda a: a * np.uint8([1, 2, 3])), at_least=3),
        *("error", "class-ids", "cityscapes", "val", "must be grey"),
    ),
    "no label": Fault(
        everywhere("cityscapes/gtFine/val/box/box_000001*.png", Path.unlink),
        *(
            "error",
            "missing-file",
            "cityscapes",
            "val",
            "gtFine/val/box/box_000001_000019_gtFine_labelIds.png",
        ),
    ),
    "KITTI depth in millimetres": Fault(
        everywhere("kitti_depth/*/proj_depth/*/*/*.png", png16(lambda a: a * (1000 / 256)), at_least=3),
        *("error", "depth-unit", "kitti_depth", "test", "the camera's height above the road"),
    ),
    "a KITTI frame listed twice": Fault(
        lambda root: repeat_a_line(root / "kitti_depth" / "eigen_test_files_with_gt.txt"),
        *("warning", "index", "kitti_depth", "test", "lists frames more than once"),
    ),
    "KITTI flow without its codes": Fault(
        everywhere("kitti_flow_2015/training/flow_occ/*.png", png16(kitti_flow_of_64), at_least=3),
        *("error", "flow-convention", "kitti_flow", "training", "64 times too small"),
    ),
    "disparity in whole pixels": Fault(
        everywhere(
            "kitti_flow_2015/training/disp_occ_*/*.png", png16(lambda a: (a + 255) // 256), at_least=6
        ),
        *("error", "depth-unit", "kitti_flow", "training", "the camera's height above the road"),
    ),
    "a broken calibration": Fault(
        everywhere(
            "kitti_flow_2015/training/calib_cam_to_cam/000001.txt", lambda path: path.write_text("P: 1")
        ),
        *("error", "unreadable", "kitti_flow", "training", "calib_cam_to_cam/000001.txt"),
    ),
    "DIODE normals in OpenCV's axes": Fault(
        everywhere("diode/val/*/*/*/*_normal.npy", npy(lambda a: a * np.float32([1, -1, -1])), at_least=2),
        *(
            "error",
            "normal-convention",
            "diode",
            "val",
            "to have y and z flipped (OpenGL's axes for OpenCV's",
        ),
    ),
    "DIODE without a frame's normals": Fault(
        everywhere("diode/val/*/*/scan_00001/*_normal.npy", Path.unlink),
        *("warning", "without-label", "diode", "val", "frames without normals"),
    ),
    "DIODE without normals": Fault(
        everywhere("diode/val/*/*/*/*_normal.npy", Path.unlink, at_least=2),
        *("warning", "without-label", "diode", "val", "val_normals.tar.gz"),
    ),
    "measured depth of zero": Fault(
        everywhere("diode/val/*/*/scan_00001/*_depth.npy", npy(set_patch(0))),
        *("warning", "depth-range", "diode", "val", "0 or negative where the mask says"),
    ),
    "a mask of another size": Fault(
        everywhere("diode/val/*/*/scan_00001/*_mask.npy", npy(lambda a: a[:-1])),
        *("error", "size", "diode", "val", "depth_mask 47x64"),
    ),
    "an albedo above 1": Fault(
        everywhere("midintrinsics/test/everett_box/albedo.exr", edit(read_exr, write_exr, lambda a: 3 * a)),
        *("error", "albedo-range", "midintrinsics", "test", "albedo.exr must be in [0, 1]"),
    ),
}
"""Each is named alone."""
