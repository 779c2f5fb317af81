"""KITTI scene flow 2015: real driving, pairs of frames with optical flow and two disparity maps.

Source: Menze and Geiger, CVPR 2015, doi:10.1109/CVPR.2015.7298925. Read as downloaded, with the calibration
files, which are an archive of their own (``data_scene_flow_calib.zip``)::

    training/image_2/000000_10.png   training/image_2/000000_11.png
    training/flow_occ/000000_10.png                                         px
    training/disp_occ_0/000000_10.png   training/disp_occ_1/000000_10.png   px, of frames i and i + 1
    training/calib_cam_to_cam/000000.txt                                    P_rect_02: left colour camera

Ground truth of all pixels ("occ"), those that leave the frame included. H, W: size of the frame (official
ones differ: 370 to 376 by 1224 to 1242).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from stablemtl.data.formats import read_kitti_flow, read_kitti_map, read_rgb
from stablemtl.data.kitti_depth import benchmark_crop
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, check_option, first_folder
from stablemtl.data.sample import sorted_names

BASELINE_M = 0.54
MATRIX = "P_rect_02"
_FOLDERS = ("training", "", "flow_2015/training")
_FRAMES = "[0-9]" * 6 + "_10.png"


class KittiFlow(DatasetReader[int]):
    """Pairs of frames of KITTI 2015 with optical flow or scene flow.

    Flow is in pixels of the full-size frame. Scene flow [m] is the movement of a point between the two
    cameras' own frames (x right, y down, z forward), from the flow and the two disparities; it is valid where
    all three were measured. Labels are zero where not valid.

    Args:
        root: folder that holds ``training``, or ``flow_2015/training``, or is that folder.
        split: ``training``, the only one with ground truth.
        crop: ``benchmark`` cuts frames and labels to the 352x1216 at the bottom centre, as StableMTL's
            evaluation does; ``None`` keeps the whole frame.
        flow_mask: pixels that count for optical flow. ``flow``: where it was measured. ``three_way``: where
            both disparities were measured as well; the published EPE-2D was computed on these.
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no first frame of a pair.
        ValueError: unknown split, crop or mask.
    """

    name = "kitti_flow"
    tasks = ("optical_flow", "scene_flow")
    splits = ("training",)

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "training",
        *,
        crop: Literal["benchmark"] | None = "benchmark",
        flow_mask: Literal["flow", "three_way"] = "flow",
    ) -> None:
        check_option("crop", crop, ("benchmark", None))
        check_option("flow_mask", flow_mask, ("flow", "three_way"))
        super().__init__(root, split)
        self.crop, self.flow_mask = crop, flow_mask
        self.folder = first_folder(self.root, _FOLDERS, lambda folder: (folder / "image_2").is_dir())
        self.frames = [int(name[:6]) for name in sorted_names((self.folder / "image_2").glob(_FRAMES))]
        self.require_frames(f"image_2/*_10.png in {self.root}, its training folder or its flow_2015/training")

    def read_frame(self, frame: int, task: str) -> LabelledFrame:
        """One pair of frames with one label; see the class.

        Raises:
            ValueError: a file is damaged, or the sizes of a frame's files differ.
            FileNotFoundError: a file of the frame is missing.
        """
        image = read_rgb(self._path(frame, "image_2"))
        image_next = read_rgb(self._path(frame, "image_2", "_11.png"))
        flow, valid = read_kitti_flow(self._path(frame, "flow_occ"))
        _check_sizes(frame, image, {"second image": image_next, "flow": flow})
        label = flow
        if task == "scene_flow" or self.flow_mask == "three_way":
            disparity, known = read_kitti_map(self._path(frame, "disp_occ_0"))
            disparity_next, known_next = read_kitti_map(self._path(frame, "disp_occ_1"))
            _check_sizes(frame, image, {"first disparity": disparity, "second disparity": disparity_next})
            valid = valid & known & known_next
            if task == "scene_flow":
                focal, center = read_calibration(self._path(frame, "calib_cam_to_cam", ".txt"))
                label = scene_flow(disparity, disparity_next, flow, focal_px=focal, center_px=center)
        label = np.where(valid[..., None], label, np.float32(0.0))
        size = (image.shape[0], image.shape[1])
        part = benchmark_crop(size) if self.crop else (slice(None), slice(None))
        return LabelledFrame(
            image=image[part],
            image_next=image_next[part],
            label=label[part],
            valid=valid[part],
            key=f"{frame:06d}",
        )

    def _path(self, number: int, kind: str, ending: str = "_10.png") -> Path:
        path = self.folder / kind / f"{number:06d}{ending}"
        if not path.is_file():
            archive = "data_scene_flow_calib.zip" if kind == "calib_cam_to_cam" else "data_scene_flow.zip"
            raise FileNotFoundError(
                f"kitti_flow ({self.split} split): frame {number:06d} has no {kind}: no file {path}. "
                f'It is part of the download {archive}; see "Datasets" in the README for the layout.'
            )
        return path


def scene_flow(
    disparity: Floats,
    disparity_next: Floats,
    flow: Floats,
    *,
    focal_px: float,
    center_px: tuple[float, float],
) -> Floats:
    """Motion of the points of frame i between the two cameras' own frames [m], float32 (H, W, 3).

    z = 0.54 m * f / (disparity + 1e-5); pixel (c, r) is the point ((c - cx) z / f, (r - cy) z / f, z), and
    after the motion the point at (c + u, r + v) with the later disparity. Axes: x right, y down, z forward.

    Source: evaluation of StableMTL, with the baseline of KITTI's rig.

    Args:
        disparity: of frame i [px], shape (H, W).
        disparity_next: of the same points, in frame i + 1 [px], shape (H, W).
        flow: optical flow [px], shape (H, W, 2).
        focal_px: focal length of the left camera [px].
        center_px: its principal point (cx, cy) [px], of the uncropped frame.
    """
    height, width = disparity.shape
    x = np.arange(width)[None, :] - center_px[0]
    y = np.arange(height)[:, None] - center_px[1]
    before = _points(disparity.astype(np.float64), x, y, focal_px)
    after = _points(disparity_next.astype(np.float64), x + flow[..., 0], y + flow[..., 1], focal_px)
    return (after - before).astype(np.float32)


def read_calibration(path: Path) -> tuple[float, tuple[float, float]]:
    """Focal length and principal point (cx, cy) [px] of the left colour camera, from ``calib_cam_to_cam``.

    They are the elements (0, 0), (0, 2) and (1, 2) of the 3x4 matrix ``P_rect_02``, stored row by row.

    Raises:
        ValueError: no such line, or it does not hold 12 numbers with a focal length above 0.
    """
    for line in path.read_text(errors="replace").splitlines():
        name, _, values = line.partition(":")
        if name.strip() != MATRIX:
            continue
        try:
            matrix = np.array([float(value) for value in values.split()]).reshape(3, 4)
        except ValueError as error:
            raise ValueError(f"{path}: {MATRIX} must be 12 numbers, got {values.strip()!r}.") from error
        if not np.isfinite(matrix).all() or matrix[0, 0] <= 0:
            raise ValueError(f"{path}: {MATRIX} must start with a focal length > 0, got {values.strip()!r}.")
        return float(matrix[0, 0]), (float(matrix[0, 2]), float(matrix[1, 2]))
    raise ValueError(f"{path} has no line {MATRIX!r}: it is not a calib_cam_to_cam file of KITTI 2015.")


def _points(disparity: Floats, x: Floats, y: Floats, focal_px: float) -> Floats:
    z = BASELINE_M * focal_px / (disparity + 1e-5)
    return np.stack([x * z / focal_px, y * z / focal_px, z], axis=-1)


def _check_sizes(number: int, image: Floats, maps: dict[str, Floats]) -> None:
    height, width = image.shape[:2]
    for kind, values in maps.items():
        if values.shape[:2] != (height, width):
            raise ValueError(
                f"kitti_flow frame {number:06d}: the {kind} is {values.shape[0]}x{values.shape[1]}, "
                f"but the image is {height}x{width}. They must come from the same release."
            )
