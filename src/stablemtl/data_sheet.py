"""One sample on one sheet: frames, and for each task the label, its mask, its image, and what a codec leaves.

Letters: C channels of a label, H and W its size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from stablemtl.contact_sheet import Tile, sheet
from stablemtl.data import Dataset, Sample
from stablemtl.locate import find_model
from stablemtl.tasks import build_tasks
from stablemtl.tasks.base import Task
from stablemtl.tasks.semantic import CLASSES

if TYPE_CHECKING:
    from stablemtl.models import LatentCodec

_ROUNDING = 1e-5  # figures below count as 0
_CHANNELS = {1: ("",), 2: ("u ", "v "), 3: ("x ", "y ", "z ")}
_COLOURS = ("R ", "G ", "B ")
_LABEL_UNITS = {"depth": "m", "optical_flow": "px", "scene_flow": "m"}  # also where predictions are relative


@dataclass(frozen=True, kw_only=True)
class LabelView:
    """A label and what becomes of it on the way to a network and back."""

    sample: Sample
    task: Task
    encoded: Tensor
    """Label image in [-1, 1], shape (3, H, W)."""
    decoded: Tensor
    """What the task reads from the label image after the codec, shape (C, H, W)."""
    codec_error: float
    """Headline figure of ``decoded`` against the label; nan without a valid pixel."""
    encoding_error: float
    """The same without the codec: what the encoding alone loses, by its range for example."""

    @property
    def unit(self) -> str:
        """Unit of the label."""
        return _LABEL_UNITS.get(self.task.spec.name, self.task.spec.unit)

    @property
    def has_numbers(self) -> bool:
        """Whether the label is measured in numbers, not in classes."""
        return self.sample.target.is_floating_point()

    @property
    def valid_share(self) -> float:
        """Valid pixels in [0, 1]."""
        return float(self.sample.valid.float().mean())

    @property
    def values_text(self) -> str:
        """Smallest, middle and largest valid value of each channel; classes by their share of pixels."""
        seen = self.sample.target[:, self.sample.valid[0]]  # (C, N)
        if not seen.numel():
            return "no valid pixel"
        if not self.has_numbers:
            ids, counts = seen.unique(return_counts=True)
            shares = {list(CLASSES)[i]: n for i, n in zip(ids.tolist(), counts.tolist(), strict=True)}
            largest = sorted(shares, key=shares.__getitem__, reverse=True)
            return "  ".join(f"{name} {_percent(shares[name] / seen.numel())}" for name in largest)
        names = _CHANNELS.get(len(seen), [f"{i} " for i in range(len(seen))])
        if self.task.spec.photometric and len(seen) == 3:
            names = _COLOURS
        return "  ".join(
            f"{name}{_short(channel.min())} / {_short(channel.median())} / {_short(channel.max())}"
            for name, channel in zip(names, seen, strict=True)
        )

    def error_text(self, error: float) -> str:
        """An error under the name of the task's headline figure."""
        return f"{self.task.spec.headline} {_short(error)}"


def load_codec(model: str) -> tuple[dict[str, Task], LatentCodec]:
    """All tasks with the encodings of a model, and its latent codec; the network itself is not loaded.

    Args:
        model: embedded model, folder or hub id; see :func:`stablemtl.locate.find_model`.
    Raises:
        ValueError, FileNotFoundError, OSError: there is no such model, as ``find_model`` says.
    """
    from diffusers import AutoencoderKL, AutoencoderTiny

    from stablemtl.models import LatentCodec

    folder = find_model(model)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    kind = AutoencoderKL if index["vae"][1] == AutoencoderKL.__name__ else AutoencoderTiny
    vae = kind.from_pretrained(folder / "vae").eval().requires_grad_(False)
    return build_tasks(index.get("task_options") or {}), LatentCodec(vae)


@torch.no_grad()
def view(sample: Sample, task: Task, codec: LatentCodec) -> LabelView:
    """Encode the label, send the image through the codec at its own size, and decode it."""
    target, valid = sample.target[None], sample.valid[None]
    encoded = task.encode(target, valid)  # (1, 3, H, W)
    size = (encoded.shape[-2], encoded.shape[-1])
    decoded = task.decode(codec.decode(codec.encode(encoded), size=size).float())
    errors = []
    for values in (decoded, task.decode(encoded)):
        metric = task.metric()
        metric.update(values, target, valid)
        errors.append(metric.compute()[task.spec.headline])
    return LabelView(
        sample=sample,
        task=task,
        encoded=encoded[0],
        decoded=decoded[0],
        codec_error=errors[0],
        encoding_error=errors[1],
    )


def labels_at(dataset: Dataset, index: int, tasks: Sequence[str] = ()) -> list[str]:
    """Tasks that frame ``index`` has labels of, those asked for or all.

    Raises:
        ValueError: no such frame, or a task asked for has no label there.
    """
    if not 0 <= index < len(dataset):
        raise ValueError(f"{dataset.name} has frames 0 to {len(dataset) - 1} in this part, got {index}.")
    labelled = [task for task in dataset.tasks if index in dataset.indices(task)]
    if missing := [task for task in tasks if task not in labelled]:
        raise ValueError(
            f"{dataset.name}, frame {index} has no label of {', '.join(missing)}; "
            f"it has {', '.join(labelled) or 'none'}."
        )
    return [task for task in labelled if not tasks or task in tasks]


def data_sheet(views: Sequence[LabelView], *, model: str) -> Image.Image:
    """The sheet: a row with the frames, then a row for each label.

    Args:
        views: labels of one frame.
        model: whose encodings and codec these are, as the sheet says it.
    """
    samples = [one.sample for one in views]
    image = samples[0].image
    height, width = image.shape[-2:]
    frames = [Tile("image", f"{height}x{width} px", _picture(image))]
    following = next((one.image_next for one in samples if one.image_next is not None), None)
    if following is not None:
        frames.append(Tile("image next", "the frame that motion leads to", _picture(following)))
    heading = f"{samples[0].dataset}, {samples[0].key}, with the encodings and the codec of {model}"
    return sheet([frames, *map(_row, views)], heading=heading)


def _row(one: LabelView) -> list[Tile]:
    task, sample = one.task, one.sample
    spec, valid = task.spec, sample.valid[None]
    options = ", ".join(_option(name, value) for name, value in task.options.items())
    limits = ": min / median / max" if one.has_numbers else ""
    return [
        Tile(
            spec.name.replace("_", " "),
            f"{one.unit}{limits}\n{one.values_text}",
            _colours(task.colorize(sample.target[None], valid)),
        ),
        Tile("mask", f"{one.valid_share:.1%} valid", _picture(sample.valid.float().expand(3, -1, -1))),
        Tile(
            "label image",
            f"{options or 'one encoding'}\n{one.error_text(one.encoding_error)} by the encoding",
            _picture((one.encoded + 1) / 2),
        ),
        Tile(
            "through the codec",
            f"{one.error_text(one.codec_error)} by encoding and codec",
            _colours(task.colorize(one.decoded[None], valid)),
        ),
    ]


def _short(value: Tensor | float) -> str:
    """Three digits; what is only rounding counts as 0."""
    return f"{0.0 if abs(float(value)) < _ROUNDING else float(value):.3g}"


def _percent(share: float) -> str:
    return "< 1%" if share < 0.005 else f"{share:.0%}"


def _option(name: str, value: str | float) -> str:
    return value if isinstance(value, str) else f"{name} {value:g}"


def _picture(image: Tensor) -> Image.Image:
    """RGB in [0, 1], shape (3, H, W)."""
    return _colours((image.clamp(0.0, 1.0) * 255).round().to(torch.uint8)[None])


def _colours(pixels: Tensor) -> Image.Image:
    """uint8 (1, 3, H, W)."""
    return Image.fromarray(pixels[0].permute(1, 2, 0).contiguous().numpy())


def sample_views(
    dataset: Dataset, index: int, names: Sequence[str], tasks: Mapping[str, Task], codec: LatentCodec
) -> list[LabelView]:
    """Views of some labels of one frame."""
    return [view(dataset.load(index, name), tasks[name], codec) for name in names]
