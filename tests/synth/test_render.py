"""Labels against geometry done by hand. Cameras at the identity look along z: x is right, y down."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from stablemtl.synth import render as rendering
from stablemtl.synth.frames import Frame, Motion, motion
from stablemtl.synth.render import linear, look, paint, render, require_mitsuba
from stablemtl.synth.scenes import (
    Light,
    Scene,
    SceneObject,
    intrinsics,
    look_at,
    random_rotation,
    rotation,
    transform,
)
from stablemtl.synth.shapes import Mesh, box, cylinder, random_shape, rectangle, sphere
from stablemtl.synth.textures import Textures
from stablemtl.synth.worlds import things

SIZE = (24, 32)
FOCAL_RATIO = 0.9
GREY = np.full((1, 1, 3), 128, np.uint8)


def square(
    *poses: np.ndarray, mesh: Mesh | None = None, texture: np.ndarray = GREY, **looks: Any
) -> SceneObject:
    return SceneObject(mesh=mesh or rectangle(), poses=poses, texture=texture, **looks)


def scene_of(*objects: SceneObject, cameras: tuple[np.ndarray, ...] = (np.eye(4),), **rest: Any) -> Scene:
    return Scene(objects=objects, cameras=cameras, focal_ratio=FOCAL_RATIO, **rest)


def labels(scene: Scene) -> tuple[list[Frame], Motion]:
    frames = render(scene, SIZE, colour=False)
    return frames, motion(scene, frames, 0)


def pixels() -> np.ndarray:
    """(H, W, 3): column, row, 1."""
    row, col = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(float)
    return np.stack([col, row, np.ones_like(row)], -1)


def rays() -> np.ndarray:
    """(H, W, 3): through the pixels, in camera axes, z = 1."""
    return pixels() @ np.linalg.inv(intrinsics(FOCAL_RATIO, SIZE)).T


# one plane -----------------------------------------------------------------------------------------------

CAMERA = look_at((0.3, -4.0, 1.5), (0.1, 2.0, 1.0), roll=0.2)
TURN, SHIFT = rotation((0.3, 1.0, -0.2), 0.06), np.array([0.2, -0.1, 0.3])
"""Of the second camera, in the axes of the first: it turns and translates."""
PLANE = transform(place=(0, 2, 1), scale=40, turn=rotation((1, 0.2, 0.1), 1.2))
MOVE = transform(place=(0.3, -0.2, 0.1), turn=rotation((0.2, 0.1, 1), 0.1))
"""World motion of the plane in the second case."""


@pytest.fixture(scope="module", params=["moving camera", "moving camera and plane"])
def plane(request: pytest.FixtureRequest) -> tuple[list[Frame], Motion, np.ndarray]:
    """Frames and motion of a plane, and the motion of its points between the cameras' own axes (4, 4)."""
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = TURN, SHIFT
    second = CAMERA @ step
    carry = MOVE if request.param.endswith("plane") else np.eye(4)
    scene = scene_of(square(PLANE, carry @ PLANE), cameras=(CAMERA, second))
    return *labels(scene), np.linalg.inv(second) @ carry @ CAMERA


def plane_in_camera() -> tuple[np.ndarray, float]:
    """Unit normal and offset of the plane n . p = d in the first camera's axes; n looks at the camera."""
    normal = CAMERA[:3, :3].T @ PLANE[:3, 2] / 40
    offset = float(normal @ CAMERA[:3, :3].T @ (PLANE[:3, 3] - CAMERA[:3, 3]))
    return (-normal, -offset) if offset > 0 else (normal, offset)


def test_plane_depth_and_normal(plane: tuple[list[Frame], Motion, np.ndarray]) -> None:
    frame = plane[0][0]
    normal, offset = plane_in_camera()
    assert frame.hit.all()
    depth = offset / (rays() @ normal)
    assert depth.max() > 1.3 * depth.min()
    np.testing.assert_allclose(frame.depth, depth, rtol=1e-4)
    np.testing.assert_allclose(
        frame.in_camera(frame.position), rays() * depth[..., None], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(frame.normal @ CAMERA[:3, :3], np.broadcast_to(normal, (*SIZE, 3)), atol=1e-4)
    assert frame.intrinsics.tolist() == intrinsics(FOCAL_RATIO, SIZE).tolist()


def test_plane_flow_is_its_homography(plane: tuple[list[Frame], Motion, np.ndarray]) -> None:
    _, seen, carry = plane
    normal, offset = plane_in_camera()
    matrix = intrinsics(FOCAL_RATIO, SIZE)
    homography = matrix @ (carry[:3, :3] + np.outer(carry[:3, 3], normal) / offset) @ np.linalg.inv(matrix)
    target = pixels() @ homography.T
    flow = target[..., :2] / target[..., 2:] - pixels()[..., :2]
    assert np.abs(flow).max() > 2
    np.testing.assert_allclose(seen.flow, flow, rtol=1e-4, atol=1e-3)


def test_plane_scene_flow(plane: tuple[list[Frame], Motion, np.ndarray]) -> None:
    frames, seen, carry = plane
    normal, offset = plane_in_camera()
    before = rays() * (offset / (rays() @ normal))[..., None]
    after = before @ carry[:3, :3].T + carry[:3, 3]
    np.testing.assert_allclose(seen.scene_flow, after - before, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.depth_next, after[..., 2], rtol=1e-4)
    end = np.rint(seen.flow + pixels()[..., :2])
    inside = np.all((end >= 0) & (end <= (31, 23)), -1)
    np.testing.assert_array_equal(seen.occluded, ~inside)
    # Depth of the moved points is what the second frame shows there.
    x, y = np.rint(np.moveaxis(seen.flow + pixels()[..., :2], -1, 0)[:, inside]).astype(int)
    np.testing.assert_allclose(frames[1].depth[y, x], seen.depth_next[inside], rtol=0.05)


# objects that move or hide -------------------------------------------------------------------------------


def test_a_moving_object_carries_its_points() -> None:
    poses = [
        transform(place=(0, 0, 5), scale=(1.2, 0.8, 1.0), turn=rotation((0.2, 1, 0.4), 0.5)),
        transform(place=(0.4, -0.2, 5.5), scale=(1.2, 0.8, 1.0), turn=rotation((0.2, 1, 0.1), 0.8)),
    ]
    wall = square(transform(place=(0, 0, 9), scale=20))
    scene = scene_of(wall, square(*poses, mesh=box()), cameras=(np.eye(4), np.eye(4)))
    frames, seen = labels(scene)
    here = frames[0].index == 1
    assert 50 < here.sum() < 600
    # Points of the object's own space: on the surface of the unit cube, and the same in both instants.
    own = (frames[0].position[here] - poses[0][:3, 3]) @ np.linalg.inv(poses[0][:3, :3]).T
    np.testing.assert_allclose(np.abs(own).max(-1), 1, atol=1e-4)
    after = own @ poses[1][:3, :3].T + poses[1][:3, 3]
    image = after @ intrinsics(FOCAL_RATIO, SIZE).T
    np.testing.assert_allclose(
        seen.flow[here] + pixels()[here][:, :2], image[:, :2] / image[:, 2:], rtol=1e-4, atol=1e-3
    )
    np.testing.assert_allclose(seen.scene_flow[here], after - frames[0].position[here], atol=1e-4)
    np.testing.assert_allclose(seen.flow[~here], 0, atol=1e-3)


def test_occlusion_by_a_square_that_moves_aside() -> None:
    poses = (transform(place=(0, 0, 4.5)), transform(place=(1, 0, 4.5)))
    wall = square(transform(place=(0, 0, 9), scale=20))
    frames, seen = labels(scene_of(wall, square(*poses), cameras=(np.eye(4), np.eye(4))))
    at = rays()[..., :2] * 4.5
    first, later = (np.all(np.abs(at - [shift, 0]) <= 1, -1) for shift in (0, 1))
    np.testing.assert_array_equal(frames[0].index == 1, first)
    np.testing.assert_array_equal(frames[1].index == 1, later)
    np.testing.assert_array_equal(seen.occluded, later & ~first)
    assert seen.occluded.sum() > 20
    np.testing.assert_allclose(seen.flow[first], [[FOCAL_RATIO * 32 / 4.5, 0]] * int(first.sum()), atol=1e-3)


def test_sky_turns_with_the_camera_and_has_no_other_label() -> None:
    cameras = (np.eye(4), transform(place=(0.5, 0, 0), turn=TURN))
    scene = scene_of(square(transform(place=(0, 0, 4), scale=0.5)), cameras=cameras)
    frames, seen = labels(scene)
    sky = ~frames[0].hit
    assert sky.sum() > 500
    assert set(np.unique(frames[0].index)) == {-1, 0}
    matrix = intrinsics(FOCAL_RATIO, SIZE)
    target = pixels() @ (matrix @ TURN.T @ np.linalg.inv(matrix)).T
    expected = target[..., :2] / target[..., 2:] - pixels()[..., :2]
    np.testing.assert_allclose(seen.flow[sky], expected[sky], atol=1e-2)
    for zero in (frames[0].depth, frames[0].position, frames[0].normal, seen.scene_flow, seen.depth_next):
        assert not zero[sky].any()
    assert not frames[0].albedo[3, 3].any()


def test_normals_look_at_the_camera_and_are_smooth_on_a_sphere() -> None:
    ball = square(transform(place=(0.2, 0.1, 4)), mesh=sphere(48))
    frame = look(scene_of(ball), 0, SIZE)
    here = frame.hit
    toward = -frame.position[here]
    assert (np.sum(frame.normal[here] * toward, -1) > -1e-5).all()
    radial = frame.position[here] - [0.2, 0.1, 4]
    radial /= np.linalg.norm(radial, axis=-1, keepdims=True)
    assert np.degrees(np.arccos(np.clip(np.sum(radial * frame.normal[here], -1), -1, 1))).mean() < 3
    # The back of a square is seen as its front is.
    turned = transform(place=(0.03, 0.02, 4), scale=9, turn=rotation((1, 0, 0), np.pi))
    back = look(scene_of(square(turned)), 0, SIZE)
    np.testing.assert_allclose(back.normal, np.broadcast_to([0, 0, -1], (*SIZE, 3)), atol=1e-6)


def test_every_shape_has_normals_everywhere() -> None:
    """A triangle without area would give its corners no normal, and what is seen there would pass for sky."""
    mi = require_mitsuba()
    bsdf = mi.load_dict({"type": "diffuse"})
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scale = rng.uniform(0.05, 1, 3)
        pose = transform(place=rng.normal(0, 4, 3), scale=scale, turn=random_rotation(rng))
        shape = rendering._shape(mi, square(mesh=random_shape(rng)), pose, bsdf)
        normals = np.array(mi.traverse(shape)["vertex_normals"]).reshape(-1, 3)
        lengths = np.linalg.norm(normals, axis=-1)
        assert np.isfinite(normals).all(), f"seed {seed}"
        assert ((lengths < 1e-6) | (abs(lengths - 1) < 1e-3)).all(), f"seed {seed}"


def test_second_frame_warped_by_the_flow_is_the_first() -> None:
    scene = things(np.random.default_rng(5), Textures())
    frames = render(scene, (48, 64), samples=16)
    seen = motion(scene, frames, 0)
    first, second = (np.clip(frame.colour, 0, 1) ** (1 / 2.2) for frame in frames)
    row, col = np.mgrid[0:48, 0:64]
    grid = np.stack([(col + seen.flow[..., 0]) / 63, (row + seen.flow[..., 1]) / 47], -1) * 2 - 1
    warped = grid_sample(
        torch.from_numpy(second.transpose(2, 0, 1)[None]).float(),
        torch.from_numpy(grid[None]).float(),
        align_corners=True,
    )[0].numpy()
    visible = ~seen.occluded & frames[0].hit
    assert visible.mean() > 0.4
    moved_by = np.linalg.norm(seen.flow, axis=-1)[visible].mean()
    assert moved_by > 2
    error = np.abs(warped.transpose(1, 2, 0) - first)[visible].mean()
    still = np.abs(second - first)[visible].mean()
    assert error < 0.45 * still
    assert error < 0.03


# colour and albedo ---------------------------------------------------------------------------------------


def test_matt_plane_in_the_sun_is_albedo_times_irradiance() -> None:
    wall = transform(place=(0, 0, 4), scale=8)
    direction = np.array([0.5, 0.3, 1.0]) / np.linalg.norm([0.5, 0.3, 1.0])
    sun = Light(kind="sun", vector=tuple(direction), power=(3.0, 2.0, 1.0))
    texture = np.random.default_rng(0).integers(60, 250, (4, 4, 3), dtype=np.uint8)
    for looks, exact in ((GREY, True), (texture, False)):
        frame = render(scene_of(square(wall, texture=looks), lights=(sun,)), SIZE, samples=16)[0]
        expected = frame.albedo * np.array([3.0, 2.0, 1.0]) * direction[2] / np.pi
        if exact:
            assert frame.albedo == pytest.approx(((128 / 255 + 0.055) / 1.055) ** 2.4, rel=1e-4)
            np.testing.assert_allclose(frame.colour, expected, rtol=1e-4)
        else:
            np.testing.assert_allclose(frame.colour, expected, rtol=0.15)
            assert abs(frame.colour / expected - 1).mean() < 0.02


def test_albedo_is_the_renderers_own() -> None:
    """All looks: tiled, coated, of one colour, glowing, and the sky."""
    rng = np.random.default_rng(1)
    texture = rng.integers(10, 250, (8, 6, 3), dtype=np.uint8)
    scene = scene_of(
        square(transform(place=(-0.5, 0, 6), scale=2.2), texture=texture, tiles=2.5),
        square(transform(place=(0.8, 0.2, 4), scale=0.7), mesh=sphere(), texture=texture, roughness=0.2),
        square(transform(place=(-1, 0.5, 4), scale=0.5, turn=rotation((1, 1, 0), 0.6)), mesh=box()),
        square(transform(place=(0, -1, 4), scale=0.3), mesh=cylinder(), emission=5.0),
    )
    ours = look(scene, 0, SIZE)
    assert set(np.unique(ours.index)) == {-1, 0, 1, 2, 3}
    mi = require_mitsuba()
    bsdfs = rendering._bsdfs(mi, scene.objects)
    shapes = {
        f"object{i}": rendering._shape(mi, item, item.pose(0), bsdfs[i])
        for i, item in enumerate(scene.objects)
    }
    sampler = {"type": "stratified", "sample_count": 1, "jitter": False}
    fine = (SIZE[0] * 3, SIZE[1] * 3)
    sensor = rendering._sensor(mi, scene.cameras[0], scene.focal_ratio, fine, sampler)
    aov = {"type": "aov", "aovs": "al:albedo"}
    theirs = rendering._render(mi, mi.load_dict({"type": "scene", **shapes}), sensor, aov, 0)[..., :3]
    theirs = theirs.reshape(SIZE[0], 3, SIZE[1], 3, 3).mean((1, 3))
    np.testing.assert_allclose(ours.albedo, theirs, atol=1e-4)


def test_lamps_shine_without_albedo_and_are_clipped() -> None:
    lamp = square(transform(place=(0, 0, 4), scale=0.8), mesh=box(), emission=1e6)
    wall = square(transform(place=(0, 0, 6), scale=9))
    frame = render(scene_of(lamp, wall), SIZE, samples=2)[0]
    here = frame.index == 0
    assert here.any()
    assert not frame.albedo[12, 16].any()
    assert frame.colour[12, 16].tolist() == [1000, 1000, 1000]
    assert np.isfinite(frame.colour).all()


def test_colour_follows_the_seed_alone() -> None:
    scene = things(np.random.default_rng(0), Textures())
    scene = replace(scene, cameras=scene.cameras[:1])
    first, again, other = (render(scene, SIZE, samples=2, seed=seed)[0].colour for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_painting_adds_colour_to_the_labels() -> None:
    """The same as a rendering from scratch; other lights leave the labels as they are."""
    sky = np.ones((4, 8, 3), np.float32)
    scene = scene_of(square(PLANE), cameras=(CAMERA,), sky=sky)
    seen = look(scene, 0, SIZE)
    assert not seen.colour.any()
    painted = paint(scene, 0, seen, samples=4, seed=64 * 5)
    np.testing.assert_array_equal(painted.colour, render(scene, SIZE, samples=4, seed=5)[0].colour)
    for name in ("albedo", "position", "normal", "index"):
        assert getattr(painted, name) is getattr(seen, name)
    brighter = paint(replace(scene, sky=2 * sky), 0, seen, samples=4, seed=64 * 5)
    np.testing.assert_allclose(brighter.colour, 2 * painted.colour, rtol=0.02)  # the filter is not linear


def test_linear_is_the_standard_curve() -> None:
    values = linear(np.array([0, 10, 128, 255], np.uint8))
    assert values.tolist() == pytest.approx([0, 10 / 255 / 12.92, 0.215861, 1], rel=1e-5)


def test_mitsuba_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(ImportError, match=r"needs Mitsuba 3: pip install 'stablemtl\[synth\]'"):
        require_mitsuba()


def test_labels_of_every_world_agree_with_each_other(rendered: Callable[[str], Any]) -> None:
    for world in ("things", "rooms", "streets", "town", "hall", "garden"):
        scene, frames, motions = rendered(world)
        for frame in frames:
            assert frame.index.max() < len(scene.objects)
            assert frame.hit.mean() > 0.2
            assert (frame.depth[frame.hit] > 0).all()
            np.testing.assert_allclose(np.linalg.norm(frame.normal, axis=-1), frame.hit, atol=1e-4)
            assert 0 <= frame.albedo.min() <= frame.albedo.max() <= 1
            assert np.isfinite(frame.colour).all()
            assert frame.colour.mean() > 0.01
            image = frame.in_camera(frame.position)[frame.hit] @ frame.intrinsics.T
            np.testing.assert_allclose(image[:, :2] / image[:, 2:], pixels()[frame.hit][:, :2], atol=1e-2)
        assert len(motions) == (0 if world == "rooms" else len(frames) - 1)
        for seen, now, later in zip(motions, frames, frames[1:], strict=False):
            end = now.in_camera(now.position) + seen.scene_flow
            image = end @ later.intrinsics.T
            ahead = now.hit & (seen.depth_next > 0.1)
            np.testing.assert_allclose(
                (image[..., :2] / np.maximum(image[..., 2:], 0.1))[ahead],
                (seen.flow + pixels()[..., :2])[ahead],
                rtol=1e-3,
                atol=2e-2,
            )
