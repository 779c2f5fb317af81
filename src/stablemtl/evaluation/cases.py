"""Pictures of the worst and the best images of a benchmark: frame, ground truth, prediction, error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stablemtl.data.sample import Dataset
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.figures import figure_facts
from stablemtl.evaluation.frames import Frame, make_frame
from stablemtl.evaluation.predictor import Predictor
from stablemtl.evaluation.scores import Case
from stablemtl.tasks.base import Task

TILE_WIDTH_PX = 300
_GAP_PX, _CAPTION_PX, _TEXT_PX = 6, 28, 20
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_TITLES = ("frame", "ground truth", "prediction", "error")


def case_sheet(
    dataset: Dataset, benchmark: Benchmark, predictor: Predictor, cases: Sequence[Case]
) -> Image.Image:
    """One row for each case: the frame, its ground truth, the prediction as it was compared, and the error.

    Above them, what they are.

    Ground truth and prediction share their colours. Errors go from black (none) to yellow (the 98 % quantile
    of the picture and above); pixels that do not count are grey.

    Args:
        dataset: opened as the benchmark asks.
        benchmark: that was scored.
        predictor: predicts the cases again.
        cases: of a :class:`stablemtl.evaluation.scores.Score`, ``worst`` or ``best``.
    Raises:
        ValueError: no case.
    """
    if not cases:
        raise ValueError("cases is empty: there is nothing to show.")
    task = predictor.tasks[benchmark.task]
    rows = []
    for case in cases:
        frame = make_frame(dataset.load(case.index, benchmark.task), case.index, benchmark, task.spec)
        unit = figure_facts(benchmark.task, benchmark.headline).unit
        caption = f"{case.key}    {benchmark.headline} {case.value:.4g} {unit}".rstrip()
        rows.append((caption, [_fit(tile) for tile in _tiles(frame, benchmark, predictor, task)]))
    heights = [_CAPTION_PX + tiles[0].height + _GAP_PX for _, tiles in rows]
    width = 4 * (TILE_WIDTH_PX + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, _CAPTION_PX + sum(heights) + _GAP_PX), _PAPER)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT_PX), _CAPTION_PX + _GAP_PX
    for i, title in enumerate(_TITLES):
        draw.text((_GAP_PX + i * (TILE_WIDTH_PX + _GAP_PX), _GAP_PX), title, fill=_FAINT, font=font)
    for (caption, tiles), height in zip(rows, heights, strict=True):
        draw.text((_GAP_PX, top), caption, fill=_INK, font=font)
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (_GAP_PX + i * (TILE_WIDTH_PX + _GAP_PX), top + _CAPTION_PX))
        top += height
    return sheet


def _tiles(frame: Frame, benchmark: Benchmark, predictor: Predictor, task: Task) -> list[Image.Image]:
    """Frame, ground truth, prediction, error."""
    (predicted,) = predictor.predict([frame.sample], resolution=frame.resolution)
    maps = (frame.in_target_unit(predicted)[None], frame.target[None], frame.sample.valid[None])
    metric = benchmark.metric(task)
    fitted = metric.fit(*maps).to(frame.target.dtype)
    everywhere = torch.ones_like(maps[2])
    # Side by side, so that what is stretched over a picture is stretched alike.
    pair = task.colorize(torch.cat([maps[1], fitted], dim=-1), torch.cat([maps[2], everywhere], dim=-1))
    truth, prediction = pair[0].tensor_split(2, dim=-1)
    pixels = (frame.sample.image * 255).round().to(torch.uint8)
    return [_picture(pixels), _picture(truth), _picture(prediction), _heat(metric.errors(*maps)[0, 0])]


def _heat(errors: Tensor) -> Image.Image:
    """Errors (H, W), nan where they do not count, in matplotlib's ``inferno``."""
    import matplotlib

    known = errors[~errors.isnan()]
    largest = known.quantile(0.98).item() if 0 < len(known) < 1 << 24 else 1.0
    share = (errors / max(largest, 1e-12)).clamp(0, 1).nan_to_num(0.0).numpy()
    colours = (matplotlib.colormaps["inferno"](share)[..., :3] * 255).astype(np.uint8)
    colours[errors.isnan().numpy()] = 128
    return Image.fromarray(colours)


def _picture(pixels: Tensor) -> Image.Image:
    """(3, H, W) uint8."""
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _fit(picture: Image.Image) -> Image.Image:
    """As wide as a tile; enlarged without smoothing."""
    height = max(1, round(picture.height * TILE_WIDTH_PX / picture.width))
    enlarged = picture.width < TILE_WIDTH_PX
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return picture.resize((TILE_WIDTH_PX, height), method)
