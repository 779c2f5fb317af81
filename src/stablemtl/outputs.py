"""What a prediction means, and how it is kept: values with their unit, axes and validity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from stablemtl.map_files.folder import save_folder
from stablemtl.map_files.formats import DEFAULT_FORMATS, FORMATS, MAP_ENDINGS, applied
from stablemtl.map_files.one_map import format_of, write_map
from stablemtl.map_files.reading import read_prediction, read_predictions
from stablemtl.writers import read_png16_values

if TYPE_CHECKING:
    from torch import Tensor

    from stablemtl.camera import Camera
    from stablemtl.images import ImageSource
    from stablemtl.tasks.base import Task

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Prediction",
    "Predictions",
    "prediction_files",
    "read_png16_values",
    "read_prediction",
    "read_predictions",
]

LARGER_IS_NEARER = "larger is nearer"
"""Part of the convention of disparities, whose colours are turned round to match those of depth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """One dense map.

    ``values`` and ``valid`` are at the size of the image the map was predicted from, unless the pipeline was
    told otherwise. :mod:`stablemtl.conversions` gives maps in other conventions and units.
    """

    task: str
    """Name of the task, as in ``TASKS``."""
    values: np.ndarray
    """(H, W) float32, or int64 class ids; (H, W, 2) or (H, W, 3) float32 for vectors and colours."""
    valid: np.ndarray
    """(H, W) bool: where ``values`` means something."""
    unit: str
    """Unit of ``values``; empty or ``relative`` where the scale is unknown."""
    convention: str
    """Axes, colour space, and what a value means, in a sentence."""
    scale_known: bool
    """Whether values are in ``unit`` as they stand; if not, they are known up to a factor."""
    shift_known: bool
    """Whether zero means zero; if not, values are known up to an added constant too."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Options the task was built with; ``build_task(task, **encoding)`` gives it back."""
    note: str = ""
    """What to keep in mind about this very map; empty if nothing."""

    @classmethod
    def from_tensor(cls, task: Task, decoded: Tensor, *, note: str = "") -> Prediction:
        """From what the task decoded, shape (C, H, W) or (1, C, H, W), C = 1 becoming (H, W)."""
        if decoded.ndim == 4:
            decoded = decoded[0]
        # A copy: a view would keep the whole batch alive.
        values = np.array(decoded.detach().cpu().permute(1, 2, 0).numpy(), order="C")  # (H, W, C)
        valid = np.isfinite(values).all(axis=2)
        spec = task.spec
        return cls(
            task=spec.name,
            values=values[:, :, 0] if values.shape[2] == 1 else values,
            valid=valid,
            unit=spec.unit,
            convention=spec.convention,
            scale_known=spec.scale_known,
            shift_known=spec.shift_known,
            encoding=dict(task.options),
            note=note,
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in px."""
        height, width = self.values.shape[:2]
        return height, width

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest valid value, over all channels; nan if nothing is valid."""
        seen = self.values[self.valid]
        return (float(seen.min()), float(seen.max())) if seen.size else (float("nan"), float("nan"))

    @property
    def range_text(self) -> str:
        """The range for people: ``0.52 to 78.1 m``, or how many classes are present."""
        if self.values.dtype.kind in "iu":
            count = len(np.unique(self.values[self.valid]))
            return f"{count} class{'' if count == 1 else 'es'} present"
        lowest, highest = self.range
        return f"{lowest:.3g} to {highest:.3g}"

    @property
    def is_flow_in_px(self) -> bool:
        """Whether a ``.flo`` file can hold it: two channels, in pixels."""
        return self.values.ndim == 3 and self.values.shape[2] == 2 and self.scale_known and self.unit == "px"

    def colorize(self, *, value_range: tuple[float, float] | None = None) -> Image.Image:
        """The map as an RGB picture, in the task's own colours.

        Args:
            value_range: lowest and highest value that the colours span, for pictures to be compared; the
                map's own by default, see :meth:`stablemtl.tasks.base.Task.colorize`.
        """
        from stablemtl.tasks import build_task

        values = torch.from_numpy(np.ascontiguousarray(self.values))
        if LARGER_IS_NEARER in self.convention:  # near and far keep the colours that they have in depth
            values = -values
            value_range = None if value_range is None else (-value_range[1], -value_range[0])
        values = values[None, None] if values.ndim == 2 else values.permute(2, 0, 1)[None]  # (1, C, H, W)
        valid = torch.from_numpy(self.valid)[None, None]  # (1, 1, H, W)
        task = build_task(self.task, **self.encoding)
        picture = task.colorize(values, valid, value_range=value_range)  # (1, 3, H, W) uint8
        return Image.fromarray(picture[0].permute(1, 2, 0).contiguous().numpy())

    def save(self, path: str | os.PathLike[str], *, bits: int = 8, format: str | None = None) -> Path:
        """Write the map; the suffix says how.

        - ``.png``: the picture of :meth:`colorize`; with ``bits=16`` the values as 16-bit integers with scale
          and offset in the PNG's text, read back by :func:`read_png16_values`;
        - ``.npz``: values, validity, unit, convention and encoding, read back by :func:`read_prediction`;
        - ``.npy``: the values alone;
        - ``.flo``: optical flow in pixels (Middlebury), 1e10 where not valid;
        - ``.exr``: float32, one channel as Y, two or three as R, G, B, nan where not valid; unit and
          convention in its attributes.

        Args:
            path: the file; missing folders are made.
            bits: 8 or 16, for ``.png`` only.
            format: a name of ``FORMATS`` for one map, instead of the suffix's: ``palette`` for class ids or
                ``kitti_flow``, which are PNG too.
        Returns:
            The path written.
        Raises:
            ValueError: unknown suffix or format, two that do not go together, a wrong ``bits``, or a
                format that cannot hold the map.
        """
        path = Path(path)
        write_map(path, self, format_of(path, bits, format))
        return path

    def facts(self) -> dict[str, object]:
        """All that the map says of itself beside its values, ready for JSON."""
        return {
            "task": self.task,
            "unit": self.unit,
            "convention": self.convention,
            "scale_known": self.scale_known,
            "shift_known": self.shift_known,
            "encoding": dict(self.encoding),
            "note": self.note,
        }

    def __repr__(self) -> str:
        kind = f"{self.values.dtype} {self.values.shape}"
        return f"Prediction({self.task}, {kind}, unit {self.unit!r}, {self.range_text})"


class Predictions(dict[str, Prediction]):
    """Task name -> :class:`Prediction`, in the model's task order, with the frames they came from."""

    def __init__(
        self,
        maps: Mapping[str, Prediction] | Iterable[tuple[str, Prediction]] = (),
        *,
        frames: Iterable[Image.Image] = (),
        source: Mapping[str, Any] | None = None,
    ) -> None:
        """Maps with what they came from.

        Args:
            maps: task -> map.
            frames: one or two small RGB pictures of the input, for the contact sheet.
            source: where the maps come from, for the sidecar: ``model``, ``inputs``, ``processing_size``, ...
        """
        super().__init__(maps)
        self.frames = tuple(frames)
        self.source: dict[str, Any] = dict(source or {})

    def __missing__(self, task: str) -> Prediction:
        raise KeyError(f"no prediction for {task!r}; this result holds {', '.join(self) or 'nothing'}")

    def contact_sheet(
        self, image: ImageSource | None = None, image_next: ImageSource | None = None
    ) -> Image.Image:
        """Frames and maps in one picture, each titled with task, unit and range.

        Args:
            image, image_next: the frames to show; without ``image``, the small copies kept from the
                prediction.
        """
        from stablemtl.contact_sheet import contact_sheet

        frames = self.frames
        if image is not None:
            frames = tuple(_picture(source) for source in (image, image_next) if source is not None)
        return contact_sheet(self, frames)

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        formats: str | Iterable[str] = DEFAULT_FORMATS,
        image: ImageSource | None = None,
        image_next: ImageSource | None = None,
        camera: Camera | None = None,
    ) -> Path:
        """Write every map into ``folder``, all or nothing, with ``maps.json``, which says what they mean.

        By default, per task ``<task>.png`` (colours) and ``<task>.npz`` (values, validity, unit, convention);
        for single-channel measurements ``<task>_16bit.png`` (``depth_16bit.png``, ``shading_16bit.png``);
        ``optical_flow.flo`` where flow is in pixels; and ``contact_sheet.png``. ``FORMATS`` names what else
        there is. Other files in an existing folder stay; ``maps.json`` is about the maps of this call.

        Args:
            folder: made if missing.
            formats: names as in ``FORMATS``. Each is written of the maps it can hold.
            image, image_next: frames for the contact sheet, see :meth:`contact_sheet`; the first one gives
                the colours of a point cloud too.
            camera: of the point cloud (``ply``). Without it, 60 degrees along the longer side are assumed,
                and the file says so.
        Returns:
            The folder.
        Raises:
            FileExistsError: ``folder`` is a file.
            ValueError: an unknown format, or one asked for that can hold none of the maps, with the reason.
        """
        return save_folder(self, folder, formats, image=image, image_next=image_next, camera=camera)

    def __repr__(self) -> str:
        return f"Predictions({', '.join(repr(prediction) for prediction in self.values())})"


def prediction_files(prediction: Prediction, formats: str | Iterable[str] = DEFAULT_FORMATS) -> list[str]:
    """Names of the files :meth:`Predictions.save` writes for one map alone, the picture first.

    Raises:
        ValueError: as :meth:`Predictions.save`.
    """
    chosen = applied({prediction.task: prediction}, formats)
    return [f"{prediction.task}{ending}" for name, ending in MAP_ENDINGS.items() if name in chosen]


def _picture(source: ImageSource) -> Image.Image:
    from stablemtl.images import frame_picture, read_pixels

    return frame_picture(read_pixels(source))
