"""Runs the checks of :mod:`stablemtl.evaluation.label_free` on photographs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stablemtl.camera import Camera
from stablemtl.confidence.agreement import follow
from stablemtl.confidence.cross_task import cross_task
from stablemtl.confidence.maps import ConsistencyMap
from stablemtl.evaluation.label_free import (
    FIELD_OF_VIEW_DEG,
    Check,
    forward_backward,
    intrinsics,
    normals_and_depth,
    photometric,
)
from stablemtl.images import read_pixels, to_tensor
from stablemtl.outputs import Prediction

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

SKIMAGE = "skimage"
"""In place of a file: the photographs that come with scikit-image, and its stereo pair."""

DRAWN = 30
"""Pictures whose maps are drawn, so that a page of many can still be opened."""

_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")

Picture = np.ndarray
Pair = tuple[Picture, Picture | None]


def read_pictures(files: Sequence[str | os.PathLike[str]], *, sequence: bool = False) -> dict[str, Pair]:
    """Name -> frame, and the next frame if there is one.

    Args:
        files: pictures, or ``skimage``.
        sequence: the files are frames that follow each other, each a pair with the next.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, no file, or a sequence of fewer than two or of different sizes.
    """
    if not files:
        raise ValueError(f"name at least one picture, or {SKIMAGE!r}.")
    if sequence:
        frames = [(Path(file).name, read_pixels(file)) for file in files]
        if len(frames) < 2:
            raise ValueError("a sequence needs at least two pictures.")
        sizes = {pixels.shape[:2] for _, pixels in frames}
        if len(sizes) > 1:
            raise ValueError(f"frames of a sequence must have one size, got {sorted(sizes)} (height, width).")
        return {
            f"{name} to {following}": (pixels, after)
            for (name, pixels), (following, after) in pairwise(frames)
        }
    found: dict[str, Pair] = {}
    for file in files:
        if os.fspath(file) == SKIMAGE:
            found.update(_photographs())
        else:
            found[os.fspath(file)] = (read_pixels(file), None)
    return found


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One picture, or pair: what its checks found, and pictures of it."""

    checks: tuple[Check, ...]
    frames: dict[str, Image.Image] = field(default_factory=dict)
    """Title -> frame at the size of the maps."""
    maps: dict[str, Image.Image] = field(default_factory=dict)
    """Task -> its map in colours."""
    agreement: dict[str, ConsistencyMap] = field(default_factory=dict)
    """Name of the check -> where the maps agree."""


def check_pictures(
    pipe: StableMTLPipeline, pictures: Mapping[str, Pair], *, field_of_view_deg: float = FIELD_OF_VIEW_DEG
) -> dict[str, list[Check]]:
    """The checks that a model and each picture allow.

    Albedo x shading, and normals against depth, on every picture; flow on pairs. A check is left out where
    the model lacks a task, or does not know its scale.

    Args:
        pipe: predicts at its default resolution; maps are compared at the size that they were computed at,
            motion in px of that size.
        pictures: of :func:`read_pictures`.
        field_of_view_deg: of the longer side of the pictures.
    Returns:
        Name of the picture -> checks.
    """
    found = examine_pictures(pipe, pictures, field_of_view_deg=field_of_view_deg, draw=0)
    return {name: list(examined.checks) for name, examined in found.items()}


def examine_pictures(
    pipe: StableMTLPipeline,
    pictures: Mapping[str, Pair],
    *,
    field_of_view_deg: float = FIELD_OF_VIEW_DEG,
    draw: int = DRAWN,
) -> dict[str, Examined]:
    """As :func:`check_pictures`, with pictures of the maps and of where they agree for the first ``draw``."""
    return {
        name: _examine(pipe, *pair, field_of_view_deg, draw=number < draw)
        for number, (name, pair) in enumerate(pictures.items())
    }


def _examine(
    pipe: StableMTLPipeline,
    image: Picture,
    image_next: Picture | None,
    field_of_view_deg: float,
    *,
    draw: bool,
) -> Examined:
    specs = {name: task.spec for name, task in pipe.tasks.items()}
    moving = image_next is not None and "optical_flow" in specs and specs["optical_flow"].scale_known
    single = [name for name in ("normal", "depth", "shading", "albedo") if name in specs]
    wanted = [*single, "optical_flow"] if moving else single
    maps = pipe(image, image_next, tasks=wanted, match_input_resolution=False)
    size = next(iter(maps.values())).size
    frames = {"picture": _at(image, size)}
    checks: list[Check] = []
    agreement: dict[str, ConsistencyMap] = {}
    if moving:
        assert image_next is not None
        frames["next picture"] = _at(image_next, size)
        back = pipe(image_next, image, tasks=["optical_flow"], match_input_resolution=False)["optical_flow"]
        flow = maps["optical_flow"]
        checks.append(forward_backward(flow, back))
        agreement[checks[-1].name] = _gap(flow, back)
        checks.append(photometric(frames["picture"], frames["next picture"], flow))
    if {"albedo", "shading"} <= maps.keys():
        checks.append(intrinsics(frames["picture"], maps["albedo"], maps["shading"]))
    if {"normal", "depth"} <= maps.keys() and maps["depth"].shift_known:
        checks.append(normals_and_depth(maps["normal"], maps["depth"], field_of_view_deg=field_of_view_deg))
    if not draw:
        return Examined(checks=tuple(checks))
    camera = Camera.from_field_of_view(size, field_of_view_deg)
    across = cross_task(maps, image, image_next if moving else None, camera=camera)
    agreement |= {_CHECK_OF[name]: one for name, one in across.items() if name in _CHECK_OF}
    return Examined(
        checks=tuple(checks),
        frames={name: _as_image(pixels) for name, pixels in frames.items()},
        maps={name: one.colorize() for name, one in maps.items()},
        agreement={check.name: agreement[check.name] for check in checks if check.name in agreement},
    )


_CHECK_OF = {
    "normal_depth": "normals and depth",
    "albedo_shading": "albedo x shading",
    "flow_image": "flow, colours",
}
"""Name of a consistency map -> name of the check that is its mean."""


def _gap(forward: Prediction, backward: Prediction) -> ConsistencyMap:
    """How far from where it started each pixel ends, there and back [px]."""
    there = forward.values.astype(np.float64)
    returned, inside = follow(backward.values, there)
    gap = np.linalg.norm(there + returned, axis=-1)
    convention = "distance from a pixel to where the flow there and back leads [px]."
    return ConsistencyMap.of("there_and_back", gap, inside & forward.valid, "px", convention)


def _at(pixels: Picture, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) in [0, 1], as the network sees it."""
    return to_tensor(pixels, size).permute(1, 2, 0).numpy()


def _as_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * pixels).round().astype(np.uint8))


def _photographs() -> dict[str, Pair]:
    from skimage import data  # slow import

    found: dict[str, Pair] = {f"skimage {name}": (getattr(data, name)(), None) for name in _PHOTOGRAPHS}
    left, right, _ = data.stereo_motorcycle()
    return {**found, "skimage motorcycle": (left, right)}
