"""Runs the checks of :mod:`stablemtl.evaluation.label_free` on photographs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemtl.evaluation.label_free import (
    FIELD_OF_VIEW_DEG,
    Check,
    forward_backward,
    intrinsics,
    normals_and_depth,
    photometric,
)
from stablemtl.images import read_pixels, to_tensor

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

SKIMAGE = "skimage"
"""In place of a file: the photographs that come with scikit-image, and its stereo pair."""

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
    return {name: _checks(pipe, *pair, field_of_view_deg) for name, pair in pictures.items()}


def _checks(
    pipe: StableMTLPipeline, image: Picture, image_next: Picture | None, field_of_view_deg: float
) -> list[Check]:
    specs = {name: task.spec for name, task in pipe.tasks.items()}
    moving = image_next is not None and "optical_flow" in specs and specs["optical_flow"].scale_known
    single = [name for name in ("normal", "depth", "shading", "albedo") if name in specs]
    wanted = [*single, "optical_flow"] if moving else single
    maps = pipe(image, image_next, tasks=wanted, match_input_resolution=False)
    size = next(iter(maps.values())).size
    checks = []
    if moving:
        assert image_next is not None
        back = pipe(image_next, image, tasks=["optical_flow"], match_input_resolution=False)["optical_flow"]
        flow = maps["optical_flow"]
        checks.append(forward_backward(flow, back))
        checks.append(photometric(_at(image, size), _at(image_next, size), flow))
    if {"albedo", "shading"} <= maps.keys():
        checks.append(intrinsics(_at(image, size), maps["albedo"], maps["shading"]))
    if {"normal", "depth"} <= maps.keys() and maps["depth"].shift_known:
        checks.append(normals_and_depth(maps["normal"], maps["depth"], field_of_view_deg=field_of_view_deg))
    return checks


def _at(pixels: Picture, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) in [0, 1], as the network sees it."""
    return to_tensor(pixels, size).permute(1, 2, 0).numpy()


def _photographs() -> dict[str, Pair]:
    from skimage import data  # slow import

    found: dict[str, Pair] = {f"skimage {name}": (getattr(data, name)(), None) for name in _PHOTOGRAPHS}
    left, right, _ = data.stereo_motorcycle()
    return {**found, "skimage motorcycle": (left, right)}
