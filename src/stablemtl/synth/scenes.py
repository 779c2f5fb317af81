"""What a synthetic scene is: objects, lights and cameras at a few instants, free of any renderer.

World axes: z up, lengths in metres. Camera axes: OpenCV (x right, y down, z forward).
Legend: T instants (frames of the scene).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.shapes import Mesh

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """A textured mesh that moves rigidly."""

    mesh: Mesh
    """Triangles in object space."""
    poses: tuple[Array, ...]
    """Object-to-world matrices (4, 4), one per instant, or a single one for a static object."""
    texture: NDArray[np.uint8]
    """sRGB surface colour, shape (H, W, 3)."""
    tiles: float = 1.0
    """Repetitions of the texture over the texture coordinates."""
    roughness: float | None = None
    """Roughness of a plastic coat; ``None`` is a matt surface."""
    emission: float = 0.0
    """Radiance of a lamp's surface; 0 for everything else."""
    label: str = "Misc"
    """Class name, in Virtual KITTI 2's vocabulary."""

    def pose(self, instant: int) -> Array:
        """Object-to-world matrix at an instant, shape (4, 4)."""
        return self.poses[instant] if len(self.poses) > 1 else self.poses[0]


@dataclass(frozen=True, kw_only=True)
class Light:
    """A point light or the sun."""

    kind: str
    """``point`` or ``sun``."""
    vector: tuple[float, float, float]
    """Position of a point light [m]; travelling direction of sunlight."""
    power: tuple[float, float, float]
    """Linear RGB intensity (point) or irradiance (sun)."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything a renderer needs."""

    objects: tuple[SceneObject, ...]
    cameras: tuple[Array, ...]
    """Camera-to-world matrices (4, 4), OpenCV axes, one per instant."""
    focal_ratio: float
    """Focal length divided by the image width."""
    lights: tuple[Light, ...] = ()
    sky: NDArray[np.float32] | None = None
    """Linear RGB environment map (H, 2H, 3), zenith first; ``None`` for a closed scene."""

    @property
    def labels(self) -> list[str]:
        """Class names of the objects, then that of the sky, whose number is -1."""
        return [*(item.label for item in self.objects), "Sky"]


def transform(
    *,
    place: tuple[float, float, float] | Array = (0.0, 0.0, 0.0),
    scale: float | tuple[float, ...] | Array = 1.0,
    turn: Array | None = None,
) -> Array:
    """4x4 matrix that scales, then turns (3x3 rotation), then moves to a place [m]."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if turn is None else turn) * np.broadcast_to(np.asarray(scale, float), (3,))
    matrix[:3, 3] = place
    return matrix


def rotation(axis: Array | tuple[float, float, float], angle: float) -> Array:
    """Rotation matrix (3, 3) by an angle [rad] about an axis of any length."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def random_rotation(rng: np.random.Generator, largest: float = np.pi) -> Array:
    """Rotation matrix about a random axis by a random angle up to ``largest`` [rad]."""
    return rotation(rng.normal(size=3), rng.uniform(-largest, largest))


def look_at(eye: Array | tuple[float, ...], target: Array | tuple[float, ...], roll: float = 0.0) -> Array:
    """Camera-to-world matrix (4, 4), OpenCV axes, world z up; ``roll`` [rad] turns about the viewing axis."""
    eye, target = np.asarray(eye, float), np.asarray(target, float)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    camera = np.eye(4)
    camera[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1) @ rotation((0, 0, 1), roll)
    camera[:3, 3] = eye
    return camera


def intrinsics(focal_ratio: float, size: tuple[int, int]) -> Array:
    """Pinhole matrix (3, 3) [px] of an image of ``size`` (height, width).

    Coordinates count pixels: (0, 0) is the centre of the first one.
    """
    height, width = size
    focal_px = focal_ratio * width
    return np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])


def gradient_sky(
    rng: np.random.Generator, brightness: float = 1.0, clouds: float | None = None, height: int = 32
) -> NDArray[np.float32]:
    """Environment map, linear RGB (H, 2H, 3): blue or grey, brighter at the horizon, with random clouds.

    Args:
        rng: decides everything random.
        brightness: factor on all values.
        clouds: amount of clouds, from 0 to about 1.2; ``None`` draws it.
        height: H [px].
    """
    from stablemtl.synth.textures import noise

    zenith = np.array([0.18, 0.35, 0.75]) * rng.uniform(0.7, 1.3)
    horizon = np.array([0.7, 0.8, 0.95]) * rng.uniform(0.8, 1.2)
    grey = rng.beta(1, 2)
    elevation = np.clip(np.linspace(1, -1, height), 0, 1)[:, None, None] ** rng.uniform(0.3, 0.9)
    sky = np.repeat(horizon + (zenith - horizon) * elevation, 2 * height, 1)
    sky = sky + grey * (sky.mean(-1, keepdims=True) - sky)
    amount = rng.uniform(0, 0.8) if clouds is None else clouds
    cover = np.clip(noise(rng, 2 * height)[:height] * 2 - 1.2 + amount, 0, 1)[..., None]
    sky = sky * (1 - cover) + cover * rng.uniform(0.6, 1.0)
    return np.asarray(brightness * sky, np.float32)
