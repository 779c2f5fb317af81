from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from stablemtl.data.vkitti import CLASS_COLOURS
from stablemtl.synth.render import look
from stablemtl.synth.scenes import Scene
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import cutouts, room, street, things
from stablemtl.synth.worlds.streets import VARIATIONS

WORLDS: dict[str, Callable[[np.random.Generator, Textures], Scene]] = {
    "things": things,
    "rooms": room,
    "streets": street,
}
INSTANTS = {"things": 2, "rooms": 3, "streets": 3}


def make(world: str, seed: int) -> Scene:
    return WORLDS[world](np.random.default_rng(seed), Textures())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scene_is_complete(world: str, seed: int) -> None:
    scene = make(world, seed)
    assert len(scene.cameras) == INSTANTS[world]
    assert len(scene.objects) >= 5
    for camera in scene.cameras:
        np.testing.assert_allclose(camera[:3, :3].T @ camera[:3, :3], np.eye(3), atol=1e-9)
        assert np.linalg.det(camera[:3, :3]) == pytest.approx(1)
        assert camera[3].tolist() == [0, 0, 0, 1]
    for item in scene.objects:
        assert len(item.poses) in (1, len(scene.cameras))
        assert item.texture.dtype == np.uint8
        assert item.texture.shape[2] == 3
        assert item.label in CLASS_COLOURS
        for pose in item.poses:
            assert abs(np.linalg.det(pose[:3, :3])) > 0 or len(item.mesh.faces) == 2
    for light in scene.lights:
        assert light.kind in ("point", "sun")
        assert min(light.power) > 0
    assert (scene.sky is None) == (world == "rooms")


@pytest.mark.parametrize("world", WORLDS)
def test_the_generator_decides_everything(world: str) -> None:
    first, again, other = make(world, 7), make(world, 7), make(world, 8)
    np.testing.assert_array_equal(first.cameras, again.cameras)
    assert len(first.objects) == len(again.objects)
    for one, two in zip(first.objects, again.objects, strict=True):
        np.testing.assert_array_equal(one.poses, two.poses)
        np.testing.assert_array_equal(one.texture, two.texture)
        np.testing.assert_array_equal(one.mesh.vertices, two.mesh.vertices)
    assert (first.cameras[0] != other.cameras[0]).any()


def test_objects_move_rigidly() -> None:
    scenes = [make("things", seed) for seed in range(8)] + [make("streets", 0)]
    moving = [item for scene in scenes for item in scene.objects if len(item.poses) > 1]
    assert len(moving) > 30
    for item in moving:
        step = item.poses[1] @ np.linalg.inv(item.poses[0])
        np.testing.assert_allclose(step[:3, :3].T @ step[:3, :3], np.eye(3), atol=1e-9)


def test_some_things_are_static_and_seen_from_the_side() -> None:
    scenes = [make("things", seed) for seed in range(20)]
    static = [scene for scene in scenes if all(len(item.poses) == 1 for item in scene.objects)]
    assert 2 < len(static) < 14
    for scene in static:
        first, second = scene.cameras
        np.testing.assert_array_equal(first[:3, :3], second[:3, :3])
        shift = first[:3, :3].T @ (second[:3, 3] - first[:3, 3])
        assert 0.03 < abs(shift[0]) < 0.3


def test_cameras_stand_in_the_room() -> None:
    for seed in range(5):
        scene = make("rooms", seed)
        corners = np.concatenate([item.poses[0][:3, 3] for item in scene.objects[:6]]).reshape(-1, 3)
        for camera in scene.cameras:
            assert (camera[:3, 3] > corners.min(0)).all()
            assert (camera[:3, 3] < corners.max(0)).all()


def test_lamps_of_a_room_are_among_its_objects() -> None:
    seen = 0
    for seed in range(8):
        scene = make("rooms", seed)
        glowing = [number for number, item in enumerate(scene.objects) if item.emission > 0]
        assert glowing
        for number in glowing:  # away from where the cameras stand
            lamp = scene.objects[number].poses[0][:3, 3]
            assert min(np.linalg.norm(lamp - camera[:3, 3]) for camera in scene.cameras) > 0.25
        for instant in range(INSTANTS["rooms"]):
            frame = look(scene, instant, (24, 32))
            here = np.isin(frame.index, glowing)
            seen += bool(here.any())
    assert seen >= 3


def test_variations_of_a_street() -> None:
    heading = {}
    for variation in ("clone", "15-deg-left", "15-deg-right"):
        scene = street(np.random.default_rng(3), Textures(), variation)
        forward = scene.cameras[0][:3, 2]
        heading[variation] = np.degrees(np.arctan2(forward[1], forward[0]))
    assert heading["15-deg-left"] - heading["clone"] == pytest.approx(15)
    assert heading["15-deg-right"] - heading["clone"] == pytest.approx(-15)
    assert set(heading) < set(VARIATIONS)
    labels = {item.label for item in scene.objects}
    assert labels >= {"Road", "Terrain", "Building", "Tree", "Pole", "TrafficSign", "TrafficLight", "Car"}


# cut-outs ------------------------------------------------------------------------------------------------


def warped(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What the flow finds in an image, (H, W, 3)."""
    row, col = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    return cv2.remap(image.astype(np.float32), col + flow[..., 0], row + flow[..., 1], cv2.INTER_LINEAR)


def test_cutouts_types_and_seed() -> None:
    first, second, flow = cutouts(np.random.default_rng(1), Textures(), (24, 36))
    assert first.shape == second.shape == (24, 36, 3)
    assert first.dtype == second.dtype == np.uint8
    assert flow.shape == (24, 36, 2)
    assert flow.dtype == np.float32
    for one, two in zip(
        (first, second, flow), cutouts(np.random.default_rng(1), Textures(), (24, 36)), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert (cutouts(np.random.default_rng(2), Textures(), (24, 36))[2] != flow).any()


def test_second_cutouts_warped_by_the_flow_are_the_first() -> None:
    """On most pixels: what hides or leaves the picture cannot be found. Brightness may change by a tenth."""
    ratios, lengths = [], []
    for seed in range(24):
        first, second, flow = cutouts(np.random.default_rng(seed), Textures(photo_share=0), (72, 96))
        lengths.append(float(np.linalg.norm(flow, axis=-1).mean()))
        gain = second.mean() / first.mean()
        seen = warped(second / gain, flow)
        error, still = (np.median(np.abs(image - first)) for image in (seen, second / gain))
        if still > 3:
            ratios.append(error / still)
    assert len(ratios) >= 5
    assert np.median(ratios) < 0.3
    assert 0.5 < np.mean(lengths) < 10
    assert max(lengths) < 30


def test_cutouts_of_pictures(pictures) -> None:
    first, _, _ = cutouts(np.random.default_rng(0), Textures(pictures), (24, 36))
    assert first.std() > 5
