"""What is written is read back by the datasets' own readers, with the renderer's values."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from stablemtl.data import FlyingChairs, FlyingThings3D, Hypersim, Sample, VirtualKITTI2
from stablemtl.data.formats import read_rgb
from stablemtl.data.normals_from_depth import normals_from_depth
from stablemtl.data.vkitti import CLASS_IDS
from stablemtl.synth.frames import Frame, exposure, to_srgb8
from stablemtl.synth.layouts import rendered as layouts
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import cutouts
from stablemtl.synth.worlds.streets import FOCAL_RATIO

SIZE = (24, 32)


def target(sample: Sample) -> np.ndarray:
    """(H, W, C)"""
    return sample.target.numpy().transpose(1, 2, 0)


def valid(sample: Sample) -> np.ndarray:
    """(H, W)"""
    return sample.valid[0].numpy()


def outward(frame: Frame) -> np.ndarray:
    """The renderer's normals in the readers' convention: away from the camera, OpenCV axes."""
    return -(frame.normal @ frame.camera[:3, :3])


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(np.sum(first * second, -1), -1, 1)))


def marked_last(mark: Path, folder: Path) -> bool:
    return mark.is_file() and mark.stat().st_mtime_ns == max(
        path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    )


# rooms as Hypersim ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rooms(
    rendered: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Frame]]:
    root = tmp_path_factory.mktemp("rooms")
    frames = rendered("rooms").frames
    layouts.write_room(root, "train", 12, frames)
    layouts.write_room(root, "test", 0, frames[:1])
    layouts.finish_rooms(root)
    return root, frames


def test_rooms_depth(rooms: tuple[Path, list[Frame]]) -> None:
    dataset = Hypersim(rooms[0] / "hypersim")
    assert [frame.scene for frame in dataset.frames] == ["ai_101_003"] * 3
    for index, frame in enumerate(rooms[1]):
        sample = dataset.load(index, "depth")
        np.testing.assert_array_equal(valid(sample), frame.hit)
        np.testing.assert_allclose(target(sample)[..., 0][frame.hit], frame.depth[frame.hit], rtol=1e-3)


def test_rooms_normals(rooms: tuple[Path, list[Frame]]) -> None:
    dataset = Hypersim(rooms[0] / "hypersim")
    for index, frame in enumerate(rooms[1]):
        sample = dataset.load(index, "normal")
        np.testing.assert_array_equal(valid(sample), frame.hit)
        np.testing.assert_allclose(target(sample)[frame.hit], outward(frame)[frame.hit], atol=2e-3)
        # Independently, from depth: the same side, the same axes.
        fx, cx, cy = frame.intrinsics[0, 0], frame.intrinsics[0, 2], frame.intrinsics[1, 2]
        estimated = normals_from_depth(frame.depth, focal_px=(fx, fx), center_px=(cx, cy))
        assert np.median(angles(estimated, target(sample))[frame.hit]) < 4


@pytest.mark.parametrize("shading_scale", ["raw", "tonemap"])
def test_rooms_albedo_and_shading(
    rooms: tuple[Path, list[Frame]], shading_scale: Literal["raw", "tonemap"]
) -> None:
    dataset = Hypersim(rooms[0] / "hypersim", albedo_scale="raw", shading_scale=shading_scale)
    for index, frame in enumerate(rooms[1]):
        albedo, shading = dataset.load(index, "albedo"), dataset.load(index, "shading")
        here = valid(albedo)
        np.testing.assert_array_equal(here, valid(shading))
        assert here.mean() > 0.5
        np.testing.assert_allclose(target(albedo)[here], frame.albedo[here], rtol=1e-3, atol=1e-3)
        scaled = exposure(frame.colour[frame.hit][None])
        scale = scaled if shading_scale == "tonemap" else 1.0
        light = np.clip(scale * frame.colour / np.maximum(frame.albedo, 1e-3), 0, 1)
        np.testing.assert_allclose(
            target(shading)[..., 0][here], (light @ [0.3, 0.59, 0.11])[here], rtol=0.02, atol=2e-3
        )
        # The product, exposed, is the picture where light does not clip.
        product = np.clip(frame.albedo * light * scaled / scale, 0, 1)
        picture = albedo.image.numpy().transpose(1, 2, 0)
        dim = here & (light.max(-1) < 0.99)
        assert dim.any()
        np.testing.assert_allclose(product[dim] ** (1 / 2.2), picture[dim], atol=0.02)


def test_rooms_held_out_and_incomplete(rooms: tuple[Path, list[Frame]], tmp_path: Path) -> None:
    test = Hypersim(rooms[0] / "hypersim", "test")
    assert [frame.scene for frame in test.frames] == ["ai_700_001"]
    assert test.load(0, "depth").image.shape == (3, *SIZE)
    assert marked_last(layouts.room_mark(rooms[0], "train", 12), layouts.room_folder(rooms[0], "train", 12))
    layouts.write_room(tmp_path, "train", 0, rooms[1][:1])
    layouts.write_room(tmp_path, "train", 1, rooms[1][:1])
    layouts.room_mark(tmp_path, "train", 0).unlink()
    layouts.finish_rooms(tmp_path)
    assert [frame.scene for frame in Hypersim(tmp_path / "hypersim").frames] == ["ai_100_002"]


# streets as Virtual KITTI 2 ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def streets(rendered: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unit 0 and unit 24, which share a sequence, and a held-out street."""
    root = tmp_path_factory.mktemp("streets")
    for split, unit in (("train", 0), ("train", 24), ("test", 1)):
        layouts.write_street(root, split, unit, *rendered("streets"))
    layouts.finish_streets(root, FOCAL_RATIO, SIZE)
    return root


def test_street_sequences(streets: Path) -> None:
    dataset = VirtualKITTI2(streets / "vkitti2")
    assert [frame.number for frame in dataset.frames] == [0, 1, 2, 4, 5, 6]
    assert {(frame.scene, frame.variation) for frame in dataset.frames} == {("Scene02", "clone")}
    assert list(dataset.indices("optical_flow")) == [0, 1, 3, 4]  # no pair spans two streets
    test = VirtualKITTI2(streets / "vkitti2", "test")
    assert {(frame.scene, frame.variation) for frame in test.frames} == {("Scene01", "morning")}
    folder = streets / "vkitti2" / "Scene01"
    assert marked_last(layouts.street_mark(streets, "test", 1), folder / "morning" / "frames")
    places = {layouts.street_mark(streets, split, unit) for split in ("train", "test") for unit in range(200)}
    assert len(places) == 400


def test_street_depth_classes_and_intrinsics(streets: Path, rendered: Callable[[str], Any]) -> None:
    scene, frames, _ = rendered("streets")
    dataset = VirtualKITTI2(streets / "vkitti2")
    for index in range(6):
        frame = frames[index % 3]
        sample = dataset.load(index, "depth")
        near = frame.hit & (frame.depth < 79.9)
        np.testing.assert_allclose(target(sample)[..., 0][near], frame.depth[near], atol=0.0051)
        assert not valid(sample)[~frame.hit].any()
        assert valid(sample)[near].all()
        names = [item.label for item in scene.objects] + ["Sky"]
        ids = np.array([CLASS_IDS.get(name, 250) for name in names])[frame.index]
        semantic = dataset.load(index, "semantic")
        np.testing.assert_array_equal(target(semantic)[..., 0], ids)
        np.testing.assert_array_equal(valid(semantic), ids != 250)
        matrix = frame.intrinsics
        expected = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        assert dataset.intrinsics(dataset.frames[index], SIZE) == pytest.approx(expected, rel=1e-6)


def test_street_normals(streets: Path, rendered: Callable[[str], Any]) -> None:
    """The reader computes them from depth in steps of a centimetre."""
    frame = rendered("streets").frames[0]
    sample = VirtualKITTI2(streets / "vkitti2").load(0, "normal")
    near = valid(sample) & (frame.depth < 20)
    assert near.sum() > 100
    assert np.median(angles(target(sample), outward(frame))[near]) < 5


def test_street_motion(streets: Path, rendered: Callable[[str], Any]) -> None:
    _, frames, motions = rendered("streets")
    dataset = VirtualKITTI2(streets / "vkitti2")
    for index in (0, 1):
        seen, frame = motions[index], frames[index]
        flow, motion = dataset.load(index, "optical_flow"), dataset.load(index, "scene_flow")
        here = valid(flow)
        np.testing.assert_array_equal(here, valid(motion))
        assert not here[~frame.hit].any()
        assert here[frame.hit].mean() > 0.9
        np.testing.assert_allclose(target(flow)[here], seen.flow[here], atol=1e-3)
        np.testing.assert_allclose(target(motion)[here], seen.scene_flow[here], atol=2e-4)
        following = dataset.load(index + 1, "semantic").image
        assert flow.image_next is not None
        assert flow.image_next.equal(following)


def test_street_motion_beyond_the_format_is_not_valid(rendered: Callable[[str], Any], tmp_path: Path) -> None:
    scene, frames, motions = rendered("streets")
    far = motions[0].scene_flow.copy()
    y, x = np.argwhere(frames[0].hit)[-1]
    far[y, x] = [0, 0, -11]
    seen = replace(motions[0], scene_flow=far)
    layouts.write_street(tmp_path, "train", 0, scene, frames[:2], [seen])
    assert not valid(VirtualKITTI2(tmp_path / "vkitti2").load(0, "scene_flow"))[y, x]


# things as FlyingThings3D --------------------------------------------------------------------------------


def test_things(rendered: Callable[[str], Any], tmp_path: Path) -> None:
    _, frames, (seen,) = rendered("things")
    for split, unit in (("train", 3), ("val", 0)):
        layouts.write_things(tmp_path, split, unit, frames, seen)
    root = tmp_path / "FlyingThings3D_subset"
    assert FlyingThings3D(root, "val").frames == [0]
    dataset = FlyingThings3D(root)
    assert dataset.frames == [6]
    assert marked_last(layouts.things_mark(tmp_path, "train", 3), root / "train")
    flow, motion = dataset.load(0, "optical_flow"), dataset.load(0, "scene_flow")
    assert valid(flow).all()
    np.testing.assert_array_equal(target(flow), seen.flow)
    near = frames[0].hit & (frames[0].depth < 35) & (seen.depth_next > 0.05)
    np.testing.assert_array_equal(valid(motion), near)
    np.testing.assert_allclose(target(motion)[near], seen.scene_flow[near], atol=2e-3)
    hidden = read_rgb(root / "train" / "flow_occlusions" / "left" / "into_future" / "0000006.png")[..., 0] > 0
    np.testing.assert_array_equal(hidden, seen.occluded)
    scale = exposure(frames[0].colour)
    for image, frame in zip((flow.image, flow.image_next), frames, strict=True):
        assert image is not None
        expected = to_srgb8(frame.colour, scale) / 255
        np.testing.assert_allclose(image.numpy().transpose(1, 2, 0), expected, atol=1e-6)


# cut-outs as FlyingChairs --------------------------------------------------------------------------------


def test_cutouts(tmp_path: Path) -> None:
    first, second, flow = cutouts(np.random.default_rng(0), Textures(), SIZE)
    for split, unit in (("train", 0), ("train", 2), ("val", 0)):
        layouts.write_cutouts(tmp_path, split, unit, (first, second), flow)
    layouts.finish_cutouts(tmp_path)
    root = tmp_path / "FlyingChairs_release"
    marks = (root / "FlyingChairs_train_val.txt").read_text().split()
    assert marks[:3] == ["1", "0", "1"]
    assert (len(marks), marks[-1]) == (40001, "2")
    dataset = FlyingChairs(root)
    assert dataset.frames == [1, 3]
    assert FlyingChairs(root, "val").frames == [40001]
    sample = dataset.load(1, "optical_flow")
    np.testing.assert_array_equal(target(sample), flow)
    assert sample.image_next is not None
    for image, expected in ((sample.image, first), (sample.image_next, second)):
        np.testing.assert_allclose(image.numpy().transpose(1, 2, 0) * 255, expected, atol=1e-4)
    assert layouts.cutouts_mark(tmp_path, "train", 2) == root / "data" / "00003_flow.flo"


def test_nothing_half_written_is_left(rendered: Callable[[str], Any], tmp_path: Path) -> None:
    _, frames, (seen,) = rendered("things")
    layouts.write_things(tmp_path, "train", 0, frames, seen)
    layouts.finish_cutouts(tmp_path)
    names = [name for _, _, files in os.walk(tmp_path) for name in files]
    assert len(names) == 7
    assert not [name for name in names if name.startswith(".") or name.endswith(".part")]
