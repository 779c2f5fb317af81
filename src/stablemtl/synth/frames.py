"""What a rendered scene gives: frames with exact labels, the motion between them, and pictures to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.scenes import Array, Scene

_EXPOSED = 0.8  # brightness given to the 90th percentile, as Hypersim's tone map does
_GREY = np.array([0.3, 0.59, 0.11])
_FAR_M = 1e4  # distance given to the sky for its motion


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One instant of a scene, seen by the camera. Arrays have the image's (H, W)."""

    colour: NDArray[np.float32]
    """Linear RGB radiance (H, W, 3)."""
    albedo: NDArray[np.float32]
    """Linear RGB reflectance in [0, 1] (H, W, 3), averaged over the pixel; 0 on the sky and on lamps."""
    position: NDArray[np.float32]
    """World position (H, W, 3) [m]; 0 on the sky."""
    normal: NDArray[np.float32]
    """World normal turned to the camera (H, W, 3); 0 on the sky."""
    index: NDArray[np.int64]
    """Object number in ``scene.objects``, -1 on the sky (H, W)."""
    camera: Array
    """Camera-to-world matrix (4, 4), OpenCV axes."""
    intrinsics: Array
    """Pinhole matrix (3, 3)."""

    @property
    def hit(self) -> NDArray[np.bool_]:
        """True where a surface is seen (H, W)."""
        return self.index >= 0

    def in_camera(self, points: NDArray[Any]) -> Array:
        """World points (H, W, 3) [m] in this camera's axes."""
        return np.asarray((points - self.camera[:3, 3]) @ self.camera[:3, :3])

    @property
    def normal_to_viewer(self) -> NDArray[np.float64]:
        """Normals in the axes of Hypersim and DIODE: x right, y up, z to the viewer (H, W, 3)."""
        return np.asarray((self.normal @ self.camera[:3, :3]) * [1, -1, -1])

    @property
    def depth(self) -> NDArray[np.float32]:
        """Planar depth (H, W) [m]; 0 on the sky."""
        return np.where(self.hit, self.in_camera(self.position)[..., 2], 0).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves between an instant and a later one, on the pixels of the first."""

    flow: NDArray[np.float32]
    """Optical flow (H, W, 2), u right and v down [px]; the sky turns with the camera."""
    scene_flow: NDArray[np.float32]
    """P_j - P_i, each in its own camera's axes (H, W, 3) [m]; 0 on the sky."""
    depth_next: NDArray[np.float32]
    """Planar depth of the moved point in the later camera (H, W) [m]; 0 on the sky."""
    occluded: NDArray[np.bool_]
    """True where the point is hidden or outside in the later frame (H, W)."""


def motion(scene: Scene, frames: list[Frame], instant: int) -> Motion:
    """Motion from one instant to the next, from the poses of the objects and of the camera.

    Args:
        scene: what was rendered.
        frames: its instants, as from ``render``.
        instant: number of the earlier one.
    """
    now, later = frames[instant], frames[instant + 1]
    height, width = now.index.shape
    carry = np.stack(
        [item.pose(instant + 1) @ np.linalg.inv(item.pose(instant)) for item in scene.objects] + [np.eye(4)]
    )
    row, col = np.mgrid[0:height, 0:width].astype(float)
    ray = np.stack([col, row, np.ones_like(row)], -1) @ np.linalg.inv(now.intrinsics).T
    far = now.camera[:3, 3] + _FAR_M * ray @ now.camera[:3, :3].T
    position = np.where(now.hit[..., None], now.position, far)
    matrix = carry[now.index]
    moved = np.einsum("hwij,hwj->hwi", matrix[..., :3, :3], position) + matrix[..., :3, 3]
    before, after = now.in_camera(position), later.in_camera(moved)
    depth_next = after[..., 2]
    pixel = after @ later.intrinsics.T
    pixel = pixel[..., :2] / np.maximum(pixel[..., 2:], 1e-6)
    flow = pixel - np.stack([col, row], -1)
    seen = np.rint(pixel).astype(int)
    inside = (seen >= 0).all(-1) & (seen[..., 0] < width) & (seen[..., 1] < height) & (depth_next > 1e-3)
    there = later.depth[np.clip(seen[..., 1], 0, height - 1), np.clip(seen[..., 0], 0, width - 1)]
    there = np.where(there > 0, there, np.inf)
    hidden = depth_next > there * 1.03 + 0.02
    hit = now.hit[..., None]
    return Motion(
        flow=flow.astype(np.float32),
        scene_flow=np.where(hit, after - before, 0).astype(np.float32),
        depth_next=np.where(now.hit, depth_next, 0).astype(np.float32),
        occluded=~inside | hidden,
    )


def exposure(colour: NDArray[np.float32]) -> float:
    """Scale s that brings the 90th percentile of the brightness to 0.8 after a gamma of 1/2.2."""
    bright = float(np.percentile(colour @ _GREY, 90))
    return _EXPOSED**2.2 / bright if bright > 1e-4 else 0.0


def to_srgb8(colour: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    """Linear radiance (H, W, 3) to 8 bits with a gamma of 1/2.2."""
    return np.asarray(255 * np.clip(np.maximum(colour * scale, 0) ** (1 / 2.2), 0, 1), np.uint8)
