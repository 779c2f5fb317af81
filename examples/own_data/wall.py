"""A picture on a tilted wall, lit by a lamp and seen twice: everything about it is known exactly.

Camera axes are x right, y down, z forward; the first camera stands in the origin. H, W: size of the frames.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

Array = np.ndarray


class Wall(NamedTuple):
    """What two frames of a wall show, and the labels of the first one."""

    image: Array  # (H, W, 3) uint8
    image_next: Array
    albedo: Array  # (H, W, 3) linear, the paint
    shading: Array  # (H, W) linear, the light, 1 at its brightest
    depth_m: Array  # (H, W) along the optical axis
    normal: Array  # (H, W, 3) unit vectors away from the camera
    flow_px: Array  # (H, W, 2)
    scene_flow_m: Array  # (H, W, 3)


def photograph(picture: Array, rng: np.random.Generator, size: tuple[int, int]) -> Wall:
    """Hang a picture, (h, w, 3) uint8 sRGB, at a random tilt, and take two frames with a moving camera."""
    height, width = size
    focal_px = 0.9 * width
    yaw, pitch = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5)
    normal = np.array([np.sin(yaw), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    normal /= np.linalg.norm(normal)
    middle = np.array([0.0, 0.0, rng.uniform(1.2, 3.0)])
    lamp = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 0.5), rng.uniform(-0.5, 0.5)])
    texture = cv2.resize(
        to_linear(middle_part(picture, size)), (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )

    def look(rotation: Array, position: Array) -> tuple[Array, Array]:
        """Points of the wall (H, W, 3) and their depths (H, W) from a camera x = rotation (X - position)."""
        columns, rows = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
        rays = np.stack([columns, rows, np.full(size, focal_px)], axis=-1) / focal_px @ rotation
        depth = (middle - position) @ normal / (rays @ normal)
        return position + depth[..., None] * rays, depth

    def paint(points: Array) -> Array:
        across = np.cross([0.0, 1.0, 0.0], normal)
        across /= np.linalg.norm(across)
        down = np.cross(normal, across)
        px_per_m = 1.6 * width / middle[2]
        place = [(points - middle) @ axis * px_per_m for axis in (across, down)]
        maps = [(p + side).astype(np.float32) for p, side in zip(place, (width, height), strict=True)]
        return cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    def light(points: Array) -> Array:
        """Lambert's law: the cosine to the lamp, divided by the square of its distance."""
        to_lamp = lamp - points
        distance = np.linalg.norm(to_lamp, axis=-1)
        return np.maximum(to_lamp @ -normal, 0.0) / distance**3

    rotation = cv2.Rodrigues(rng.uniform(-0.03, 0.03, 3))[0]
    position = rng.uniform(-0.08, 0.08, 3)
    points, depth = look(np.eye(3), np.zeros(3))
    points_next, _ = look(rotation, position)
    brightest = light(points).max()
    moved = (points - position) @ rotation.T  # the first frame's points in the second camera's axes
    return Wall(
        image=to_srgb8(paint(points) * light(points)[..., None] / brightest),
        image_next=to_srgb8(paint(points_next) * light(points_next)[..., None] / brightest),
        albedo=paint(points),
        shading=light(points) / brightest,
        depth_m=depth,
        normal=np.broadcast_to(normal, (*size, 3)),
        flow_px=focal_px * (moved[..., :2] / moved[..., 2:] - points[..., :2] / points[..., 2:]),
        scene_flow_m=moved - points,
    )


def middle_part(picture: Array, size: tuple[int, int]) -> Array:
    """The largest part around the middle that has the proportions of ``size``."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = (round(side * scale) for side in size)
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[top : top + rows, left : left + columns]


def to_linear(picture: Array) -> Array:
    """8-bit sRGB (IEC 61966-2-1) to linear values in [0, 1]."""
    code = picture.astype(np.float32) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def to_srgb8(linear: Array) -> Array:
    """Linear values to 8-bit sRGB, clipped at white."""
    clipped = np.clip(linear, 0, 1)
    code = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.round(255 * code).astype(np.uint8)
