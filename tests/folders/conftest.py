"""A folder of small photographs, and a predictor of the tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from stablemtl import StableMTLPipeline
    from stablemtl.folders import Predictor


@pytest.fixture
def write_frames() -> Callable[..., list[Path]]:
    """``write_frames(folder, count, size)``: f0.png, f1.png, ... of noise, (width, height) px."""

    def write(folder: Path, count: int, size: tuple[int, int] = (27, 18)) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"f{i}.png" for i in range(count)]
        for i, path in enumerate(paths):
            pixels = np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        return paths

    return write


@pytest.fixture
def predictor(tiny_pipeline: StableMTLPipeline) -> Predictor:
    from stablemtl.folders import Predictor, PredictorOptions

    return Predictor(tiny_pipeline, PredictorOptions(tasks=("depth", "optical_flow"), formats=("npz",)))
