"""Clouds of points: positions by hand, what is left out, what the file says, and memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stablemtl.conversions import depth_to_disparity, normals_in, normals_to_opengl
from stablemtl.outputs import Prediction
from stablemtl.point_cloud import Camera, PointCloud, point_cloud
from stablemtl.tasks import TASKS, build_task

H, W = 8, 12


def depth_map(values: np.ndarray, **changes: object) -> Prediction:
    spec = build_task("depth", encoding="log").spec
    facts = {
        "task": "depth",
        "values": values.astype(np.float32),
        "valid": np.isfinite(values),
        "unit": "m",
        "convention": spec.convention,
        "scale_known": True,
        "shift_known": True,
    }
    return Prediction(**{**facts, **changes})  # type: ignore[arg-type]


def normal_map(vector: tuple[float, float, float], size: tuple[int, int] = (H, W)) -> Prediction:
    spec = TASKS["normal"].spec
    return Prediction(
        task="normal",
        values=np.broadcast_to(np.array(vector, np.float32), (*size, 3)).copy(),
        valid=np.ones(size, bool),
        unit=spec.unit,
        convention=spec.convention,
        scale_known=True,
        shift_known=True,
    )


CAMERA = Camera(2.0, 4.0, 2.5, 1.5, (H, W))
RAMP = depth_map(np.arange(1.0, 97.0).reshape(H, W))
PICTURE = (np.arange(H * W * 3) % 256).astype(np.uint8).reshape(H, W, 3)


# camera -----------------------------------------------------------------------------------------------------


def test_camera_from_field_of_view() -> None:
    camera = Camera.from_field_of_view((480, 640), 90.0)
    assert (camera.fx, camera.fy) == pytest.approx((320.0, 320.0))
    assert (camera.cx, camera.cy) == (319.5, 239.5)
    assert camera.field_of_view_deg == pytest.approx((2 * np.degrees(np.arctan(0.75)), 90.0))
    assert not camera.assumed
    tall = Camera.from_field_of_view((640, 480), 90.0)  # of the longer side
    assert tall.fx == pytest.approx(320.0)
    assert tall.field_of_view_deg[0] == pytest.approx(90.0)


def test_resized_camera_sees_the_same() -> None:
    camera = Camera(100.0, 110.0, 30.0, 20.0, (48, 64))
    half = camera.resized((24, 32))
    assert half == Camera(50.0, 55.0, 14.75, 9.75, (24, 32))
    assert half.field_of_view_deg == pytest.approx(camera.field_of_view_deg)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, 1.0, 0.0, 0.0, (4, 6)), "fx and fy above 0"),
        ((1.0, np.inf, 0.0, 0.0, (4, 6)), "finite"),
        ((1.0, 1.0, 0.0, 0.0, (4, 0)), r"size must be \(height, width\)"),
    ],
)
def test_cameras_that_are_none(numbers: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Camera(*numbers)


def test_angle_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 180, got 180"):
        Camera.from_field_of_view((4, 6), 180)


# points -----------------------------------------------------------------------------------------------------


def test_points_by_hand() -> None:
    cloud = point_cloud(RAMP, PICTURE, camera=CAMERA)
    assert len(cloud) == H * W
    assert cloud.points.dtype == np.float32
    # row 1, column 4 has depth 17: x = 17 * 1.5 / 2, y = 17 * -0.5 / 4
    assert cloud.points[1 * W + 4].tolist() == [12.75, -2.125, 17.0]
    assert (cloud.colors == PICTURE.reshape(-1, 3)).all()
    assert cloud.normals is None
    assert cloud.unit == "m"
    assert cloud.camera == CAMERA


def test_pixels_that_are_not_valid_are_left_out() -> None:
    values = RAMP.values.copy()
    values[0, 0], values[1, 1], values[2, 2] = 0.0, -3.0, np.nan
    valid = np.ones((H, W), bool)
    valid[3, 3] = False
    cloud = point_cloud(depth_map(values, valid=valid), PICTURE, camera=CAMERA)
    assert len(cloud) == H * W - 4
    kept = np.isfinite(values) & (values > 0) & valid
    assert (cloud.points[:, 2] == values[kept]).all()
    assert (cloud.colors == PICTURE[kept]).all()


def test_stride() -> None:
    cloud = point_cloud(RAMP, PICTURE, camera=CAMERA, stride=2, normal=normal_map((0, 0, 1)))
    assert cloud.points[:, 2].tolist() == RAMP.values[::2, ::2].ravel().tolist()
    assert cloud.points[7].tolist() == [27 * -0.25, 27 * 0.125, 27.0]  # row 2, column 2
    assert (cloud.colors == PICTURE[::2, ::2].reshape(-1, 3)).all()
    assert cloud.normals is not None
    assert len(cloud.normals) == len(cloud) == 24


@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_normals_point_to_the_camera_in_any_convention(axes: str) -> None:
    normal = normal_map((0.0, 0.6, 0.8))  # a floor that rises away from the camera
    if axes == "opengl":
        normal = normals_to_opengl(normal)
    normal.valid[0, 0] = False
    cloud = point_cloud(RAMP, PICTURE, camera=CAMERA, normal=normal)
    assert cloud.normals is not None
    np.testing.assert_allclose(cloud.normals[1:], np.tile([0.0, -0.6, -0.8], (H * W - 1, 1)), atol=1e-7)
    assert cloud.normals[0].tolist() == [0, 0, 0]
    outward = normals_in(normal, "opencv", outward=True)
    again = point_cloud(RAMP, PICTURE, camera=CAMERA, normal=outward)
    assert (again.normals == cloud.normals).all()


def test_normals_of_a_plane_are_at_right_angles_to_it() -> None:
    """Depth and normals of one plane: the cloud's normals are those of the plane through its points."""
    camera = Camera.from_field_of_view((20, 30), 70.0)
    rows, columns = np.mgrid[:20, :30]
    into = np.array([0.2, 0.9, 0.4]) / np.linalg.norm([0.2, 0.9, 0.4])
    along = camera.rays(rows, columns) @ into
    depth = np.where(along > 0.05, 1.5 / np.where(along > 0.05, along, 1.0), np.nan)
    cloud = point_cloud(depth_map(depth), None, camera=camera, normal=normal_map(tuple(into), (20, 30)))
    assert cloud.normals is not None
    np.testing.assert_allclose(cloud.points @ into, 1.5, rtol=1e-5)
    assert ((cloud.normals * cloud.points).sum(axis=1) < 0).all()  # towards the camera, at the origin


def test_stretched_points_are_left_out() -> None:
    values = np.full((H, W), 2.0)
    values[:, 3:] = 4.0
    values[:, 3] = 3.0  # smeared between near and far
    cloud = point_cloud(depth_map(values), PICTURE, camera=CAMERA, max_jump=0.05)
    assert len(cloud) == H * 9  # columns 0, 1, and 5 to 11
    assert set(cloud.points[:, 2].tolist()) == {2.0, 4.0}
    assert len(point_cloud(depth_map(values), PICTURE, camera=CAMERA, max_jump=0.6)) == H * W
    values[1, 1] = np.nan  # what is not valid is no jump
    assert len(point_cloud(depth_map(values), PICTURE, camera=CAMERA, max_jump=0.6)) == H * W - 1


def test_relative_depth_with_a_zero_gives_a_cloud_up_to_scale(tmp_path: Path) -> None:
    known_zero = replace(RAMP, unit="relative", scale_known=False)
    cloud = point_cloud(known_zero, PICTURE, camera=CAMERA)
    assert cloud.unit == "relative"
    assert cloud.facts()["scale_known"] is False
    header = cloud.save(tmp_path / "a.ply").read_bytes().partition(b"end_header")[0].decode()
    assert "comment unit: relative: right up to one unknown scale" in header
    with pytest.raises(ValueError, match="its zero is unknown"):
        point_cloud(replace(known_zero, shift_known=False), PICTURE, camera=CAMERA)


def test_colours_of_other_pictures() -> None:
    grey = np.full((H * 2, W * 2), 40000, np.uint16)
    assert (point_cloud(RAMP, grey, camera=CAMERA).colors == 156).all()  # 40000 / 257 = 155.6
    one_channel = np.full((8, 12), 7, np.uint8)
    same_size = depth_map(np.ones((8, 12)))
    assert (point_cloud(same_size, one_channel).colors == 7).all()
    without = point_cloud(RAMP, None, camera=CAMERA)
    assert (without.colors == np.asarray(RAMP.colorize()).reshape(-1, 3)).all()


def test_camera_of_another_size() -> None:
    cloud = point_cloud(RAMP, PICTURE, camera=CAMERA.resized((2 * H, 2 * W)))
    np.testing.assert_allclose(cloud.points, point_cloud(RAMP, PICTURE, camera=CAMERA).points, rtol=1e-6)


def test_unknown_camera_is_assumed_and_said(tmp_path: Path) -> None:
    cloud = point_cloud(RAMP, PICTURE)
    assert cloud.camera == Camera.from_field_of_view((H, W), 60.0, assumed=True)
    header = cloud.save(tmp_path / "a.ply").read_bytes().partition(b"end_header")[0].decode()
    assert "horizontal 60 degrees (ASSUMED, the camera is not known)" in header
    given = point_cloud(RAMP, PICTURE, camera=CAMERA).save(tmp_path / "b.ply").read_bytes()
    assert b"ASSUMED" not in given
    assert b"fx 2, fy 4, cx 2.5, cy 1.5, 12x8 px" in given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 0}, "stride must be 1 or more, got 0"),
        ({"max_jump": 0.0}, "max_jump must be above 0"),
        ({"camera": Camera(1.0, 1.0, 0.0, 0.0, (12, 8))}, "another aspect"),
        ({"normal": normal_map((0, 0, 1), (3, 3))}, r"normal must have the size of depth, \(8, 12\)"),
        ({"normal": replace(RAMP)}, "'depth' is no map of normals"),
        ({"depth": normal_map((0, 0, 1))}, "no point cloud can be made of 'normal': points need depth"),
        ({"depth": depth_to_disparity(RAMP)}, "points need depth"),
    ],
)
def test_what_makes_no_cloud(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        point_cloud(**{"depth": RAMP, "image": PICTURE, **change})


# file -------------------------------------------------------------------------------------------------------


def test_bytes_of_the_file(tmp_path: Path) -> None:
    cloud = PointCloud(
        points=np.array([[1, 2, 3]], np.float32),
        colors=np.array([[4, 5, 6]], np.uint8),
        normals=None,
        camera=CAMERA,
        unit="m",
    )
    header, _, body = cloud.save(tmp_path / "new" / "a.PLY").read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "comment made by stablemtl"]
    assert lines[-7] == "element vertex 1"
    assert lines[-6:] == [f"property float {n}" for n in "xyz"] + [
        f"property uchar {n}" for n in ("red", "green", "blue")
    ]
    assert body == np.array([1, 2, 3], "<f4").tobytes() + bytes([4, 5, 6])


def test_other_suffix_and_empty_cloud(tmp_path: Path) -> None:
    cloud = point_cloud(replace(RAMP, valid=np.zeros((H, W), bool)), PICTURE, camera=CAMERA)
    assert len(cloud) == 0
    assert b"element vertex 0" in cloud.save(tmp_path / "a.ply").read_bytes()
    with pytest.raises(ValueError, match=r"has the suffix \.ply"):
        cloud.save(tmp_path / "a.obj")


_LARGE = """
import resource, sys
import numpy as np
from stablemtl.outputs import Prediction
from stablemtl.point_cloud import point_cloud
from stablemtl.tasks import TASKS

size = int(sys.argv[2]), 2 * int(sys.argv[2])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
known = {"scale_known": True, "shift_known": True, "valid": np.ones(size, bool)}
depth = Prediction(task="depth", values=np.full(size, 2, np.float32), unit="m", convention="z", **known)
spec = TASKS["normal"].spec
vectors = np.zeros((*size, 3), np.float32)
vectors[:] = (0, 0, 1)
normal = Prediction(task="normal", values=vectors, unit=spec.unit, convention=spec.convention, **known)
picture = np.ones((*size, 3), np.uint8)
before = peak()
cloud = point_cloud(depth, picture, normal=normal, max_jump=0.1)
cloud.save(sys.argv[1])
own = cloud.points.nbytes + cloud.colors.nbytes + cloud.normals.nbytes
print(len(cloud), own, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="unit of the peak")
@pytest.mark.parametrize("height", [1024, pytest.param(2048, marks=pytest.mark.slow)])
def test_memory_is_a_few_times_that_of_the_cloud(tmp_path: Path, height: int) -> None:
    arguments = [sys.executable, "-c", _LARGE, str(tmp_path / "a.ply"), str(height)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    count, own, more = map(int, done.stdout.split())
    assert count == 2 * height**2
    assert own == 27 * count
    assert more < 3 * own, f"{more / 1e6:.0f} MB more for a cloud of {own / 1e6:.0f} MB"
    assert 27 * count < (tmp_path / "a.ply").stat().st_size < 27 * count + 2000
