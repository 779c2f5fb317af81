"""What the tests of the synthetic worlds share: a folder of pictures, one rendered scene of each world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from stablemtl.synth.frames import Frame, Motion, motion
from stablemtl.synth.render import render
from stablemtl.synth.scenes import Scene
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import garden, hall, held_out_pattern, room, street, things, town

SIZE = (24, 32)


class Rendered(NamedTuple):
    """A scene, its frames of 24 x 32 px and the motion between them."""

    scene: Scene
    frames: list[Frame]
    motions: list[Motion]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 16 pictures in ``large``, one in ``small/deep``, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    names = [f"large/{number:02d}.png" for number in range(16)] + ["small/deep/one.JPG"]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(30, 220, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], Rendered]:
    """``rendered("things")``: a scene of that world, rendered once."""
    made: dict[str, Rendered] = {}
    training = {"things": things, "rooms": room, "streets": street}
    held_out = {"town": town, "hall": hall, "garden": garden}

    def get(world: str) -> Rendered:
        if world not in made:
            textures = Textures(patterns=held_out_pattern if world in held_out else None)
            scene = {**training, **held_out}[world](np.random.default_rng(5), textures)
            frames = render(scene, SIZE, samples=2, seed=1)
            moves = [] if world == "rooms" else [motion(scene, frames, i) for i in range(len(frames) - 1)]
            made[world] = Rendered(scene, frames, moves)
        return made[world]

    return get
