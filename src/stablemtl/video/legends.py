"""What the colours of a clip mean, as small pictures: bars, wheels, and the names of classes."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from stablemtl.tasks.base import Task

PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (90, 90, 90)
HEIGHT_PX = 40
"""Height of every legend."""

_TEXT_PX = 13
_SMALLEST_PX = 8


def legend(task: Task, value_range: tuple[float, float], width_px: int) -> Image.Image:
    """The task's colours over a range, drawn by the task's own ``colorize``.

    Args:
        task: whose colours.
        value_range: as given to ``colorize`` [unit].
        width_px: of the picture.
    Returns:
        RGB, :data:`HEIGHT_PX` high: a bar for single values, names for classes, a disc of directions for
        vectors.
    """
    page = Image.new("RGB", (width_px, HEIGHT_PX), PAPER)
    spec = task.spec
    if spec.classes:
        _classes(page, task)
    elif spec.channels == 1:
        _bar(page, task, value_range)
    elif spec.stretched_colors or spec.unit == "unit vector":
        _disc(page, task, value_range)
    else:
        write(page, (0, 12), _range_text(spec.value_range, spec.unit), width_px)
    return page


def write(page: Image.Image, at: tuple[int, int], text: str, width_px: int, size_px: int = _TEXT_PX) -> int:
    """One line, made smaller until it fits; returns the width it takes [px]."""
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size_px)
    while size_px > _SMALLEST_PX and draw.textlength(text, font=font) > width_px:
        size_px -= 1
        font = ImageFont.load_default(size_px)
    draw.text(at, text, fill=INK, font=font)
    return round(draw.textlength(text, font=font))


def colours(
    task: Task, values: np.ndarray, valid: np.ndarray, value_range: tuple[float, float]
) -> np.ndarray:
    """Maps (B, H, W, C) as RGB (B, H, W, 3) uint8, over a range if the task's colours follow one."""
    maps = torch.from_numpy(np.ascontiguousarray(values)).permute(0, 3, 1, 2)  # (B, C, H, W)
    usable = torch.from_numpy(np.ascontiguousarray(valid))[:, None]  # (B, 1, H, W)
    if task.spec.stretched_colors:
        picture = task.colorize(maps, usable, value_range=value_range)
    else:
        picture = task.colorize(maps, usable)
    return picture.permute(0, 2, 3, 1).contiguous().numpy()


def _bar(page: Image.Image, task: Task, value_range: tuple[float, float]) -> None:
    low, high = value_range if task.spec.stretched_colors else task.spec.value_range
    ramp = np.linspace(low, high, page.width, dtype=np.float32)[None, None, :, None].repeat(14, axis=1)
    picture = colours(task, ramp, np.ones(ramp.shape[:3], bool), (low, high))[0]
    page.paste(Image.fromarray(picture), (0, 2))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 2, page.width - 1, 15), outline=GREY)
    left = write(page, (0, 20), f"{low:.3g}", page.width // 3)
    right = f"{high:.3g}"
    font = ImageFont.load_default(_TEXT_PX)
    end = round(draw.textlength(right, font=font))
    draw.text((page.width - end, 20), right, fill=INK, font=font)
    middle = task.spec.unit
    room = page.width - left - end - 16
    taken = draw.textlength(middle, font=font)
    if taken <= room:
        draw.text(((page.width - taken) / 2, 20), middle, fill=INK, font=font)


def _disc(page: Image.Image, task: Task, value_range: tuple[float, float]) -> None:
    """Directions in the image plane; for three components the third is 0, or the rest of a unit vector."""
    side = HEIGHT_PX - 2
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(steps, steps)
    inside = np.square(x) + np.square(y) <= 1
    directions = task.spec.unit == "unit vector"
    longest = 1.0 if directions else max(map(abs, value_range))
    parts = [x * longest, y * longest]
    if task.spec.channels == 3:
        parts.append(np.sqrt(np.clip(1 - x**2 - y**2, 0, 1)) if directions else np.zeros_like(x))
    vectors = np.stack(parts, axis=-1).astype(np.float32)[None]
    picture = colours(task, vectors, inside[None], value_range)[0]
    page.paste(Image.fromarray(np.where(inside[:, :, None], picture, 255).astype(np.uint8)), (0, 1))
    left = side + 8
    if directions:
        lines = ["x right, y down", "centre: a surface seen head-on"]
    else:
        lines = [f"rim: {longest:.3g} {task.spec.unit}"]
        if task.spec.channels == 3:
            lines.append("brighter is nearer")
    for i, line in enumerate(lines):
        write(page, (left, 3 + 17 * i), line, page.width - left)


def _classes(page: Image.Image, task: Task) -> None:
    names = task.spec.classes
    ids = np.arange(len(names))[None, None, :, None]
    swatches = colours(task, ids, np.ones(ids.shape[:3], bool), (0.0, 1.0))[0, 0]
    draw = ImageDraw.Draw(page)
    for size in range(_TEXT_PX, 4, -1):
        places = _places(draw, names, size, page.width)
        if places is not None:
            break
    else:
        return
    font = ImageFont.load_default(size)
    for name, colour, (left, top) in zip(names, swatches.tolist(), places, strict=True):
        draw.rectangle((left, top + 3, left + size - 4, top + size - 1), fill=tuple(colour))
        draw.text((left + size, top), name, fill=INK, font=font)


def _places(
    draw: ImageDraw.ImageDraw, names: tuple[str, ...], size: int, width_px: int
) -> list[tuple[int, int]] | None:
    """Where each name goes, or None if they do not fit at this size."""
    font, line = ImageFont.load_default(size), size + 5
    left = top = 0
    places = []
    for name in names:
        need = size + round(draw.textlength(name, font=font))
        if left and left + need > width_px:
            left, top = 0, top + line
        if need > width_px or top + line > HEIGHT_PX:
            return None
        places.append((left, top))
        left += need + size
    return places


def _range_text(value_range: tuple[float, float], unit: str) -> str:
    return f"{value_range[0]:.3g} to {value_range[1]:.3g}, {unit}"
