"""Held-out worlds are read back by the benchmarks' own readers, with the renderer's values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl.data import Cityscapes, Diode, KittiDepth, KittiFlow, MIDIntrinsics, Sample
from stablemtl.data.cityscapes import CLASS_IDS
from stablemtl.data.normals_from_depth import normals_from_depth
from stablemtl.synth.frames import Frame, exposure, to_srgb8
from stablemtl.synth.layouts import benchmarks
from stablemtl.synth.render import look, paint
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import held_out_pattern, still_life
from stablemtl.synth.worlds.town import FOCAL_RATIO

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


def is_picture(sample: Sample, frame: Frame, scale: float) -> None:
    expected = to_srgb8(frame.colour, scale) / 255
    np.testing.assert_allclose(sample.image.numpy().transpose(1, 2, 0), expected, atol=1e-6)


def marked_last(mark: Path, folder: Path) -> bool:
    return mark.is_file() and mark.stat().st_mtime_ns == max(
        path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    )


# town ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def towns(rendered: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same town as units 3 and 104."""
    root = tmp_path_factory.mktemp("towns")
    scene, frames, (seen,) = rendered("town")
    for unit in (3, 104):
        benchmarks.write_town(root, unit, scene, frames, seen, np.random.default_rng(unit))
        assert marked_last(benchmarks.town_mark(root, unit), root)
    benchmarks.finish_town(root, FOCAL_RATIO, SIZE)
    return root


def test_town_classes(towns: Path, rendered: Callable[[str], Any]) -> None:
    scene, frames, _ = rendered("town")
    dataset = Cityscapes(towns / "cityscapes")
    assert [frame.stem for frame in dataset.frames] == [
        "minitown_000003_000019",
        "minitown_000104_000019",
    ]
    sample = dataset.load(0, "semantic")
    is_picture(sample, frames[0], exposure(frames[0].colour))
    names = np.array(scene.labels)[frames[0].index]
    of_name = {"Road": 0, "Building": 1, "Pole": 2, "TrafficLight": 3, "TrafficSign": 4, "Vegetation": 5}
    of_name |= {"Sky": 6, "Car": 7, "Bus": 7}
    expected = np.vectorize(lambda name: of_name.get(name, 250))(names)
    np.testing.assert_array_equal(target(sample)[..., 0], expected)
    assert (names == "Sidewalk").any()
    assert not valid(sample)[names == "Sidewalk"].any()
    assert set(benchmarks.LABEL_IDS.values()) > set(CLASS_IDS)


def test_town_depth(towns: Path, rendered: Callable[[str], Any]) -> None:
    frame = rendered("town").frames[0]
    dataset = KittiDepth(towns / "kitti_depth", crop=None, mask=None)
    assert [picture.picture.split("/")[-1] for picture in dataset.frames] == [
        "0000000003.png",
        "0000000004.png",
    ]
    assert len({picture.depth.split("/")[0] for picture in dataset.frames}) == 2  # drives of 100
    line = (towns / "kitti_depth" / "eigen_test_files_with_gt.txt").read_text().splitlines()[0]
    assert float(line.split()[2]) == pytest.approx(FOCAL_RATIO * 32)
    sample = dataset.load(0, "depth")
    is_picture(sample, frame, exposure(frame.colour))
    here = valid(sample)
    np.testing.assert_allclose(target(sample)[..., 0][here], frame.depth[here], atol=0.5 / 256 + 1e-6)
    assert not here[~frame.hit].any()
    assert 0.1 < here.mean() < 0.5
    assert len(np.flatnonzero(here.any(1))) < 18  # not every row
    assert valid(KittiDepth(towns / "kitti_depth").load(0, "depth")).any()


def test_the_laser_looks_down(rendered: Callable[[str], Any]) -> None:
    frame = rendered("town").frames[0]
    hit = benchmarks.laser(frame, np.random.default_rng(0))
    up = frame.position[..., 2] - frame.camera[2, 3]
    assert (up[hit] < 0.05 * np.linalg.norm(frame.position - frame.camera[:3, 3], axis=-1)[hit]).all()
    assert frame.depth[hit].max() < 80


def test_town_motion(towns: Path, rendered: Callable[[str], Any]) -> None:
    _, (first, _), (seen,) = rendered("town")
    dataset = KittiFlow(towns / "kitti_flow_2015", crop=None)
    assert dataset.frames == [3, 104]
    flow, motion = dataset.load(0, "optical_flow"), dataset.load(0, "scene_flow")
    is_picture(flow, first, exposure(first.colour))
    assert flow.image_next is not None
    here = valid(flow)
    np.testing.assert_array_equal(here, first.hit & (seen.depth_next > 0.05))
    np.testing.assert_allclose(target(flow)[here], seen.flow[here], atol=0.5 / 64 + 1e-4)
    close = valid(motion)
    np.testing.assert_array_equal(close, here & (first.depth < 30))
    # z = f b / d: half a step of 1/256 px in each disparity, and half a step of flow sideways.
    focal, depth = first.intrinsics[0, 0], np.maximum(first.depth, seen.depth_next)[close]
    quantum = depth**2 / (0.54 * focal) / 512
    error = np.abs(target(motion) - seen.scene_flow)[close]
    assert (error[:, 2] <= 2.2 * quantum + 0.01).all()
    assert (error[:, :2].max(-1) <= 2.2 * quantum + depth / focal / 100 + 0.01).all()
    assert np.median(error[:, 2]) < 0.01


# places --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("world", "unit", "place"), [("hall", 4, "indoors"), ("garden", 21, "outdoor")])
def test_places(rendered: Callable[[str], Any], tmp_path: Path, world: str, unit: int, place: str) -> None:
    frame = rendered(world).frames[0]
    benchmarks.write_place(tmp_path, unit, frame)
    assert marked_last(benchmarks.place_mark(tmp_path, unit), tmp_path)
    dataset = Diode(tmp_path / "diode")
    scene = unit // 20
    assert dataset.frames == [
        f"{place}/scene_{scene:05d}/scan_{unit:05d}/{scene:05d}_{unit:05d}_{place}_000_000"
    ]
    depth, normal = dataset.load(0, "depth"), dataset.load(0, "normal")
    is_picture(depth, frame, exposure(frame.colour))
    here = frame.hit & (frame.depth < 300)
    np.testing.assert_array_equal(valid(depth), here)
    np.testing.assert_array_equal(valid(normal), here)
    np.testing.assert_array_equal(target(depth)[..., 0][here], frame.depth[here])
    np.testing.assert_allclose(target(normal)[here], outward(frame)[here], atol=1e-5)
    # Independently, from depth: the same side, the same axes.
    fx, cx, cy = frame.intrinsics[0, 0], frame.intrinsics[0, 2], frame.intrinsics[1, 2]
    estimated = normals_from_depth(frame.depth, focal_px=(fx, fx), center_px=(cx, cy))
    cosine = np.sum(estimated * target(normal), -1)[here & (frame.depth < 20)]
    assert np.median(np.degrees(np.arccos(np.clip(cosine, -1, 1)))) < 6


def test_places_have_names_of_their_own() -> None:
    marks = {benchmarks.place_mark(Path(), unit) for unit in range(200)}
    assert len(marks) == 200
    assert {mark.parts[2] for mark in marks} == {"indoors", "outdoor"}


# still lifes ---------------------------------------------------------------------------------------------


def test_still_lifes(tmp_path: Path) -> None:
    scenes = still_life(np.random.default_rng(5), Textures(patterns=held_out_pattern))
    seen = look(scenes[0], 0, SIZE)
    frames = [paint(scene, 0, seen, 4, seed) for seed, scene in enumerate(scenes)]
    benchmarks.write_still_life(tmp_path, 7, frames)
    assert marked_last(benchmarks.still_life_mark(tmp_path, 7, len(frames)), tmp_path)
    dataset = MIDIntrinsics(tmp_path / "midintrinsics")
    assert [frame.light for frame in dataset.frames] == [0, 1, 2, 3, 4]
    pictures = []
    for index, frame in enumerate(frames):
        albedo, shading = dataset.load(index, "albedo"), dataset.load(index, "shading")
        here = valid(albedo)
        assert here.mean() > 0.95
        np.testing.assert_allclose(target(albedo), frame.albedo, rtol=1e-3, atol=1e-6)
        scale = exposure(frame.colour)
        light = np.clip(scale * frame.colour, 0, 1) / np.maximum(frame.albedo, 1e-6)
        expected = np.clip(light, 0, 1) @ [0.3, 0.59, 0.11]
        np.testing.assert_allclose(target(shading)[..., 0][here], expected[here], rtol=0.01, atol=2e-3)
        # Most of the shading says something: it is neither black nor clipped.
        assert np.mean((expected > 0.05) & (expected < 0.99)) > 0.7
        picture = albedo.image.numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(picture, to_srgb8(frame.colour, scale) / 255, atol=1.01 / 255)
        pictures.append(picture)
    assert min(np.abs(one - pictures[0]).mean() for one in pictures[1:]) > 0.01
