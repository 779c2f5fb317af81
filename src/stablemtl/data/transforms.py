"""Changes of size, side and colour of samples.

A transform is called with a sample, the sample's task and a generator, and gives a new sample. It knows about
images and masks; for the label, it asks the task. ``Compose`` chains transforms and finds the task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.data.sample import Sample
from stablemtl.names import choose
from stablemtl.tasks.base import Task
from stablemtl.tasks.geometry import resize_nearest


class Transform(Protocol):
    """One change of a sample; random ones draw from ``generator`` only."""

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample: ...


class Compose:
    """Transforms in sequence, as one function of a sample and a generator.

    Args:
        transforms: applied in this order; or a function of (dataset name, task name) that gives them, such as
            ``published_augmentation``.
        tasks: name to task, as ``stablemtl.tasks.TASKS``.
    """

    def __init__(
        self,
        transforms: Sequence[Transform] | Callable[[str, str], Sequence[Transform]],
        tasks: Mapping[str, Task],
    ) -> None:
        self.transforms = transforms
        self.tasks = tasks

    def __call__(self, sample: Sample, generator: torch.Generator | None = None) -> Sample:
        """The transformed sample; ``generator`` may be left out where nothing is random.

        Raises:
            ValueError: the sample's task is not among ``tasks``.
        """
        task = choose("task", sample.task, self.tasks)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        chain = self.transforms
        for transform in chain(sample.dataset, sample.task) if callable(chain) else chain:
            sample = transform(sample, task, generator)
        return sample


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip:
    """Mirrors frames, label and mask left to right; the task says what becomes of x components."""

    probability: float = 0.5
    """How often, in [0, 1]."""

    def __post_init__(self) -> None:
        _check_range("probability", self.probability, 1.0)

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample:
        if _uniform(generator) >= self.probability:
            return sample
        return _flipped(sample, -1, task.hflip(sample.target))


@dataclass(frozen=True, kw_only=True)
class VerticalFlip:
    """Turns frames, label and mask upside down; the task says what becomes of y components."""

    probability: float = 0.5
    """How often, in [0, 1]."""

    def __post_init__(self) -> None:
        _check_range("probability", self.probability, 1.0)

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample:
        if _uniform(generator) >= self.probability:
            return sample
        return _flipped(sample, -2, task.vflip(sample.target))


def _flipped(sample: Sample, axis: int, target: Tensor) -> Sample:
    return _changed(sample, lambda frame: frame.flip(axis), target=target, valid=sample.valid.flip(axis))


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resizes frames, label and mask; the task says how labels are sampled and scaled.

    Masks are sampled nearest-exact: source index floor((i + 0.5) * source / destination).

    Raises:
        ValueError: not exactly one of ``size`` and ``longest_edge`` is given, or a number is not positive.
    """

    size: tuple[int, int] | None = None
    """(height, width) [px]; proportions may change."""
    longest_edge: int | None = None
    """Longer side [px]; the other side keeps the proportions, up to ``multiple_of``."""
    multiple_of: int = 1
    """With ``longest_edge``, both sides are rounded to the nearest multiple, at least one."""
    image_mode: Literal["bilinear", "nearest"] = "bilinear"
    """``bilinear`` is antialiased; ``nearest`` takes one pixel for each, as StableMTL's training did."""

    def __post_init__(self) -> None:
        if (self.size is None) == (self.longest_edge is None):
            raise ValueError(
                f"give either size or longest_edge, got size={self.size}, longest_edge={self.longest_edge}."
            )
        numbers = (*(self.size or ()), self.longest_edge or 1, self.multiple_of)
        if min(numbers) < 1 or (self.size is not None and len(self.size) != 2):
            raise ValueError(f"sizes must be (height, width) and at least 1 px, got {numbers}.")
        if self.image_mode not in ("bilinear", "nearest"):
            raise ValueError(f"image_mode must be 'bilinear' or 'nearest', got {self.image_mode!r}.")

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample:
        size = self.output_size((sample.image.shape[-2], sample.image.shape[-1]))
        if size == tuple(sample.image.shape[-2:]):
            return sample
        return _changed(
            sample,
            lambda frame: self._image(frame, size),
            target=task.resize(sample.target, size),
            valid=resize_nearest(sample.valid, size),
        )

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that a frame of ``size`` gets [px]."""
        if self.longest_edge is None:
            assert self.size is not None, "checked when made"
            return self.size
        ratio = self.longest_edge / max(size)
        height, width = (
            max(1, math.floor(side * ratio / self.multiple_of + 0.5)) * self.multiple_of for side in size
        )
        return height, width

    def _image(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        if self.image_mode == "nearest":
            return resize_nearest(image, size)
        resized = F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)
        return resized[0].clamp_(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """The same random window of frames, label and mask; labels keep their values.

    Raises:
        ValueError: not exactly one of ``size`` and ``fraction`` is given, or it is out of range; when called,
            the window is larger than the frame.
    """

    size: tuple[int, int] | None = None
    """(height, width) of the window [px]."""
    fraction: tuple[float, float] | None = None
    """The same as parts of the frame's height and width, in (0, 1]."""

    def __post_init__(self) -> None:
        if (self.size is None) == (self.fraction is None):
            raise ValueError(f"give either size or fraction, got size={self.size}, fraction={self.fraction}.")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be (height, width), at least 1 px, got {self.size}.")
        if self.fraction is not None and not 0.0 < min(self.fraction) <= max(self.fraction) <= 1.0:
            raise ValueError(f"fraction must be two numbers in (0, 1], got {self.fraction}.")

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample:
        full_height, full_width = sample.image.shape[-2:]
        if self.fraction is not None:
            height = max(1, round(self.fraction[0] * full_height))
            width = max(1, round(self.fraction[1] * full_width))
        else:
            assert self.size is not None, "checked when made"
            height, width = self.size
        if height > full_height or width > full_width:
            raise ValueError(
                f"a crop of {height}x{width} px does not fit {sample.dataset} {sample.key}, which has "
                f"{full_height}x{full_width}; use a smaller size, or fraction=."
            )
        top = _integer(generator, full_height - height + 1)
        left = _integer(generator, full_width - width + 1)

        def crop(maps: Tensor) -> Tensor:
            return maps[:, top : top + height, left : left + width].contiguous()

        return _changed(sample, crop, target=crop(sample.target), valid=crop(sample.valid))


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in random order, alike for both frames.

    Factors are uniform in [1 - x, 1 + x] (not below 0), the hue shift in [-hue, hue] turns of the wheel.
    Labels do not change. Meant for tasks whose label does not depend on colours.

    Raises:
        ValueError: a range is negative, or ``hue`` is above 0.5.
    """

    brightness: float = 0.0
    """Range of the factor on all values."""
    contrast: float = 0.0
    """Range of the factor on the distance to the mean grey of both frames together."""
    saturation: float = 0.0
    """Range of the factor on the distance to each pixel's grey."""
    hue: float = 0.0
    """Range of the shift, in turns, at most 0.5."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _check_range(name, getattr(self, name), math.inf)
        _check_range("hue", self.hue, 0.5)

    def __call__(self, sample: Sample, task: Task, generator: torch.Generator) -> Sample:
        changes: list[Callable[[Tensor, float], Tensor]] = [
            adjust_brightness,
            adjust_contrast,
            adjust_saturation,
            adjust_hue,
        ]
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        frames = [sample.image] if sample.image_next is None else [sample.image, sample.image_next]
        stacked = torch.cat(frames, dim=1)  # one picture, so that both frames get the same mean grey
        for number in torch.randperm(4, generator=generator).tolist():
            amount = (2.0 * _uniform(generator) - 1.0) * ranges[number]
            if ranges[number] > 0:
                is_factor = changes[number] is not adjust_hue
                stacked = changes[number](stacked, max(0.0, 1.0 + amount) if is_factor else amount)
        parts = stacked.split(sample.image.shape[1], dim=1)
        return replace(
            sample,
            image=parts[0].contiguous(),
            image_next=None if sample.image_next is None else parts[1].contiguous(),
        )


def adjust_brightness(image: Tensor, factor: float) -> Tensor:
    """``image`` (3, H, W) in [0, 1] times ``factor``, clipped."""
    return (image * factor).clamp_(0.0, 1.0)


def adjust_contrast(image: Tensor, factor: float) -> Tensor:
    """Distance of ``image`` (3, H, W) in [0, 1] to its mean grey, times ``factor``, clipped."""
    mean = _grey(image).mean()
    return (mean + (image - mean) * factor).clamp_(0.0, 1.0)


def adjust_saturation(image: Tensor, factor: float) -> Tensor:
    """Distance of each pixel of ``image`` (3, H, W) in [0, 1] to its own grey, times ``factor``, clipped."""
    grey = _grey(image)
    return (grey + (image - grey) * factor).clamp_(0.0, 1.0)


def adjust_hue(image: Tensor, turns: float) -> Tensor:
    """Hue of ``image`` (3, H, W) in [0, 1] turned by ``turns`` of the wheel; 1/3 takes red to green.

    Value and chroma of HSV stay. With the hue h in sixths of a turn, each channel is
    value - chroma * clip(min(k, 4 - k), 0, 1), where k = (n + h) mod 6 and n = 5, 3, 1 for R, G, B.
    """
    red, green, blue = image
    value, place = image.max(dim=0)
    chroma = value - image.min(dim=0).values
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.stack([(green - blue) / safe, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe])
    hue = sixths.gather(0, place[None])[0] + 6.0 * turns
    offsets = image.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    k = torch.remainder(offsets + hue, 6.0)
    return value - chroma * torch.minimum(k, 4.0 - k).clamp_(0.0, 1.0)


PUBLISHED_SIZES: dict[str, tuple[int, int]] = {
    "hypersim": (288, 384),
    "vkitti2": (187, 621),
    "flyingthings3d": (268, 480),
}
"""(height, width) [px] of StableMTL's training samples; FlyingThings3D's is half its 536-row centre crop."""


def published_augmentation(dataset: str, task: str) -> tuple[Transform, ...]:
    """StableMTL's augmentation of a (dataset, task) pair, before the resize.

    Everything is mirrored with probability 1/2. Flow of Virtual KITTI 2 also gets colour jitter and a crop of
    256x1024 of 375x1242 pixels, here as parts of any size; FlyingThings3D and FlyingChairs get colour jitter,
    and scene flow of FlyingThings3D is turned upside down with probability 1/2.
    """
    if dataset in ("flyingthings3d", "flyingchairs"):
        jitter = ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.5 / math.pi)
        upside_down = (VerticalFlip(),) if task == "scene_flow" else ()
        return (jitter, HorizontalFlip(), *upside_down)
    if (dataset, task) == ("vkitti2", "optical_flow"):
        jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.4 / math.pi)
        return (jitter, HorizontalFlip(), RandomCrop(fraction=(256 / 375, 1024 / 1242)))
    return (HorizontalFlip(),)


def _changed(sample: Sample, change: Callable[[Tensor], Tensor], *, target: Tensor, valid: Tensor) -> Sample:
    """The sample with its frames changed, and with this label and mask."""
    image_next = None if sample.image_next is None else change(sample.image_next)
    return replace(sample, image=change(sample.image), image_next=image_next, target=target, valid=valid)


def _grey(image: Tensor) -> Tensor:
    """Luma (1, H, W) of ITU-R BT.601."""
    return (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0, keepdim=True)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _integer(generator: torch.Generator, end: int) -> int:
    return int(torch.randint(end, (), generator=generator))


def _check_range(name: str, value: float, highest: float) -> None:
    if not 0.0 <= value <= highest:
        raise ValueError(f"{name} must lie in [0, {highest:g}], got {value}.")
