"""Maps of every task, with a pixel that is not valid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks import TASKS, build_task

H, W = 9, 15
HOLE = (2, 3)
IN_UNITS = {
    "depth": {"encoding": "log"},
    "optical_flow": {"encoding": "calibrated", "scale_px": 16.0},
    "scene_flow": {"encoding": "calibrated"},
}


@pytest.fixture
def maps() -> Predictions:
    """All tasks, in m and px where there are such; row 2, column 3 is not valid."""
    generator = np.random.default_rng(0)
    found = {}
    for name in TASKS:
        task = build_task(name, **IN_UNITS.get(name, {}))
        image = torch.from_numpy(generator.uniform(-1, 1, (1, 3, H, W)).astype(np.float32))
        found[name] = Prediction.from_tensor(task, task.decode(image), note="a note, with °")
        found[name].valid[HOLE] = False
    frame = Image.fromarray(generator.integers(0, 256, (H, W, 3), np.uint8))
    return Predictions(found, frames=[frame], source={"model": "nano", "inputs": ["street.jpg"]})
