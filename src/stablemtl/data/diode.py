"""DIODE: real rooms and streets from a laser scanner, with depth and normals.

Source: Vasiljevic et al., 2019, arXiv 1908.00463. Read as downloaded; the normals are an archive of their own
(``val_normals.tar.gz``), unpacked over the same folders::

    val/{indoors,outdoor}/scene_00019/scan_00183/00019_00183_indoors_000_010.png
    val/.../00019_00183_indoors_000_010_depth.npy         m, (H, W, 1)
    val/.../00019_00183_indoors_000_010_depth_mask.npy    1 where measured, (H, W)
    val/.../00019_00183_indoors_000_010_normal.npy        x right, y up, z to the viewer, (H, W, 3)

H, W: height and width of the frame, official (768, 1024) or not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stablemtl.data.formats import read_npy, read_rgb
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, Mask, first_folder
from stablemtl.data.sample import require_file

PLACES = ("indoors", "outdoor")
MIN_NORMAL, MAX_NORMAL = 0.5, 1.5
_FOLDERS = ("val", "diode_val", "")


class Diode(DatasetReader[str]):
    """Frames of DIODE with depth or normals.

    Depth [m] is valid where the release's mask says so, without a limit of range. Normals point away
    from the camera in OpenCV axes, unit length, valid where the stored vector's length is between 0.5 and 1.5
    (the release stores zeros where it has none). Labels are zero where not valid.

    Args:
        root: folder that holds ``val`` or ``diode_val``, or is that folder.
        split: ``val``, the split that is evaluated on.
        places: ``indoors``, ``outdoor`` or both, in this order; a place that is not there is passed over.
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no frame of these places.
        ValueError: unknown split or place.
    """

    name = "diode"
    tasks = ("depth", "normal")
    splits = ("val",)

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "val",
        *,
        places: Sequence[str] = PLACES,
    ) -> None:
        if isinstance(places, str) or not set(places) <= set(PLACES):
            raise ValueError(f"places must be a sequence out of {', '.join(PLACES)}, got {places!r}.")
        super().__init__(root, split)
        self.folder = first_folder(
            self.root, _FOLDERS, lambda folder: any((folder / place).is_dir() for place in PLACES)
        )
        self.frames = [frame for place in places for frame in self._list(place, ".png")]
        self.require_frames(f"{{{','.join(places)}}}/scene_*/scan_*/*.png in {self.folder}")
        normals = {frame for place in places for frame in self._list(place, "_normal.npy")}
        self._with_normal = [index for index, frame in enumerate(self.frames) if frame in normals]

    def indices(self, task: str) -> Sequence[int]:
        """All frames; for normals, those that have them."""
        return self._with_normal if task == "normal" else super().indices(task)

    def read_frame(self, frame: str, task: str) -> LabelledFrame:
        """One frame with one label; see the class.

        Raises:
            ValueError: a file is damaged or of another shape.
            FileNotFoundError: a file of the frame is missing.
        """
        image = read_rgb(self._path(frame, ".png"))
        size = (image.shape[0], image.shape[1])
        label, valid = self._depth(frame, size) if task == "depth" else self._normal(frame, size)
        return LabelledFrame(image, label.astype(np.float32), valid, key=frame)

    def _depth(self, frame: str, size: tuple[int, int]) -> tuple[Floats, Mask]:
        depth = _read_map(self._path(frame, "_depth.npy"), size)
        mask = _read_map(self._path(frame, "_depth_mask.npy"), size)
        valid = (mask > 0) & np.isfinite(depth) & (depth > 0)  # the last two only for damaged data
        return np.where(valid, depth, 0.0), valid

    def _normal(self, frame: str, size: tuple[int, int]) -> tuple[Floats, Mask]:
        path = self.folder / f"{frame}_normal.npy"
        if not path.is_file():
            raise FileNotFoundError(
                f"diode ({self.split} split): no file {path}. Normals are a download of their own "
                "(val_normals.tar.gz); unpack it over the depth. indices('normal') lists the frames that "
                "have them."
            )
        return outward_normals(_read_map(path, size, channels=3))

    def _list(self, place: str, ending: str) -> list[str]:
        """Frames that have a file of this ending: path below the split's folder, without the ending."""
        paths = (self.folder / place).glob(f"scene_*/scan_*/*{ending}")
        names = (path.relative_to(self.folder).as_posix() for path in paths if path.name[0] != ".")
        return sorted(name.removesuffix(ending) for name in names)

    def _path(self, frame: str, ending: str) -> Path:
        return require_file(self.folder / f"{frame}{ending}", self.name, self.split)


def outward_normals(stored: Floats) -> tuple[Floats, Mask]:
    """DIODE's normals (H, W, 3) turned to point away from the camera, in OpenCV axes, and validity (H, W).

    Stored normals face the camera in axes x right, y up, z towards the viewer. The outward vector in axes x
    right, y down, z forward is the stored one with x negated. Unit length, zero where not valid.
    """
    vectors = stored.astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1)
    valid = (length > MIN_NORMAL) & (length < MAX_NORMAL)  # NaN compares as False
    unit = vectors / np.where(valid, length, 1.0)[..., None] * [-1.0, 1.0, 1.0]
    return np.where(valid[..., None], unit, 0.0), valid


def _read_map(path: Path, size: tuple[int, int], channels: int = 1) -> Floats:
    """A map of the image's size: (H, W) for one channel, stored with or without its axis, or (H, W, C)."""
    values = read_npy(path)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{path} must hold numbers, got {values.dtype}.")
    if channels == 1 and values.shape == (*size, 1):
        values = values[..., 0]
    expected = size if channels == 1 else (*size, channels)
    if values.shape != expected:
        raise ValueError(f"{path} must be {expected} like its image, got {values.shape}.")
    return values
