"""KITTI depth: photographs of streets with depth accumulated from a laser scanner, to evaluate on.

Source: Uhrig et al., 3DV 2017, arXiv 1708.06500 (depth); Geiger et al., IJRR 2013,
doi:10.1177/0278364913491297 (pictures, "raw data"); Eigen et al., NeurIPS 2014, arXiv 1406.2283 (choice of
frames). Read as downloaded; the pictures may also be in ``raw``, the depth maps in ``train``, ``val`` or
``data_depth_annotated/{train,val}``::

    2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png              RGB
    2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png       uint16 m / 256, 0 = none
    eigen_test_files_with_gt.txt                                                    which frames to read

H, W: height and width of the frame, of which KITTI has several: (375, 1242), (370, 1224), ...
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import read_kitti_map, read_rgb
from stablemtl.data.reader import DatasetReader, LabelledFrame, check_option
from stablemtl.data.sample import sorted_names

FRAME_LIST = "eigen_test_files_with_gt.txt"
PICTURE_FOLDERS = (".", "raw")
DEPTH_FOLDERS = (".", "train", "val", "data_depth_annotated/train", "data_depth_annotated/val")

MIN_DEPTH_M, MAX_DEPTH_M = 1e-5, 80.0
CROP_HEIGHT, CROP_WIDTH = 352, 1216

MASK_BORDERS: dict[str, tuple[float, float, float, float]] = {
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
"""Top, bottom (of the height), left, right (of the width) of the part of a frame that is evaluated."""


class Frame(NamedTuple):
    """Where a frame lies, relative to one of ``PICTURE_FOLDERS`` and one of ``DEPTH_FOLDERS``."""

    picture: str
    depth: str


class KittiDepth(DatasetReader[Frame]):
    """Frames of KITTI with depth.

    Depth is planar z [m], zero where not valid. It is valid where it was measured, below 80 m, and within the
    mask, which is laid over the whole frame before the crop. Sizes differ between drives without the crop.

    The frames are those of the list ``eigen_test_files_with_gt.txt`` in the root (697 lines "picture depth
    focal", of which 652 have depth); without it, every depth map whose picture is there.

    Args:
        root: folder that holds the drives, as in the module's text.
        split: ``test``.
        crop: ``benchmark`` cuts picture and label to the lower middle 352 x 1216, as the official benchmark
            does. Frames that are smaller (rendered miniatures) are taken whole.
        mask: ``eigen``, ``garg`` (Garg et al., ECCV 2016), or ``None`` for the whole frame.
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no frame with depth in the list, or under ``root``.
        ValueError: unknown split, crop or mask, or a broken list.
    """

    name = "kitti_depth"
    tasks = ("depth",)
    splits = ("test",)

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "test",
        *,
        crop: Literal["benchmark"] | None = "benchmark",
        mask: Literal["eigen", "garg"] | None = "eigen",
    ) -> None:
        check_option("crop", crop, ("benchmark", None))
        check_option("mask", mask, (*MASK_BORDERS, None))
        super().__init__(root, split)
        self.crop, self.mask = crop, mask
        frame_list = self.root / FRAME_LIST
        if frame_list.is_file():
            self.frames = read_frame_list(frame_list)
            expected = f"line with depth in {frame_list}"
        else:
            self.frames = self._scan()
            expected = (
                "*/proj_depth/groundtruth/image_02/*.png with its picture 2011_*/*/image_02/data/*.png "
                f"in {self.root}"
            )
        self.require_frames(expected)

    def read_frame(self, frame: Frame, task: str) -> LabelledFrame:
        """One frame with its depth; see the class.

        Raises:
            ValueError: picture and depth differ in size.
            FileNotFoundError: a file of the frame is missing.
        """
        image = read_rgb(self._find(frame.picture, PICTURE_FOLDERS))
        path = self._find(frame.depth, DEPTH_FOLDERS)
        depth, measured = read_kitti_map(path)
        size = (image.shape[0], image.shape[1])
        if depth.shape != size:
            raise ValueError(f"{path} must have the size of its picture, {size}, got {depth.shape}.")
        valid = measured & (depth > MIN_DEPTH_M) & (depth < MAX_DEPTH_M)
        if self.mask is not None:
            valid &= eigen_mask(size, self.mask)
        part = benchmark_crop(size) if self.crop else (slice(None), slice(None))
        return LabelledFrame(
            image=image[part],
            label=np.where(valid, depth, np.float32(0.0))[part],
            valid=valid[part],
            key=str(PurePosixPath(frame.picture).with_suffix("")),
        )

    def _scan(self) -> list[Frame]:
        """Every depth map whose picture is there, by drive and then by name."""
        maps: dict[str, set[str]] = {}
        for base in DEPTH_FOLDERS:
            for folder in (self.root / base).glob("*/proj_depth/groundtruth/image_02"):
                maps.setdefault(folder.parts[-4], set()).update(sorted_names(folder.glob("*.png")))
        frames = []
        for drive in sorted(maps):
            data = f"{drive[:10]}/{drive}/image_02/data"  # a drive's name begins with its date
            pictures = {
                name for base in PICTURE_FOLDERS for name in sorted_names((self.root / base / data).glob("*"))
            }
            frames += [
                Frame(f"{data}/{name}", f"{drive}/proj_depth/groundtruth/image_02/{name}")
                for name in sorted(maps[drive] & pictures)
            ]
        return frames

    def _find(self, path: str, folders: Sequence[str]) -> Path:
        for folder in folders:
            if (self.root / folder / path).is_file():
                return self.root / folder / path
        others = ", ".join(f"{folder}/" for folder in folders[1:])
        raise FileNotFoundError(
            f"kitti_depth ({self.split} split): no file {self.root / path}, nor in {others} "
            'of the same folder. The download is not complete; see "Datasets" in the README for the layout.'
        )


def read_frame_list(path: Path) -> list[Frame]:
    """Lines "picture depth focal" to frames, in their order, without those whose depth is ``None``.

    Raises:
        ValueError: a line has not three fields.
    """
    frames = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3:
            raise ValueError(f"{path}: a line must be 'picture depth focal', got {line!r}.")
        if fields[1] != "None":
            frames.append(Frame(fields[0], fields[1]))
    return frames


def crop_offsets(size: tuple[int, int]) -> tuple[int, int]:
    """Top and left [px] of the benchmark's crop in a frame of ``size``; (0, 0) in one smaller than the crop.

    >>> crop_offsets((375, 1242))
    (23, 13)
    """
    height, width = size
    if height < CROP_HEIGHT or width < CROP_WIDTH:
        return 0, 0
    return height - CROP_HEIGHT, (width - CROP_WIDTH) // 2


def benchmark_crop(size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the official benchmark's crop: 352 x 1216 at the bottom, in the middle.

    A frame of ``size`` (height, width) that is smaller in either direction is taken whole.
    """
    height, width = size
    if height < CROP_HEIGHT or width < CROP_WIDTH:
        return slice(0, height), slice(0, width)
    top, left = crop_offsets(size)
    return slice(top, top + CROP_HEIGHT), slice(left, left + CROP_WIDTH)


def eigen_mask(size: tuple[int, int], kind: Literal["eigen", "garg"] = "eigen") -> NDArray[np.bool_]:
    """The part of an uncropped frame of ``size`` that is evaluated, (H, W); its borders are rounded down.

    Source: Eigen et al. (2014) and Garg et al. (2016), in the numbers that later work shares.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in MASK_BORDERS:
        raise ValueError(f"unknown mask {kind!r}; choose from {', '.join(MASK_BORDERS)}.")
    height, width = size
    top, bottom, left, right = MASK_BORDERS[kind]
    inside = np.zeros(size, np.bool_)
    inside[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
    return inside
