"""The worlds that only MiniBench shows: complete, decided by the generator, unlike those for training."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from stablemtl.synth.layouts.benchmarks import LABEL_IDS
from stablemtl.synth.render import look, render
from stablemtl.synth.scenes import Scene, SceneObject, look_at
from stablemtl.synth.shapes import rectangle
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import garden, hall, held_out_pattern, still_life, street, town
from stablemtl.synth.worlds import held_out_surfaces as surfaces
from stablemtl.synth.worlds.held_out_skies import directions, hazy_sky, lobe, studio, towards
from stablemtl.synth.worlds.still_lifes import LIGHTS
from stablemtl.synth.worlds.town_traffic import person, vehicle

WORLDS: dict[str, Callable[[np.random.Generator, Textures], Scene]] = {
    "town": town,
    "hall": hall,
    "garden": garden,
    "still life": lambda rng, textures: still_life(rng, textures)[0],
}


@lru_cache
def make(world: str, seed: int) -> Scene:
    return WORLDS[world](np.random.default_rng(seed), Textures(patterns=held_out_pattern))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scene_is_complete(world: str, seed: int) -> None:
    scene = make(world, seed)
    assert len(scene.cameras) == (2 if world == "town" else 1)
    assert len(scene.objects) >= (20 if world == "town" else 5)
    for camera in scene.cameras:
        np.testing.assert_allclose(camera[:3, :3].T @ camera[:3, :3], np.eye(3), atol=1e-9)
        assert np.linalg.det(camera[:3, :3]) == pytest.approx(1)
    for item in scene.objects:
        assert len(item.poses) in (1, len(scene.cameras))
        assert item.texture.dtype == np.uint8
        assert item.texture.shape[2] == 3
        for pose in item.poses:
            assert np.isfinite(pose).all()
            assert np.linalg.det(pose[:3, :3]) > 0
    for light in scene.lights:
        assert np.isfinite(light.vector).all()
        assert min(light.power) > 0
    assert (scene.sky is None) == (world == "hall")
    assert 0.6 < scene.focal_ratio < 1.5
    assert abs(scene.focal_ratio - street(np.random.default_rng(0), Textures()).focal_ratio) > 0.05


@pytest.mark.parametrize("world", WORLDS)
def test_the_generator_decides_everything(world: str) -> None:
    again = WORLDS[world](np.random.default_rng(2), Textures(patterns=held_out_pattern))
    first, other = make(world, 2), make(world, 1)
    np.testing.assert_array_equal(first.cameras, again.cameras)
    for one, two in zip(first.objects, again.objects, strict=True):
        np.testing.assert_array_equal(one.poses, two.poses)
        np.testing.assert_array_equal(one.texture, two.texture)
        np.testing.assert_array_equal(one.mesh.vertices, two.mesh.vertices)
    assert (first.cameras[0] != other.cameras[0]).any()


@pytest.mark.parametrize("world", WORLDS)
def test_the_camera_sees_more_than_one_thing(world: str) -> None:
    for seed in range(3):
        frame = look(make(world, seed), 0, (24, 32))
        assert frame.hit.mean() > 0.3
        assert len(np.unique(frame.index)) >= 4
        assert frame.depth[frame.hit].min() > 0.1


def test_walls_close_a_hall() -> None:
    for seed in range(4):
        assert look(make("hall", seed), 0, (24, 32)).hit.all()


# town ----------------------------------------------------------------------------------------------------


def test_labels_of_a_town() -> None:
    labels = {label for seed in range(6) for label in make("town", seed).labels}
    assert labels == set(LABEL_IDS)


def test_a_town_moves_rigidly() -> None:
    moving = [item for seed in range(3) for item in make("town", seed).objects if len(item.poses) > 1]
    assert len(moving) > 20
    for item in moving:
        step = item.poses[1] @ np.linalg.inv(item.poses[0])
        np.testing.assert_allclose(step[:3, :3], np.eye(3), atol=1e-9)
        assert 0 < np.linalg.norm(step[:3, 3]) < 1.5


def test_a_vehicle_drives_where_it_heads() -> None:
    rng = np.random.default_rng(0)
    parts = vehicle(rng, (3.0, -2.0), np.pi / 2, 0.5)
    assert len({part.label for part in parts}) == 1
    steps = [part.poses[1][:3, 3] - part.poses[0][:3, 3] for part in parts]
    np.testing.assert_allclose(steps, np.tile([0, 0.5, 0], (len(parts), 1)), atol=0.08)
    places = np.concatenate(
        [(part.mesh.vertices @ part.poses[0][:3, :3].T + part.poses[0][:3, 3]) for part in parts]
    )
    assert places[:, 2].min() == pytest.approx(0, abs=0.05)
    np.testing.assert_allclose(places[:, :2].mean(0), [3, -2], atol=1.5)
    assert all(len(part.poses) == 1 for part in vehicle(rng, (0, 0), 0.0, 0.05))


def test_a_person_walks_on_the_pavement() -> None:
    parts = person(np.random.default_rng(0), (5.0, 4.0), -0.1)
    tops = [part.mesh.vertices[:, 2].max() * part.poses[0][2, 2] + part.poses[0][2, 3] for part in parts]
    assert 1.4 < max(tops) < 2.2
    for part in parts:
        np.testing.assert_allclose(part.poses[1][:3, 3] - part.poses[0][:3, 3], [-0.1, 0, 0], atol=1e-12)


# still lifes ---------------------------------------------------------------------------------------------


def test_a_still_life_changes_nothing_but_the_light() -> None:
    scenes = still_life(np.random.default_rng(3), Textures(patterns=held_out_pattern))
    assert len(scenes) == LIGHTS
    for scene in scenes[1:]:
        assert scene.objects is scenes[0].objects
        assert scene.cameras is scenes[0].cameras
        assert (scene.sky != scenes[0].sky).any()


def test_things_stand_on_the_table_without_touching() -> None:
    for seed in range(5):
        scene = make("still life", seed)
        things = [item for item in scene.objects if len(item.mesh.faces) > 2]
        assert things
        for item in things:
            low = item.mesh.vertices[:, 2].min() * item.poses[0][2, 2] + item.poses[0][2, 3]
            assert low == pytest.approx(0, abs=1e-6)


# light and surfaces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.1, 0.3, 0.8])
def test_a_lobe_has_unit_irradiance(width: float) -> None:
    towards_light = towards(0.7, 0.5)
    height = 64
    spot = lobe(towards_light, width, height)[..., 0]
    solid = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None] * (np.pi / height) ** 2
    cosine = np.clip(directions(height) @ towards_light, 0, None)
    assert float((spot * cosine * solid).sum()) == pytest.approx(1)
    brightest = np.unravel_index(spot.argmax(), spot.shape)
    assert directions(height)[brightest] @ towards_light > 0.99


@pytest.mark.parametrize("azimuth", [0.0, 2.0, -1.3])
def test_light_comes_from_where_it_is_said(azimuth: float) -> None:
    """A board that faces the light is brighter than the same board turned away by 60 degrees."""
    brightness = []
    for turn in (0.0, np.pi / 3, -np.pi / 3):
        facing = towards(azimuth + turn, 0.3)
        sky = studio(towards(azimuth, 0.3), 0.1, 0.0, np.ones(3))
        camera = look_at(2 * facing, (0.0, 0.0, 0.0))
        board = np.eye(4)
        board[:3, :3] = camera[:3, :3] @ np.diag([1.0, -1.0, -1.0]) * 9
        texture = np.full((1, 1, 3), 188, np.uint8)
        item = SceneObject(mesh=rectangle(), poses=(board,), texture=texture)
        scene = Scene(objects=(item,), cameras=(camera,), focal_ratio=1.0, sky=sky)
        brightness.append(float(render(scene, (8, 8), 64)[0].colour.mean()))
    albedo = 0.5029
    assert brightness[0] == pytest.approx(albedo, rel=0.05)  # irradiance pi, radiance albedo
    for turned in brightness[1:]:
        assert turned < 0.8 * brightness[0]


def test_skies() -> None:
    for seed in range(5):
        sky = hazy_sky(np.random.default_rng(seed), towards(1.0, 0.4), 0.8, 0.5)
        assert sky.shape == (32, 64, 3)
        assert sky.dtype == np.float32
        assert sky.min() > 0
        assert sky[:16].mean() > sky[20:].mean()


def test_patterns_are_kept_apart() -> None:
    """Textures draws them instead of the training patterns, and never black or white."""
    rng, textures = np.random.default_rng(0), Textures(patterns=held_out_pattern)
    np.testing.assert_array_equal(
        textures.draw(np.random.default_rng(3)), held_out_pattern(np.random.default_rng(3))
    )
    assert (textures.draw(np.random.default_rng(3)) != Textures().draw(np.random.default_rng(3))).any()
    for _ in range(40):
        image = held_out_pattern(rng, 32)
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert 5 <= image.min() <= image.max() <= 250


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, (128, 128, 3)) for name in ("plaster", "planks", "meadow", "needles", "tall_windows")),
        *((name, (128, 128, 3)) for name in ("roof_tiles", "slabs", "terrazzo")),
        ("setts", (64, 1024, 3)),
    ],
)
def test_surfaces(name: str, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        image = getattr(surfaces, name)(np.random.default_rng(seed))
        assert image.shape == shape
        assert image.dtype == np.uint8
        assert 4 <= image.min() < image.max() <= 250
        np.testing.assert_array_equal(image, getattr(surfaces, name)(np.random.default_rng(seed)))


def test_stones_can_be_repeated() -> None:
    """Opposite borders continue each other: they differ no more than neighbouring columns inside."""
    image = surfaces.stones(np.random.default_rng(1), (np.full(3, 0.8), np.full(3, 0.2)), 64).astype(float)
    inside = np.abs(np.diff(image, axis=1)).mean()
    assert np.abs(image[:, 0] - image[:, -1]).mean() < 2 * inside + 5
