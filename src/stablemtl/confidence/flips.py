"""Mirror images: predict them too, mirror the maps back, average, and keep how far they are apart.

Letters: K versions of the image; C channels of a map; H, W its height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stablemtl.confidence.maps import ConsistencyMap
from stablemtl.frames import Frame
from stablemtl.images import ImageSource, read_pixels
from stablemtl.names import choose
from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks.base import Task, TaskSpec
from stablemtl.tasks.geometry import unit_vectors
from stablemtl.tasks.reductions import (
    angle_deg,
    least_squares_scale_and_shift,
    non_negative_scale,
    vector_length,
)

if TYPE_CHECKING:
    from stablemtl.large_images.predict import Pipeline

FLIPS: dict[str, int] = {"horizontal": 1, "vertical": 0}
"""Name of each flip -> axis of an image (H, W, C) that it turns round."""


def predict_with_flips(
    pipe: Pipeline,
    image: ImageSource,
    image_next: ImageSource | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    flips: str | Sequence[str] = ("horizontal",),
    **options: Any,
) -> tuple[Predictions, dict[str, ConsistencyMap]]:
    """Maps averaged over the image and its mirror images, and how far these are apart.

    1. The image and each mirror image (both frames, for two) go through the pipeline, computed together.
    2. Each map is mirrored back by the rule of its task: x of a normal and u of a flow change their sign.
    3. Where a task leaves its scale open, or its zero, a mirror image's map is brought to the image's own by
       least squares: scale and shift for relative depth, one scale for shading and albedo, one per channel
       for relative motion. Scales are 0 or more.
    4. Numbers: the mean; directions at length 1 again. Class ids cannot be mixed, nor can the colours that
       they are decoded from: the class of most versions, the image's own where none has more. So with one
       flip classes stay as they are, and only their disagreement is new.

    Vertical flips turn the world upside down: the sky is below, and light comes from there. A network that
    has never seen that is worse at it, and so is the mean; they are off unless asked for.

    Args:
        pipe: a ``StableMTLPipeline``, or anything that is called like one.
        image: path, PIL image, array or tensor, see :mod:`stablemtl.images`; one image.
        image_next: the frame after it, of its size.
        tasks: names of the maps wanted; all by default.
        flips: ``horizontal``, ``vertical`` or both (the image, and each of the two mirror images).
        options: of the pipeline's call. ``batch_size=1`` computes one version after the other, in the memory
            of a single prediction.
    Returns:
        The maps, whose ``source["flips"]`` names the flips; and task -> spread, the root of the mean square
        distance of the versions from their mean, with two versions half their distance: in the unit of the
        task, for directions in deg; for classes 1 where versions differ, else 0. Depth in metres spreads in
        metres: divide by the depth to compare near with far. Two versions cross somewhere: thin dark lines in
        the spread are no islands of certainty.
    Raises:
        FileNotFoundError: no such image file.
        ValueError: an unknown flip, or none; two frames of different sizes; or what the pipeline refuses.
        TypeError: several images, or one that was encoded before, which cannot be mirrored.
    """
    names = _check_flips(flips)
    first = _read(image, "image")
    second = None if image_next is None else _read(image_next, "image_next")
    if second is not None and second.shape[:2] != first.shape[:2]:
        raise ValueError(
            f"image_next must have the size of image, {first.shape[1]}x{first.shape[0]} px "
            f"(width x height), got {second.shape[1]}x{second.shape[0]} px."
        )
    images = [first, *(_mirrored(first, name) for name in names)]
    following = None if second is None else [second, *(_mirrored(second, name) for name in names)]
    versions: list[Predictions] = pipe(images, following, tasks, **options)

    maps, spread = {}, {}
    for task, own in versions[0].items():
        maps[task], spread[task] = _combined(pipe.tasks[task], names, [own, *(v[task] for v in versions[1:])])
    source = {**versions[0].source, "flips": list(names)}
    return Predictions(maps, frames=versions[0].frames, source=source), spread


def _check_flips(flips: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([flips] if isinstance(flips, str) else flips))
    if not names:
        raise ValueError(f"flips is empty; choose from {', '.join(FLIPS)}.")
    for name in names:
        choose("flip", name, FLIPS)
    return names


def _read(source: Any, name: str) -> np.ndarray:
    if isinstance(source, list | tuple):
        raise TypeError(
            f"{name} must be one image, got a list; mirror images of several are predicted apart."
        )
    if isinstance(source, Frame):
        raise TypeError(f"{name} was encoded before and cannot be mirrored. Give the image itself.")
    return read_pixels(source, name=name)


def _mirrored(pixels: np.ndarray, flip: str) -> np.ndarray:
    return np.ascontiguousarray(np.flip(pixels, FLIPS[flip]))


def _combined(
    task: Task, flips: Sequence[str], versions: Sequence[Prediction]
) -> tuple[Prediction, ConsistencyMap]:
    """One task's map, and its spread; ``versions`` begin with the image's own."""
    back: list[Callable[[Tensor], Tensor]] = [
        task.hflip if name == "horizontal" else task.vflip for name in flips
    ]
    own = versions[0]
    maps = [_tensor(own.values)]
    maps += [undo(_tensor(one.values)) for undo, one in zip(back, versions[1:], strict=True)]  # (C, H, W)
    valid = [own.valid]
    valid += [np.flip(one.valid, FLIPS[name]) for name, one in zip(flips, versions[1:], strict=True)]
    everywhere = np.logical_and.reduce(valid)
    if own.values.dtype.kind in "iu":
        joined, spread = _vote(torch.stack(maps))
    else:
        usable = torch.from_numpy(everywhere)
        maps = [
            maps[0].double(),
            *(_aligned(one.double(), maps[0].double(), usable, task.spec) for one in maps[1:]),
        ]
        known = torch.stack([torch.from_numpy(np.ascontiguousarray(one))[None] for one in valid])
        joined, spread = _mean(torch.stack(maps), known, task.spec)
    values = joined.permute(1, 2, 0).contiguous().numpy().astype(own.values.dtype)  # (H, W, C)
    prediction = replace(own, values=values.reshape(own.values.shape), valid=np.logical_or.reduce(valid))
    unit, convention = _words(task.spec, flips)
    return prediction, ConsistencyMap.of(
        f"{task.spec.name}_flip", spread.numpy(), everywhere, unit, convention
    )


def _tensor(values: np.ndarray) -> Tensor:
    maps = torch.from_numpy(np.ascontiguousarray(values))
    return maps[None] if maps.ndim == 2 else maps.permute(2, 0, 1)


def _aligned(values: Tensor, own: Tensor, usable: Tensor, spec: TaskSpec) -> Tensor:
    """``values`` (C, H, W) brought to the scale, and zero, of the image's own map where these are open."""
    if (spec.scale_known and spec.shift_known) or not usable.any():
        return values
    # Each channel of a motion has a scale of its own; colours have one in common.
    groups = [[c] for c in range(len(values))] if spec.frames == 2 else [list(range(len(values)))]
    result = values.clone()
    for group in groups:
        seen, wanted = values[group][:, usable].flatten(), own[group][:, usable].flatten()
        if spec.shift_known:
            result[group] = values[group] * non_negative_scale(seen, wanted)
            continue
        scale, shift = least_squares_scale_and_shift(seen, wanted)
        if scale < 0:  # not turned round: nothing of it is kept but the level
            scale, shift = torch.zeros_like(scale), wanted.mean()
        result[group] = values[group] * scale + shift
    return result.clamp(*spec.value_range)


def _mean(maps: Tensor, known: Tensor, spec: TaskSpec) -> tuple[Tensor, Tensor]:
    """Mean (C, H, W) and spread (H, W) of ``maps`` (K, C, H, W), where ``known`` (K, 1, H, W)."""
    seen = torch.where(known, maps, 0.0)
    mean = seen.sum(dim=0) / known.sum(dim=0).clamp(min=1)
    if spec.unit == "unit vector":
        opposite = vector_length(mean)[None] == 0
        mean = unit_vectors(torch.where(opposite, seen[0], mean))
        apart = torch.stack([angle_deg(one, mean) for one in seen])  # (K, H, W)
    else:
        apart = vector_length(seen - mean, dim=1)
    return mean, apart.square().mean(dim=0).sqrt()


def _vote(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The id (C, H, W) of most versions, of (K, C, H, W); and (H, W): 1.0 where not all are alike."""
    votes = (ids[:, None] == ids[None]).sum(dim=1)  # of each version, how many say the same
    winner, most = ids[0].clone(), votes[0].clone()
    for one, count in zip(ids[1:], votes[1:], strict=True):
        winner = torch.where(count > most, one, winner)
        most = torch.maximum(most, count)
    return winner, (ids != ids[0]).any(dim=0).any(dim=0).double()


def _words(spec: TaskSpec, flips: Sequence[str]) -> tuple[str, str]:
    """Unit and convention of the spread."""
    versions = f"{spec.name} of the image and of its mirror image ({', '.join(flips)})"
    if spec.unit == "class id":
        return "0 or 1", f"1 where {versions} differ, 0 where they agree."
    if spec.unit == "unit vector":
        return "deg", f"root mean square angle of {versions} to their mean [deg]."
    fitted = ""
    if not (spec.scale_known and spec.shift_known):
        freedom = "scale" if spec.shift_known else "scale and shift"
        fitted = f", after a least-squares fit of {freedom} to the image's own"
    return spec.unit, f"root mean square distance of {versions} from their mean [{spec.unit}]{fitted}."
