"""Class ids as a PNG with a palette: any viewer shows the classes' colours, any program reads the ids.

H, W: height and width in px.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from stablemtl import writers
from stablemtl.map_files.formats import why_not
from stablemtl.tasks import build_task
from stablemtl.tasks.semantic import IGNORE

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction


def write_palette(path: writers.PathLike, prediction: Prediction) -> None:
    """Write class ids as the indices of an 8-bit PNG.

    A pixel without a class, or not valid, has the index 250. The palette has the colours of the task's
    ``colorize``, black for what is no class. The PNG text ``stablemtl`` says, as JSON, what
    :meth:`Prediction.save` says elsewhere, and the names of the classes (``classes``, id -> name).

    Raises:
        ValueError: the map holds no class ids, or some that are not 0 to 255.
    """
    reason = why_not(prediction, "palette")
    if reason:
        raise ValueError(f"{prediction.task!r} cannot be written with a palette: {reason}. Use .npz.")
    task = build_task(prediction.task, **prediction.encoding)
    ids = torch.arange(256)[None, None, None]  # (1, 1, 1, 256)
    colours = task.colorize(ids, torch.ones_like(ids, dtype=torch.bool))[0, :, 0].T.numpy()  # (256, 3)
    picture = Image.fromarray(np.where(prediction.valid, prediction.values, IGNORE).astype(np.uint8))
    picture.putpalette(colours.tobytes())  # the mode becomes P
    text = PngImagePlugin.PngInfo()
    classes = {str(number): name for number, name in enumerate(task.spec.classes)}
    facts = {**prediction.facts(), "classes": classes, "no_class": IGNORE}
    text.add_itxt(writers.PNG16_KEY, json.dumps(facts))
    with writers.staged_file(path) as beside:
        picture.save(beside, pnginfo=text)
