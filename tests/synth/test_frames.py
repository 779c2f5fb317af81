from __future__ import annotations

import numpy as np
import pytest

from stablemtl.synth.frames import exposure, to_srgb8
from stablemtl.synth.render import look
from stablemtl.synth.scenes import Scene, SceneObject, look_at, transform
from stablemtl.synth.shapes import rectangle


def test_tone_map() -> None:
    colour = np.ones((4, 5, 3), np.float32) * np.arange(5)[None, :, None].astype(np.float32)
    scale = exposure(colour)  # brightnesses 0 to 4, four of each: 90th percentile 4
    assert scale == pytest.approx(0.8**2.2 / 4)
    assert to_srgb8(colour, scale)[0, 4].tolist() == [204, 204, 204]  # 0.8 * 255
    assert exposure(0 * colour) == 0
    assert to_srgb8(colour - 9, 1.0).max() == 0


def test_normals_to_the_viewer() -> None:
    """A floor points up, and towards a camera that looks down on it, whichever way it looks."""
    floor = SceneObject(
        mesh=rectangle(), poses=(transform(scale=50.0),), texture=np.full((1, 1, 3), 128, np.uint8)
    )
    for target in ((1, 0, 0), (-1, 2, -2)):
        camera = look_at((0, 0, 1), target)
        scene = Scene(
            objects=(floor,), cameras=(camera,), focal_ratio=1.0, sky=np.ones((4, 8, 3), np.float32)
        )
        frame = look(scene, 0, (6, 8))
        assert frame.hit.all()
        pitch = np.arctan2(1 - target[2], np.hypot(*target[:2]))
        expected = np.broadcast_to([0, np.cos(pitch), np.sin(pitch)], (6, 8, 3))
        np.testing.assert_allclose(frame.normal_to_viewer, expected, atol=1e-5)
