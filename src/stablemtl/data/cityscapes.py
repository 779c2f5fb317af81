"""Cityscapes: photographs of German streets with classes, to evaluate on.

Source: Cordts et al., CVPR 2016, arXiv 1604.01685. Read as downloaded (``leftImg8bit_trainvaltest`` and
``gtFine_trainvaltest``; the two folders may stay inside folders of those names)::

    leftImg8bit/{train,val}/<city>/<city>_000000_000019_leftImg8bit.png
    gtFine/{train,val}/<city>/<city>_000000_000019_gtFine_labelIds.png     uint8, 0-33

H, W: height and width of the frame, official (1024, 2048) or not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import read_rgb
from stablemtl.data.reader import DatasetReader, LabelledFrame, check_option
from stablemtl.data.sample import IGNORE_CLASS, sorted_names

CLASS_IDS: dict[int, int] = {
    7: 0,  # road
    11: 1,  # building
    17: 2,  # pole
    19: 3,  # traffic light
    20: 4,  # traffic sign
    21: 5,  # vegetation
    23: 6,  # sky
    26: 7,  # car
    28: 7,  # bus
}
"""Label id to class shared with Virtual KITTI 2 (DenseMTL, Lopes et al., WACV 2023); others are ignored."""

WALL_ID, VEGETATION_CLASS = 12, 5

IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIX = "_gtFine_labelIds.png"


class Frame(NamedTuple):
    """Where a frame lies: ``<city>/<stem>`` and the suffix of its kind."""

    city: str
    stem: str


class Cityscapes(DatasetReader[Frame]):
    """Frames of Cityscapes with classes, at full size, by city and then by name.

    Class ids are 0-7, and 250 where not valid: the labels that the eight classes leave out.

    Args:
        root: folder that holds ``leftImg8bit`` and ``gtFine``, directly or one folder down.
        split: ``train`` or ``val``; the labels of ``test`` are not published.
        wall: what label 12 becomes. StableMTL's code ignores it; Table 9 of its paper calls it vegetation.
    Raises:
        FileNotFoundError: no root, or no ``gtFine`` for the split.
        EmptySplitError: no picture of this split.
        ValueError: unknown split or choice of ``wall``.
    """

    name = "cityscapes"
    tasks = ("semantic",)
    splits = ("train", "val")

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "val",
        *,
        wall: Literal["ignore", "vegetation"] = "ignore",
    ) -> None:
        check_option("wall", wall, ("ignore", "vegetation"))
        super().__init__(root, split)
        self.wall = wall
        self._images = self._folder("leftImg8bit")
        self.frames = [
            Frame(city, name.removesuffix(IMAGE_SUFFIX))
            for city in sorted_names(self._images.glob("*"))
            for name in sorted_names((self._images / city).glob(f"*{IMAGE_SUFFIX}"))
        ]
        self.require_frames(f"leftImg8bit/{split}/*/*{IMAGE_SUFFIX} in {self.root}")
        self._labels = self._folder("gtFine")
        if not self._labels.is_dir():
            raise FileNotFoundError(
                f"cityscapes ({split} split): there are pictures, but no folder gtFine/{split} "
                f"in {self.root}. Unpack the labels (gtFine_trainvaltest.zip) beside them."
            )

    def read_frame(self, frame: Frame, task: str) -> LabelledFrame:
        """One frame with its classes; see the class.

        Raises:
            ValueError: the label is not a grey picture of the frame's size.
            FileNotFoundError: the picture has no label.
        """
        city, stem = frame
        image_path = self._images / city / f"{stem}{IMAGE_SUFFIX}"
        label_path = self._labels / city / f"{stem}{LABEL_SUFFIX}"
        if not label_path.is_file():
            raise FileNotFoundError(
                f"cityscapes ({self.split} split): the picture {image_path} has no label {label_path}. "
                'The download is not complete; see "Datasets" in the README for the layout.'
            )
        image = read_rgb(image_path)
        labels = read_rgb(label_path)  # grey, three times
        if not np.array_equal(labels[..., 1:], labels[..., :-1]):
            raise ValueError(f"{label_path} must hold grey label ids, got colours.")
        if labels.shape != image.shape:
            raise ValueError(
                f"{label_path} must have the size of its picture, {image.shape[:2]}, got {labels.shape[:2]}."
            )
        classes = class_ids(labels[..., 0], wall=self.wall)
        return LabelledFrame(image, classes, classes != IGNORE_CLASS, key=stem)

    def _folder(self, kind: str) -> Path:
        """The split's folder of ``leftImg8bit`` or ``gtFine``, directly in the root or one folder down."""
        direct = self.root / kind / self.split
        nested = sorted(self.root.glob(f"*/{kind}/{self.split}"))
        return next((folder for folder in (direct, *nested) if folder.is_dir()), direct)


def class_ids(
    label_ids: NDArray[np.uint8], *, wall: Literal["ignore", "vegetation"] = "ignore"
) -> NDArray[np.int64]:
    """Label ids of Cityscapes (H, W) to class ids 0-7 (H, W); 250 for all other labels."""
    table = np.full(256, IGNORE_CLASS, np.int64)
    table[list(CLASS_IDS)] = list(CLASS_IDS.values())
    if wall == "vegetation":
        table[WALL_ID] = VEGETATION_CLASS
    return table[label_ids]
