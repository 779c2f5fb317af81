"""MIDIntrinsics: real rooms under 25 flash directions each, with albedo, and shading from it.

Source: Murmann et al., ICCV 2019, arXiv 1910.08131 (pictures); Careaga and Aksoy, ACM TOG 2023,
arXiv 2311.12792 (albedo). Read as downloaded; the albedo is an archive of its own
(``midi_test_albedo.zip``), unpacked over the same folders::

    test/<scene>/dir_0_mip2.exr ... dir_24_mip2.exr     linear radiance
    test/<scene>/albedo.exr                             linear reflectance, one for the 25 pictures

H, W: height and width of the pictures, official (1000, 1500) or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.exr import read_exr
from stablemtl.data.hypersim import GREY, MIN_ALBEDO, tone_map, tone_map_scale
from stablemtl.data.sample import (
    EmptySplitError,
    Sample,
    check_split,
    check_task,
    image_tensor,
    label_tensor,
    mask_tensor,
    require_folder,
)

Floats = NDArray[Any]
Mask = NDArray[np.bool_]

_FOLDERS = ("test", "multi_illumination_test_mip2_exr", "")
_PICTURE = re.compile(r"dir_(\d+)_mip2\.exr")
_SMALLEST_DIVISOR = 1e-6


class Frame(NamedTuple):
    """One picture: a room, and the number of the flash's direction."""

    scene: str
    light: int


class MIDIntrinsics:
    """Pictures of MIDIntrinsics with shading or albedo.

    The image is Hypersim's tone mapping of the linear picture, with every pixel in its exposure s, in 8-bit
    steps. Albedo is the stored reflectance, clipped to [0, 1]; shading is clip(s * picture) / albedo per
    channel, clipped, then grey (0.3, 0.59, 0.11). Both are valid where every channel of the albedo is at
    least 0.004; where not valid they hold what the formulas give, as in the published evaluation, whose SSIM
    is taken over the whole picture.

    StableMTL's pre-processing writes picture, albedo and shading to 8-bit JPEG and reads them back; here they
    go through no file, so labels are not quantized.

    Args:
        root: folder that holds ``test`` (or ``multi_illumination_test_mip2_exr``), or is that folder.
        split: ``test``, 30 scenes.
        shading_scale: ``tonemap`` for clip(s * picture), as above; ``raw`` leaves s out.
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no picture.
        ValueError: unknown split or scale.
    """

    name = "midintrinsics"
    tasks = ("shading", "albedo")
    splits = ("test",)

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "test",
        *,
        shading_scale: Literal["tonemap", "raw"] = "tonemap",
    ) -> None:
        self.split = check_split(self.name, split, self.splits)
        if shading_scale not in ("tonemap", "raw"):
            raise ValueError(f"shading_scale must be 'tonemap' or 'raw', got {shading_scale!r}.")
        self.shading_scale = shading_scale
        self.root = require_folder(root, self.name)
        self.folder = _find_folder(self.root)
        self.frames = sorted(
            Frame(path.parent.name, int(match[1]))
            for path in self.folder.glob("*/dir_*_mip2.exr")
            if (match := _PICTURE.fullmatch(path.name))
        )
        if not self.frames:
            raise EmptySplitError(
                f"midintrinsics ({split} split): no <scene>/dir_<k>_mip2.exr in {self.folder}."
            )

    def __len__(self) -> int:
        return len(self.frames)

    def indices(self, task: str) -> Sequence[int]:
        check_task(self.name, task, self.tasks)
        return range(len(self.frames))

    def load(self, index: int, task: str) -> Sample:
        """One picture with one label; see the class.

        Raises:
            ValueError: no such task here, or a file is damaged or of another size.
            FileNotFoundError: the scene has no albedo, or the picture is gone.
        """
        check_task(self.name, task, self.tasks)
        frame = self.frames[index]
        path = self.folder / frame.scene / f"dir_{frame.light}_mip2.exr"
        stored = _read_colour(path)
        color = np.clip(stored, 0.0, 1e6)  # NaN stays; lamps may have overflowed
        reflectance = self._reflectance(frame, (color.shape[0], color.shape[1]))
        scale = tone_map_scale(color, np.ones(color.shape[:2], np.bool_))
        albedo = _unit(reflectance)
        valid = (albedo.min(-1) >= MIN_ALBEDO) & ~np.isnan(color.max(-1))
        if task == "albedo":
            label = albedo
        else:
            light = _unit(color * (scale if self.shading_scale == "tonemap" else 1.0))
            label = _unit(light / np.maximum(albedo, _SMALLEST_DIVISOR)) @ np.asarray(GREY, np.float32)
        return Sample(
            image=image_tensor(tone_map(color, scale)),
            target=label_tensor(label),
            valid=mask_tensor(valid),
            task=task,
            dataset=self.name,
            key=f"{frame.scene}/dir_{frame.light}",
        )

    def _reflectance(self, frame: Frame, size: tuple[int, int]) -> Floats:
        path = self.folder / frame.scene / "albedo.exr"
        if not path.is_file():
            raise FileNotFoundError(
                f"midintrinsics ({self.split} split): no file {path}. The albedo is a download of its own "
                "(midi_test_albedo.zip, 30 scenes); unpack it over the pictures."
            )
        reflectance = _read_colour(path)
        if reflectance.shape[:2] != size:
            raise ValueError(
                f"{path} must be {size[0]}x{size[1]} like dir_{frame.light}_mip2.exr beside it, "
                f"got {reflectance.shape[0]}x{reflectance.shape[1]}."
            )
        return reflectance


def _read_colour(path: Path) -> Floats:
    values = read_exr(path)
    if values.ndim != 3:
        raise ValueError(f"{path} must have channels R, G, B, got a single one.")
    return values


def _unit(values: Floats) -> Floats:
    """Clipped to [0, 1]; NaN becomes 0."""
    return np.clip(np.nan_to_num(values), 0.0, 1.0)


def _find_folder(root: Path) -> Path:
    for folder in _FOLDERS:
        if any((root / folder).glob("*/dir_*_mip2.exr")):
            return root / folder
    return root / _FOLDERS[0]
