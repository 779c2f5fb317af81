"""What the colours of a map mean: a bar, a wheel or names, with numbers and unit, as HTML.

The colours come from the task's own ``colorize``, given values that run over the map's range; so a legend
cannot disagree with its picture, and a new task has one without a line here.

Letters: H, W size of a map; C its channels.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
import torch
from PIL import Image

from stablemtl.outputs import Prediction
from stablemtl.tasks import build_task
from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.semantic import CLASSES

_STEPS = 24  # of a colour bar
_WHEEL_PX = 96
_LEAST_SHARE = 0.0005  # a class with less of the picture is not worth a line


def legend(prediction: Prediction) -> str:
    """Title line, colours with their numbers, and what to keep in mind about the map, as HTML."""
    spec = _spec(prediction)
    if prediction.values.dtype.kind in "iu":
        colours = _classes(prediction)
    elif prediction.values.ndim == 2:
        colours = _bar(prediction)
    elif spec.frames == 2:
        colours = _motion(prediction)
    elif spec.unit == "unit vector":
        colours = _directions(prediction)
    else:
        colours = '<p class="smtl-fact">The colours are the values: red, green and blue, linear.</p>'
    return f'<div class="smtl-legend">{_head(prediction)}{colours}{_notes(prediction)}</div>'


def number(value: float) -> str:
    """Three digits, without an exponent where people do not expect one.

    >>> number(0.5), number(78.123), number(1234.5), number(-0.00001)
    ('0.500', '78.1', '1234', '-1e-05')
    """
    size = abs(value)
    if not np.isfinite(value):
        return "-"
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e5:
        return f"{value:.0e}"
    digits = max(0, 2 - int(np.floor(np.log10(size))))
    return f"{value:.{digits}f}"


def unit_text(prediction: Prediction) -> str:
    """The unit for people; empty where values have none."""
    return "" if prediction.unit in ("relative", "class id", "unit vector") else prediction.unit


def class_names() -> tuple[str, ...]:
    """Names of the classes, in the order of their ids."""
    return tuple(CLASSES)


def _head(prediction: Prediction) -> str:
    title = escape(prediction.task.replace("_", " "))
    unit = unit_text(prediction)
    facts = prediction.range_text + (f" {unit}" if unit else "")
    return f'<p class="smtl-title"><b>{title}</b> <span>{escape(facts)}</span></p>'


def _notes(prediction: Prediction) -> str:
    notes = [prediction.note] if prediction.note else []
    if not prediction.scale_known:
        what = "scale" if prediction.shift_known else "scale and shift"
        notes.append(f"known up to one {what} per picture")
    share = float(prediction.valid.mean()) if prediction.valid.size else 0.0
    if share < 1:
        notes.append(f"{share:.1%} of the pixels have a value; the others are black")
    return "".join(f'<p class="smtl-note">{escape(note)}</p>' for note in notes)


def _bar(prediction: Prediction) -> str:
    lowest, highest = prediction.range
    if not np.isfinite([lowest, highest]).all():
        return ""
    ramp = np.linspace(lowest, highest, _STEPS, dtype=np.float32)[None]  # (1, W)
    return _gradient(_coloured(prediction, ramp)[0], _ticks(lowest, highest, unit_text(prediction)))


def _classes(prediction: Prediction) -> str:
    ids, counts = np.unique(prediction.values[prediction.valid], return_counts=True)
    names = class_names()
    total = max(1, int(counts.sum()))
    rows = []
    for i in np.argsort(-counts):
        share = counts[i] / total
        if share < _LEAST_SHARE or not 0 <= ids[i] < len(names):
            continue
        red, green, blue = _coloured(prediction, ids[i : i + 1][None])[0, 0]
        swatch = f'<i style="background:rgb({red},{green},{blue})"></i>'
        percent = f"{share:.0%}" if share >= 0.01 else "&lt; 1%"
        rows.append(f"<li>{swatch}{escape(names[ids[i]])} <span>{percent}</span></li>")
    return f'<ul class="smtl-classes">{"".join(rows)}</ul>'


def _motion(prediction: Prediction) -> str:
    """A disc of directions in the picture plane; a third channel gets a bar."""
    values = prediction.values[prediction.valid]  # (N, C)
    if not len(values):
        return ""
    length = np.linalg.norm(values[:, :2], axis=1)
    shortest = float(length.min()) if values.shape[1] == 3 else 0.0
    x, y, inside = _disc()
    radius = np.hypot(x, y)
    size = shortest + radius * (float(length.max()) - shortest)
    scale = size / np.maximum(radius, 1e-6)
    disc = np.stack([x * scale, y * scale], axis=2)
    unit = unit_text(prediction)
    longest = f"{number(float(length.max()))} {unit}".strip()
    text = f"Hue: where to, as on this disc. Pale: {number(shortest)}. Full: {longest}."
    bar = ""
    if values.shape[1] == 3:
        nearest, farthest = float(values[:, 2].min()), float(values[:, 2].max())
        # One more row with the other extreme, so that the stretch over the picture is that of the map.
        flat = np.concatenate([disc, np.full((*disc.shape[:2], 1), nearest)], axis=2)
        extreme = np.zeros_like(flat[:1])
        extreme[..., 0], extreme[..., 2] = shortest, farthest
        picture = _coloured(prediction, np.concatenate([flat, extreme]).astype(np.float32))[:-1]
        ramp = np.zeros((2, _STEPS, 3), dtype=np.float32)
        ramp[0, :, 0], ramp[0, :, 2] = shortest, np.linspace(farthest, nearest, _STEPS)
        ramp[1, :, 0], ramp[1, :, 2] = float(length.max()), farthest
        ticks = _ticks(farthest, nearest, unit)
        bar = _gradient(_coloured(prediction, ramp)[0], ticks)
        text += " Dark: moves away. Bright: comes near, as on this bar:"
    else:
        picture = _coloured(prediction, disc.astype(np.float32))
    wheel = _image(picture, inside, "colour wheel of directions")
    return f'<div class="smtl-wheel">{wheel}<p class="smtl-fact">{escape(text)}</p></div>{bar}'


def _directions(prediction: Prediction) -> str:
    """The half sphere of unit vectors, seen along z."""
    x, y, inside = _disc()
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    sphere = _coloured(prediction, np.stack([x, y, z], axis=2).astype(np.float32))
    wheel = _image(sphere, inside, "colours of directions")
    text = "Middle: (0, 0, 1), a wall seen head-on. Right: (1, 0, 0). Bottom: (0, 1, 0), a floor."
    return f'<div class="smtl-wheel">{wheel}<p class="smtl-fact">{escape(text)}</p></div>'


def _disc() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x right and y down in [-1, 1], and where the unit disc is, each (px, px)."""
    axis = (np.arange(_WHEEL_PX) + 0.5) / _WHEEL_PX * 2 - 1
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    inside = radius <= 1
    shrink = np.maximum(radius, 1)  # the corners take the rim's vector: none is longer than the longest
    return x / shrink, y / shrink, inside


def _coloured(prediction: Prediction, values: np.ndarray) -> np.ndarray:
    """Values (H, W) or (H, W, C) in the map's colours, (H, W, 3) uint8."""
    task = build_task(prediction.task, **prediction.encoding)
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    tensor = tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]
    return task.colorize(tensor)[0].permute(1, 2, 0).numpy()


def _spec(prediction: Prediction) -> TaskSpec:
    return build_task(prediction.task, **prediction.encoding).spec


def _ticks(left: float, right: float, unit: str) -> list[str]:
    """Five numbers with as many decimals as tell them apart."""
    span = abs(right - left)
    decimals = min(6, max(0, 1 - int(np.floor(np.log10(span))))) if span > 0 else 3
    count = 5 if span > 0 else 1
    ticks = [f"{left + (right - left) * i / 4:.{decimals}f}" for i in range(count)]
    if unit:
        ticks[-1] += f" {unit}"
    return ticks


def _gradient(colours: np.ndarray, ticks: list[str]) -> str:
    """A bar of colours (W, 3) above its numbers."""
    stops = ",".join(f"rgb({red},{green},{blue})" for red, green, blue in colours)
    numbers = "".join(f"<span>{escape(tick)}</span>" for tick in ticks)
    return (
        f'<div class="smtl-bar" style="background:linear-gradient(to right,{stops})"></div>'
        f'<div class="smtl-ticks">{numbers}</div>'
    )


def _image(colours: np.ndarray, inside: np.ndarray, alt: str) -> str:
    """Colours (H, W, 3) as an image, transparent where not inside."""
    alpha = (inside * 255).astype(np.uint8)[:, :, None]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([colours, alpha], axis=2)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img class="smtl-disc" alt="{alt}" src="data:image/png;base64,{data}">'
