"""What a prediction means, and how it is kept: values with their unit, axes and validity."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from stablemtl import writers
from stablemtl.writers import read_png16_values

if TYPE_CHECKING:
    from torch import Tensor

    from stablemtl.images import ImageSource
    from stablemtl.tasks.base import Task

__all__ = ["Prediction", "Predictions", "read_png16_values", "read_prediction"]

_SUFFIXES = (".png", ".npz", ".npy", ".flo")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """One dense map.

    ``values`` and ``valid`` are at the size of the image the map was predicted from, unless the pipeline was
    told otherwise.
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

    def colorize(self) -> Image.Image:
        """The map as an RGB picture, in the task's own colours."""
        from stablemtl.tasks import build_task

        values = torch.from_numpy(np.ascontiguousarray(self.values))
        values = values[None, None] if values.ndim == 2 else values.permute(2, 0, 1)[None]  # (1, C, H, W)
        valid = torch.from_numpy(self.valid)[None, None]  # (1, 1, H, W)
        picture = build_task(self.task, **self.encoding).colorize(values, valid)  # (1, 3, H, W) uint8
        return Image.fromarray(picture[0].permute(1, 2, 0).contiguous().numpy())

    def save(self, path: str | os.PathLike[str], *, bits: int = 8) -> Path:
        """Write the map; the suffix says how.

        - ``.png``: the picture of :meth:`colorize`; with ``bits=16`` the values as 16-bit integers with scale
          and offset in the PNG's text, read back by :func:`read_png16_values`;
        - ``.npz``: values, validity, unit, convention and encoding, read back by :func:`read_prediction`;
        - ``.npy``: the values alone;
        - ``.flo``: optical flow in pixels (Middlebury), 1e10 where not valid.

        Args:
            path: the file; missing folders are made.
            bits: 8 or 16, for ``.png`` only.
        Returns:
            The path written.
        Raises:
            ValueError: unknown suffix, a wrong ``bits``, or ``.flo`` for something that is not flow in
                pixels.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in _SUFFIXES:
            raise ValueError(f"cannot write {path.name!r}: the suffix must be one of {', '.join(_SUFFIXES)}.")
        if bits not in (8, 16) or (bits == 16 and suffix != ".png"):
            raise ValueError(f"bits must be 8, or 16 with the suffix .png; got bits={bits} with {suffix}.")
        if suffix == ".npz":
            writers.write_npz(path, {"values": self.values, "valid": self.valid}, self._facts())
        elif suffix == ".npy":
            writers.write_npy(path, self.values)
        elif suffix == ".flo":
            self._save_flo(path)
        elif bits == 16:
            writers.write_png16(path, self.values, self.valid, self._facts())
        else:
            writers.write_picture(path, self.colorize())
        return path

    @property
    def is_flow_in_px(self) -> bool:
        """Whether a ``.flo`` file can hold it: two channels, in pixels."""
        return self.values.ndim == 3 and self.values.shape[2] == 2 and self.scale_known and self.unit == "px"

    def _save_flo(self, path: Path) -> None:
        if not self.is_flow_in_px:
            raise ValueError(
                f".flo holds two-channel motion in px; {self.task!r} has shape {self.values.shape} and "
                f"unit {self.unit!r}. Use .npz."
            )
        from stablemtl.data.formats import write_flo

        with writers.staged_file(path) as beside:
            write_flo(beside, np.where(self.valid[:, :, None], self.values, np.float32(1e10)))

    def _facts(self) -> dict[str, object]:
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


def read_prediction(path: str | os.PathLike[str]) -> Prediction:
    """The prediction in an ``.npz`` written by :meth:`Prediction.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file was not written by :meth:`Prediction.save`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        return Prediction(
            task=str(content["task"]),
            values=content["values"],
            valid=content["valid"],
            unit=str(content["unit"]),
            convention=str(content["convention"]),
            scale_known=json.loads(str(content["scale_known"])),
            shift_known=json.loads(str(content["shift_known"])),
            encoding=json.loads(str(content["encoding"])),
            note=str(content["note"]),
        )
    except (KeyError, ValueError, AttributeError, OSError) as error:
        raise ValueError(f"{path} is not a prediction written by save('....npz'): {error}.") from error


class Predictions(dict[str, Prediction]):
    """Task name -> :class:`Prediction`, in the model's task order, with the frames they came from."""

    def __init__(
        self,
        maps: Mapping[str, Prediction] | Iterable[tuple[str, Prediction]] = (),
        *,
        frames: Iterable[Image.Image] = (),
    ) -> None:
        """``frames``: one or two small RGB pictures of the input, for the contact sheet."""
        super().__init__(maps)
        self.frames = tuple(frames)

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
        image: ImageSource | None = None,
        image_next: ImageSource | None = None,
    ) -> Path:
        """Write every map into ``folder``, all or nothing.

        Per task ``<task>.png`` (colours) and ``<task>.npz`` (values, validity, unit, convention); for
        single-channel measurements ``<task>_16bit.png`` (``depth_16bit.png``, ``shading_16bit.png``);
        ``optical_flow.flo`` where flow is in pixels; and ``contact_sheet.png``.

        Other files in an existing folder stay.

        Args:
            folder: made if missing.
            image, image_next: frames for the contact sheet, see :meth:`contact_sheet`.
        Returns:
            The folder.
        Raises:
            FileExistsError: ``folder`` is a file.
        """
        with writers.staged_folder(folder) as beside:
            for task, prediction in self.items():
                for name in prediction_files(prediction):
                    prediction.save(beside / name, bits=16 if name == f"{task}_16bit.png" else 8)
            writers.write_picture(beside / "contact_sheet.png", self.contact_sheet(image, image_next))
        return Path(folder)

    def __repr__(self) -> str:
        return f"Predictions({', '.join(repr(prediction) for prediction in self.values())})"


def prediction_files(prediction: Prediction) -> list[str]:
    """Names of the files :meth:`Predictions.save` writes for one map, the picture first."""
    files = [f"{prediction.task}.png", f"{prediction.task}.npz"]
    if prediction.values.ndim == 2 and prediction.values.dtype.kind == "f":
        files.append(f"{prediction.task}_16bit.png")
    if prediction.is_flow_in_px:
        files.append(f"{prediction.task}.flo")
    return files


def _picture(source: ImageSource) -> Image.Image:
    from stablemtl.images import frame_picture, read_pixels

    return frame_picture(read_pixels(source))
