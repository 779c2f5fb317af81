"""Hypersim: rendered indoor scenes with depth, normals, albedo and shading.

Source: Roberts et al., ICCV 2021, arXiv 2011.02523, github.com/apple/ml-hypersim. Read as downloaded::

    metadata_images_split_scene_v1.csv        here, or under evermotion_dataset/analysis/ or metadata/
    <scene>/_detail/<camera>/camera_keyframe_positions.hdf5
    <scene>/images/scene_<camera>_final_hdf5/frame.0000.{color,diffuse_reflectance}.hdf5
    <scene>/images/scene_<camera>_geometry_hdf5/frame.0000.{depth_meters,render_entity_id}.hdf5
    <scene>/images/scene_<camera>_geometry_hdf5/frame.0000.{normal_cam,normal_world,position}.hdf5

H, W: height and width of the frame, official or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.formats import read_hdf5
from stablemtl.data.hypersim_lists import (
    Frame,
    complete_frames_path,
    find_scenes,
    find_split_csv,
    keep_complete,
    read_complete_frames,
    read_split,
    write_complete_frames,
)
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, Mask, check_option
from stablemtl.data.sample import require_file

Scale = Literal["tonemap", "raw"]

OFFICIAL_FOCAL_PX, OFFICIAL_WIDTH_PX = 886.81, 1024
MIN_DEPTH_M, MAX_DEPTH_M = 1e-5, 65.0
MIN_ALBEDO = 0.004
GREY = (0.3, 0.59, 0.11)
GAMMA = 2.2
NO_ENTITY = -1


class Hypersim(DatasetReader[Frame]):
    """Frames of Hypersim with depth, normals, albedo or shading.

    The image is the release's tone-mapped rendering in sRGB, in 8-bit steps. Depth is planar z [m]; normals
    point away from the camera in OpenCV axes, and are zero where not valid.

    *Albedo and shading.* With s the tone-map's scale, the picture before its gamma is s * color = s *
    reflectance * shading, and s can go to either factor or to none. The default leaves it out ("raw",
    "raw"): albedo stays the physical reflectance, the same under any exposure, and shading is color /
    reflectance as in StableMTL's script, which clips little of it; their product is the picture up to the
    factor s, as the scale of shading is unknown anyway. StableMTL's script puts s into the albedo
    (``albedo_scale`` "tonemap", ``shading_scale`` "raw"), the ground truth of MIDIntrinsics into the
    shading ("raw", "tonemap"): of a picture of dark surfaces, more than half of that shading can be clipped
    to 1. With s in one factor, the product gives the picture as far as clipping to [0, 1] and the reduction
    of shading to grey allow.

    Args:
        root: folder of the unpacked download; see the head of this file.
        split: ``train``, ``val`` or ``test`` of the official split by scene; public frames only.
        scenes: names to restrict to, for a partial download; ``None`` takes all that the split names.
        albedo_scale: ``raw`` for clip(reflectance), ``tonemap`` for clip(s * reflectance).
        shading_scale: ``raw`` for clip(color / reflectance), ``tonemap`` for clip(s * color / reflectance).
    Raises:
        FileNotFoundError: no root, no split file, or a scene of the split has no folder.
        EmptySplitError: the split file names no frame of this split.
        ValueError: unknown split or scale, or a column is missing from the split file.
    """

    name = "hypersim"
    tasks = ("albedo", "shading", "depth", "normal")
    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        scenes: Sequence[str] | None = None,
        albedo_scale: Scale = "raw",
        shading_scale: Scale = "raw",
    ) -> None:
        check_option("albedo_scale", albedo_scale, ("tonemap", "raw"))
        check_option("shading_scale", shading_scale, ("tonemap", "raw"))
        super().__init__(root, split)
        self.albedo_scale, self.shading_scale = albedo_scale, shading_scale
        self.frames = read_split(find_split_csv(self.root), split, scenes)
        self._folders = find_scenes(self.root, split, {frame.scene for frame in self.frames})
        self._complete: Sequence[int] = range(len(self.frames))
        listed = complete_frames_path(self.root, split)
        if listed.is_file():
            self._complete = keep_complete(self.frames, read_complete_frames(listed))

    def indices(self, task: str) -> Sequence[int]:
        """All frames; without those whose depth has holes, if they are listed and ``task`` is not normals."""
        every = super().indices(task)
        return every if task == "normal" else self._complete

    def list_complete_frames(
        self, *, workers: int = 1, on_progress: Callable[[int], object] | None = None
    ) -> int:
        """Find the frames whose depth has no NaN, and keep the list beside the split file.

        From then on, depth, albedo and shading take these frames only, as in StableMTL. On the official
        train split they are 39,466 of 59,336.

        Args:
            workers: threads that read.
            on_progress: told the number of frames done.
        Returns:
            How many frames are complete.
        Raises:
            OSError: a depth file is missing or damaged; no list is written.
        """

        def is_complete(frame: Frame) -> bool:
            return not bool(np.isnan(self._read(frame, "depth_meters")).any())

        path = complete_frames_path(self.root, self.split)
        count = write_complete_frames(
            path, self.frames, is_complete, workers=workers, on_progress=on_progress
        )
        self._complete = keep_complete(self.frames, read_complete_frames(path))
        return count

    def read_frame(self, frame: Frame, task: str) -> LabelledFrame:
        """One frame with one label; see the class.

        Raises:
            ValueError: the file of the camera's positions has no row for the frame.
            FileNotFoundError: the split file names the frame, but a file of it is missing.
        """
        color = self._read_light(frame, "color")
        entity = self._read(frame, "render_entity_id")
        scale = tone_map_scale(color, entity != NO_ENTITY)
        if task == "depth":
            label, valid = self._depth(frame, entity)
        elif task == "normal":
            label, valid = self._normal(frame, entity)
        else:
            label, valid = self._intrinsic(frame, color, scale, task)
        key = f"{frame.scene}/{frame.camera}/{frame.number:04d}"
        return LabelledFrame(tone_map(color, scale), label, valid, key)

    def _depth(self, frame: Frame, entity: Floats) -> tuple[Floats, Mask]:
        z = planar_depth(self._read(frame, "depth_meters"))
        with np.errstate(invalid="ignore"):
            valid = (entity != NO_ENTITY) & (z > MIN_DEPTH_M) & (z < MAX_DEPTH_M)  # NaN compares as False
        return np.where(valid, z, 0.0), valid

    def _normal(self, frame: Frame, entity: Floats) -> tuple[Floats, Mask]:
        position = self._read(frame, "position").astype(np.float64)
        in_camera = self._read(frame, "normal_cam").astype(np.float64)
        in_world = self._read(frame, "normal_world").astype(np.float64)
        detail = self._folders[frame.scene] / "_detail" / frame.camera / "camera_keyframe_positions.hdf5"
        cameras = read_hdf5(require_file(detail, self.name, self.split))
        if frame.number >= len(cameras):
            raise ValueError(f"{detail} has {len(cameras)} rows, none for frame {frame.number}.")
        known = (entity != NO_ENTITY) & np.isfinite(np.abs(position).max(-1))
        return outward_normals(in_camera, in_world, cameras[frame.number] - position, known)

    def _intrinsic(self, frame: Frame, color: Floats, scale: float, task: str) -> tuple[Floats, Mask]:
        reflectance = self._read_light(frame, "diffuse_reflectance")
        albedo = clip_to_unit(reflectance * (scale if self.albedo_scale == "tonemap" else 1.0))
        valid = (albedo.min(-1) >= MIN_ALBEDO) & ~np.isnan(color.max(-1))
        if task == "albedo":
            return albedo, valid
        # Divide by what the albedo label is made of, so that the product of the labels gives the picture.
        divisor = clip_to_unit(reflectance) if self.albedo_scale == "raw" else np.nan_to_num(reflectance)
        light = color * (scale if self.shading_scale == "tonemap" else 1.0) / (divisor + 1e-6)
        return clip_to_unit(light) @ np.asarray(GREY, np.float32), valid

    def _read_light(self, frame: Frame, kind: str) -> Floats:
        """Radiance or reflectance (H, W, 3), not negative; lamps that overflow half floats become 10^6."""
        return np.clip(self._read(frame, kind).astype(np.float32), 0.0, 1e6)

    def _read(self, frame: Frame, kind: str) -> Floats:
        group = "final" if kind in ("color", "diffuse_reflectance") else "geometry"
        folder = self._folders[frame.scene] / "images" / f"scene_{frame.camera}_{group}_hdf5"
        path = require_file(folder / f"frame.{frame.number:04d}.{kind}.hdf5", self.name, self.split)
        return read_hdf5(path)


def tone_map_scale(color: Floats, valid: Mask) -> float:
    """Exposure that brings the 90th percentile of the brightness of valid pixels to 0.8 after the gamma.

    Source: the release's tone mapping; 1 without a valid pixel, 0 for a picture that is black.
    """
    if not valid.any():
        return 1.0
    percentile = float(np.percentile(np.nan_to_num(color[valid]) @ np.asarray(GREY, np.float32), 90))
    return 0.0 if percentile < 1e-4 else 0.8**GAMMA / percentile


def tone_map(color: Floats, scale: float) -> NDArray[np.uint8]:
    """Linear HDR colour (H, W, 3) to 8-bit sRGB: floor(255 * clip((scale * color)^(1/2.2)))."""
    return np.floor(255.0 * clip_to_unit(color * scale) ** (1.0 / GAMMA)).astype(np.uint8)


def planar_depth(distance: Floats) -> Floats:
    """Distance from the camera's centre [m] to depth along its axis [m], (H, W); NaN stays NaN.

    The focal length is 886.81 px at a width of 1024, and in proportion at any other; the principal point is
    the middle of the frame.
    """
    height, width = distance.shape
    focal = OFFICIAL_FOCAL_PX * width / OFFICIAL_WIDTH_PX
    x = np.arange(width)[None, :] - (width - 1) / 2
    y = np.arange(height)[:, None] - (height - 1) / 2
    return distance.astype(np.float64) * (focal / np.sqrt(x**2 + y**2 + focal**2))


def outward_normals(
    in_camera: Floats, in_world: Floats, to_camera: Floats, known: Mask
) -> tuple[Floats, Mask]:
    """Hypersim's normals turned to point away from the camera, in OpenCV axes.

    Stored normals are in axes x right, y up, z towards the viewer, and some look away from the camera: those
    are turned first (a world normal at an obtuse angle to the direction of the camera). The outward OpenCV
    vector (x right, y down, z forward) is then the stored one with x negated.

    Args:
        in_camera, in_world: stored normals, shape (H, W, 3).
        to_camera: from the surface point to the camera, world axes, shape (H, W, 3).
        known: pixels that show a surface, shape (H, W).
    Returns:
        Unit normals, zero where not valid, and validity.
    """
    length = np.linalg.norm(in_camera, axis=-1)
    with np.errstate(invalid="ignore"):
        valid = known & (length > 1e-6) & (np.linalg.norm(in_world, axis=-1) > 1e-6)
        away = (in_world * to_camera).sum(-1) < 0
    sign = np.where(away, -1.0, 1.0)[..., None] * np.array([-1.0, 1.0, 1.0])
    unit = np.nan_to_num(in_camera) / np.where(valid, length, 1.0)[..., None]
    return np.where(valid[..., None], unit * sign, 0.0), valid


def clip_to_unit(values: Floats) -> Floats:
    """Clipped to [0, 1]; NaN becomes 0."""
    return np.clip(np.nan_to_num(values), 0.0, 1.0)
