"""The values of maps at a pixel: as a table for a click, and packed for the value under the mouse.

Letters: H, W size of a map; C its channels; h, w size of what is packed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from html import escape

import numpy as np

from stablemtl.app.legends import class_names, number, unit_text
from stablemtl.outputs import Prediction
from stablemtl.tasks import build_task

HOVER_PX = 256
"""Longest edge of what is sent for the value under the mouse [px]; a click gives the pixel's own."""

_LEVELS = 65534  # of a packed value; 65535 is kept for pixels without one


def value_text(prediction: Prediction, x: int, y: int) -> str:
    """The value at a pixel with components and unit, such as ``12.3 m`` or ``u 3.10, v -0.20 px``.

    Raises:
        IndexError: no such pixel.
    """
    height, width = prediction.size
    if not (0 <= x < width and 0 <= y < height):
        raise IndexError(f"there is no pixel ({x}, {y}) in a map of {width}x{height} px.")
    if not prediction.valid[y, x]:
        return "no value"
    value = prediction.values[y, x]
    if prediction.values.dtype.kind in "iu":
        names = class_names()
        return names[value] if 0 <= value < len(names) else f"class {value}"
    parts = zip(components(prediction), np.atleast_1d(value), strict=True)
    text = ", ".join(f"{name} {number(float(part))}".strip() for name, part in parts)
    return f"{text} {unit_text(prediction)}".strip()


def value_table(predictions: Mapping[str, Prediction], x: int, y: int) -> str:
    """The values of all maps at a pixel, as an HTML table."""
    rows = "".join(
        f"<tr><th>{escape(task.replace('_', ' '))}</th><td>{escape(value_text(prediction, x, y))}</td></tr>"
        for task, prediction in predictions.items()
    )
    return f'<table class="smtl-values"><caption>At x {x}, y {y} px</caption>{rows}</table>'


def components(prediction: Prediction) -> tuple[str, ...]:
    """Names of the channels, (``""``,) for a map of one."""
    if prediction.values.ndim == 2:
        return ("",)
    if prediction.values.shape[2] == 2:
        return ("u", "v")
    photometric = build_task(prediction.task, **prediction.encoding).spec.photometric
    return ("R", "G", "B") if photometric else ("x", "y", "z")


def hover_data(prediction: Prediction) -> str:
    """What the page needs to show the value under the mouse, as a hidden HTML element.

    Every n-th pixel of each channel as 16-bit integers over the channel's range, so a value is off by no more
    than its range / 131068.
    """
    height, width = prediction.size
    scale = max(1.0, max(height, width) / HOVER_PX)
    h, w = max(1, round(height / scale)), max(1, round(width / scale))
    rows = (np.arange(h) + 0.5) * height / h
    columns = (np.arange(w) + 0.5) * width / w
    place = np.ix_(rows.astype(int), columns.astype(int))
    values, valid = prediction.values[place], prediction.valid[place]
    channels = values[:, :, None] if values.ndim == 2 else values  # (h, w, C)
    offsets, steps, packed = [], [], []
    for channel in np.moveaxis(channels, 2, 0).astype(np.float64):
        seen = channel[valid]
        lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        step = (highest - lowest) / _LEVELS or 1.0
        if prediction.values.dtype.kind in "iu":
            step = 1.0
        codes = np.where(valid, np.rint((np.where(valid, channel, lowest) - lowest) / step), 65535)
        offsets.append(lowest)
        steps.append(step)
        packed.append(codes.astype("<u2"))
    content = {
        "task": prediction.task.replace("_", " "),
        "size": [w, h],
        "full": [width, height],
        "offsets": offsets,
        "steps": steps,
        "names": list(components(prediction)),
        "classes": list(class_names()) if prediction.values.dtype.kind in "iu" else [],
        "unit": unit_text(prediction),
        "data": base64.b64encode(np.stack(packed).tobytes()).decode("ascii"),
    }
    return f'<div hidden class="smtl-data" data-values="{escape(json.dumps(content))}"></div>'
