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
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from stablemtl.data.exr import read_exr
from stablemtl.data.hypersim import GREY, MIN_ALBEDO, clip_to_unit, tone_map, tone_map_scale
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, check_option, first_folder

_FOLDERS = ("test", "multi_illumination_test_mip2_exr", "")
_PICTURE = re.compile(r"dir_(\d+)_mip2\.exr")
_SMALLEST_DIVISOR = 1e-6


class Frame(NamedTuple):
    """One picture: a room, and the number of the flash's direction."""

    scene: str
    light: int


class MIDIntrinsics(DatasetReader[Frame]):
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
        check_option("shading_scale", shading_scale, ("tonemap", "raw"))
        super().__init__(root, split)
        self.shading_scale = shading_scale
        self.folder = first_folder(self.root, _FOLDERS, lambda folder: any(folder.glob("*/dir_*_mip2.exr")))
        self.frames = sorted(
            Frame(path.parent.name, int(match[1]))
            for path in self.folder.glob("*/dir_*_mip2.exr")
            if (match := _PICTURE.fullmatch(path.name))
        )
        self.require_frames(f"<scene>/dir_<k>_mip2.exr in {self.folder}")

    def read_frame(self, frame: Frame, task: str) -> LabelledFrame:
        """One picture with one label; see the class.

        Raises:
            ValueError: a file is damaged or of another size.
            FileNotFoundError: the scene has no albedo, or the picture is gone.
        """
        path = self.folder / frame.scene / f"dir_{frame.light}_mip2.exr"
        stored = _read_colour(path)
        color = np.clip(stored, 0.0, 1e6)  # NaN stays; lamps may have overflowed
        reflectance = self._reflectance(frame, (color.shape[0], color.shape[1]))
        scale = tone_map_scale(color, np.ones(color.shape[:2], np.bool_))
        albedo = clip_to_unit(reflectance)
        valid = (albedo.min(-1) >= MIN_ALBEDO) & ~np.isnan(color.max(-1))
        if task == "albedo":
            label = albedo
        else:
            light = clip_to_unit(color * (scale if self.shading_scale == "tonemap" else 1.0))
            label = clip_to_unit(light / np.maximum(albedo, _SMALLEST_DIVISOR)) @ np.asarray(GREY, np.float32)
        return LabelledFrame(tone_map(color, scale), label, valid, key=f"{frame.scene}/dir_{frame.light}")

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
