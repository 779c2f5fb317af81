"""The pipeline on an image in tiles; the method is told at :func:`predict_tiled`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stablemtl.frames import Frame
from stablemtl.images import ImageSource, frame_picture, processing_size, read_pixels, to_tensor
from stablemtl.large_images.alignment import Alignment, Fit, alignment_of
from stablemtl.large_images.context import CONTEXT, NEAR, Field, Near, context_field, on_patch
from stablemtl.large_images.fitting import fit_tiles
from stablemtl.large_images.joining import join
from stablemtl.large_images.layout import Tile, cell_size, check_tile, on_cells, place_tiles
from stablemtl.large_images.report import TaskTiling, TilingReport, places, task_tiling
from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks.base import Task


class Pipeline(Protocol):
    """What is asked of a pipeline: tasks by name, and the call of ``StableMTLPipeline``."""

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    def __call__(self, image: Any, image_next: Any = None, tasks: Any = None, **options: Any) -> Any: ...


def predict_tiled(
    pipe: Pipeline,
    image: ImageSource,
    image_next: ImageSource | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    tile: int,
    overlap: int | None = None,
    batch_size: int = 1,
    align: bool = True,
    context: float = CONTEXT,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Predictions:
    r"""Predict dense maps of a large image from overlapping tiles.

    Each tile is an image of its own to the pipeline, processed at ``processing_resolution`` as any image. So
    ``tile`` says how much of the image the network sees at once, and ``processing_resolution`` how large it
    sees it: with 128 and tiles of 1024 px, every eighth pixel of the image counts; with 0, every one.

    Use it for detail that one pass at the resolution of the model's training cannot show. A tile does not
    know what lies outside it: whatever follows from the whole view (a large plane, the class of a wall that
    fills the tile) is judged worse. If the image is no larger than the model can take, and only memory is
    short, call the pipeline with ``codec_tile``: the network then sees the whole image.

    Method:

    1. The image made as small as a tile goes through the pipeline: a coarse map c of the whole.
    2. Tiles i at full resolution give maps v_i, each with a scale and a zero of its own where the task leaves
       them open, and with a wrong number of metres, since a crop looks like a picture of a longer lens.
    3. One least-squares problem over all tiles finds f_i(v) = a_i v + b_i, with a_i >= 0:

       .. math::
           \min \sum_{i<j} \sum_{p \in i \cap j} \rho(f_i(v_i)_p - f_j(v_j)_p)
           + 0.1 \sum_i \sum_{p \in i} \rho(f_i(v_i)_p - c_p)

       p are cells, about eight across an overlap, and rho is Huber's loss. What is free follows from the
       task: nothing for classes, normals and motion in px; a_i for shading, albedo, relative motion (per
       channel) and metres (of depth as log a_i, between logarithms); both for relative depth.
    4. What is broader than a part of the tile comes from the coarse map, G being a Gaussian blur:
       v_i becomes v_i + G (c - v_i), between logarithms for depth in metres; see
       :mod:`stablemtl.large_images.context`. Of classes, tiles may only choose those that the coarse map
       sees within a quarter of sigma: they move borders, and do not invent.
    5. At each pixel the tiles that see it are averaged by weights that fall linearly over their overlap and
       sum to one. Directions then get length 1 again; of classes the one with most weight wins.

    Motion is searched inside each tile: what moves out of it, by more than about half the overlap, is lost
    there, and only the coarse map knows it.

    Memory: the tiles' maps at the size processed, and the joined maps. The image is read once; tiles are
    views of it.

    Args:
        pipe: the pipeline.
        image: path, PIL image, array or tensor, see :mod:`stablemtl.images`; one image.
        image_next: the frame after it, of its size. Cut at the same places.
        tasks: names of the maps wanted; all by default.
        tile: longest edge of a tile [px of the image], a multiple of 8, at least 64. An image no larger goes
            through the pipeline as it is.
        overlap: what neighbours have in common [px], a multiple of 8, at most half the tile; a quarter of it
            by default.
        batch_size: tiles computed together.
        align: False leaves out steps 3 and 4, and joins the tiles as they are.
        context: sigma of step 4 as a share of the tile, from 0 to 1; 0 leaves that step out.
        progress: called with the number of passes done and of all of them, the coarse one included.
        options: ``processing_resolution``, ``single_stream``, ``batch_tasks`` and ``codec_tile`` of the
            pipeline's call.
    Returns:
        The maps, at the size of ``image``.
    Raises:
        FileNotFoundError: no such image file.
        ValueError: a tile or an overlap that cannot be, two frames of different sizes, or what the pipeline
            refuses.
        TypeError: several images, an image encoded before, or an option the call does not have.
    """
    maps, _ = predict_tiled_with_report(
        pipe,
        image,
        image_next,
        tasks,
        tile=tile,
        overlap=overlap,
        batch_size=batch_size,
        align=align,
        context=context,
        progress=progress,
        **options,
    )
    return maps


def predict_tiled_with_report(
    pipe: Pipeline,
    image: ImageSource,
    image_next: ImageSource | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    tile: int,
    overlap: int | None = None,
    batch_size: int = 1,
    align: bool = True,
    context: float = CONTEXT,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> tuple[Predictions, TilingReport]:
    """As :func:`predict_tiled`, and how the tiles were brought to one scale."""
    # 1. Check, read, and place the tiles.
    overlap = check_tile(tile, overlap)
    if not options.pop("match_input_resolution", True):
        raise ValueError("match_input_resolution must be True with tiles. Resize the maps afterwards.")
    if isinstance(context, bool) or not isinstance(context, int | float) or not 0 <= context <= 1:
        raise ValueError(f"context must be a share of the tile, from 0 (none) to 1, got {context!r}.")
    frames = _read(image, image_next)
    size = (frames[0].shape[0], frames[0].shape[1])
    tiles = place_tiles(size, tile, overlap)
    if len(tiles) == 1:
        maps = pipe(*_pair(frames), tasks, batch_size=batch_size, **options)
        _steps(progress, 1)(1)
        return maps, TilingReport(tiles=places(tiles), tasks={})

    # 2. The whole image, as small as a tile; then the tiles. Maps are kept at the size processed.
    options |= {"match_input_resolution": False}
    step = _steps(progress, len(tiles) + 1)
    small = processing_size(size, tile)
    coarse = pipe(
        *_pair([to_tensor(frame, small) for frame in frames]), tasks, batch_size=batch_size, **options
    )
    step(1)
    maps_of: dict[str, list[Tensor]] = {name: [] for name in coarse}
    for group in _groups(tiles, batch_size):
        crops = ([frame[t.rows, t.columns] for t in group] for frame in frames)
        for one in pipe(*_pair(list(crops)), list(coarse), batch_size=batch_size, **options):
            for name, prediction in one.items():
                maps_of[name].append(_tensor(prediction))
        step(len(group))

    # 3. One task at a time: bring the tiles to one scale and join them; then forget them.
    cell = cell_size(size, overlap)
    joined: dict[str, Prediction] = {}
    figures: dict[str, TaskTiling] = {}
    for name, prediction in coarse.items():
        task = pipe.tasks[name]
        whole = _tensor(prediction)
        sigma_px = max(context * tile, size[1] / whole.shape[2]) if context else 0.0
        alignment, fit, fields, figures[name] = _consistent(
            task, tiles, maps_of[name], whole, size, cell, align, sigma_px
        )
        near = Near(whole, NEAR * sigma_px) if align and sigma_px else None
        result = join(task, tiles, maps_of.pop(name), size, alignment, fit, fields, near)
        joined[name] = Prediction.from_tensor(task, result, note=prediction.note)
    pictures: list[Image.Image] = [frame_picture(frame) for frame in frames]
    source = {**coarse.source, "tile": tile, "overlap": overlap}
    report = TilingReport(tiles=places(tiles), tasks=figures)
    return Predictions(joined, frames=pictures, source=source), report


def _consistent(
    task: Task,
    tiles: list[Tile],
    maps: list[Tensor],
    coarse: Tensor,
    size: tuple[int, int],
    cell: int,
    align: bool,
    sigma_px: float,
) -> tuple[Alignment, Fit, list[Field], TaskTiling]:
    """What makes a task's tiles one map, and how well it does."""
    alignment = alignment_of(task.spec)
    patches = []
    for tile, one in zip(tiles, maps, strict=True):
        at_size = task.resize_prediction(one[None], tile.size)[0]
        patches.append(on_cells(at_size, cell, top_px=tile.rows.start, left_px=tile.columns.start))
    fit = Fit.identity(len(tiles), len(coarse))
    corrected, fields = patches, []
    if align and coarse.is_floating_point():
        whole = on_cells(task.resize_prediction(coarse[None], size)[0], cell)
        fit = fit_tiles(patches, whole, alignment)
        corrected = [
            patch._replace(values=alignment.apply(patch.values, *numbers))
            for patch, *numbers in zip(patches, fit.factors, fit.addends, strict=True)
        ]
        if sigma_px:
            fields = [
                context_field(patch, whole, alignment.freedom, sigma_px=sigma_px, cell=cell)
                for patch in corrected
            ]
            corrected = [on_patch(patch, field) for patch, field in zip(corrected, fields, strict=True)]
    return alignment, fit, fields, task_tiling(patches, corrected, alignment, fit)


def _read(image: ImageSource, image_next: ImageSource | None) -> list[np.ndarray]:
    """Pixels of one or two frames."""
    frames: list[np.ndarray] = []
    named = [("image", image)] if image_next is None else [("image", image), ("image_next", image_next)]
    for name, source in named:
        if isinstance(source, list | tuple):
            raise TypeError(f"{name} must be one image, got a {type(source).__name__}. Call once for each.")
        if isinstance(source, Frame):
            raise TypeError(f"{name} was encoded before, as a whole; tiles are cut from the picture itself.")
        frames.append(read_pixels(source, name=name))
    first, *others = ((frame.shape[1], frame.shape[0]) for frame in frames)
    if others and others[0] != first:
        raise ValueError(
            f"image_next must have the size of image, {first[0]}x{first[1]} px (width x height), "
            f"got {others[0][0]}x{others[0][1]} px. Give two frames of one camera, or crop them alike."
        )
    return frames


def _pair(frames: list[Any]) -> tuple[Any, Any]:
    return frames[0], frames[1] if len(frames) == 2 else None


def _groups(tiles: list[Tile], batch_size: int) -> Iterator[list[Tile]]:
    for start in range(0, len(tiles), batch_size):
        yield tiles[start : start + batch_size]


def _tensor(prediction: Prediction) -> Tensor:
    """(C, h, w); ids as int32, to save memory."""
    values = torch.from_numpy(prediction.values)
    values = values[None] if values.ndim == 2 else values.permute(2, 0, 1)
    return values if values.is_floating_point() else values.int()


def _steps(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return step
