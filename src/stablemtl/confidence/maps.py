"""A map of how well predictions agree: values with their unit, colours with a legend, files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stablemtl import writers
from stablemtl.tasks.coloring import check_range

COLOUR_MAP = "inferno"
"""Matplotlib's name; equal steps look equal, from black (consistent) to yellow."""

_FULL = 0.98  # quantile of the valid values that the last colour stands for
_UNUSABLE = (128, 128, 128)
_PAPER, _INK, _FRAME = (255, 255, 255), (20, 20, 20), (128, 128, 128)
_NARROWEST_PX, _SMALLEST_TEXT_PX = 280, 12


@dataclass(frozen=True, kw_only=True, eq=False)
class ConsistencyMap:
    """How far predictions are apart at each pixel; 0 where they agree.

    Raises:
        ValueError: ``values`` and ``valid`` are not of one size, (H, W).
    """

    name: str
    """What is compared: ``normal_depth``, ``depth_flip``, ..."""
    values: NDArray[np.float32]
    """(H, W) float32, 0 or more [unit]; nan where not valid."""
    valid: NDArray[np.bool_]
    """(H, W) bool: where there is something to compare."""
    unit: str
    """Unit of ``values``."""
    convention: str
    """What is compared with what, and what was assumed, in a sentence."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.values.ndim != 2 or self.values.shape != self.valid.shape:
            raise ValueError(
                f"values and valid must be (H, W), got {self.values.shape} and {self.valid.shape}."
            )

    @classmethod
    def of(
        cls, name: str, values: NDArray[Any], valid: NDArray[np.bool_], unit: str, convention: str
    ) -> ConsistencyMap:
        """From values of any number type; what is not finite is not valid."""
        usable = np.asarray(valid & np.isfinite(values))
        kept = np.where(usable, values, np.nan).astype(np.float32)
        return cls(name=name, values=kept, valid=usable, unit=unit, convention=convention)

    @property
    def full_scale(self) -> float:
        """What the last colour stands for unless told otherwise [unit]: nearly the largest value.

        The 98 % quantile, so that a few outliers do not darken the rest; the largest value if that is 0, and
        1 if all are 0.
        """
        seen = self.values[self.valid]
        if not seen.size:
            return 1.0
        return float(np.quantile(seen, _FULL)) or float(seen.max()) or 1.0

    @property
    def mean(self) -> float:
        """Over the valid pixels [unit]; nan if there is none."""
        return float(self.values[self.valid].mean(dtype=np.float64)) if self.valid.any() else float("nan")

    def colorize(self, *, value_range: tuple[float, float] | None = None) -> Image.Image:
        """The map as an RGB picture of its size: black is consistent, yellow is not, grey is unknown.

        Args:
            value_range: what the first and the last colour stand for [unit], for maps to be compared; 0 and
                :attr:`full_scale` by default.
        Raises:
            ValueError: an empty range.
        """
        low, high = check_range(value_range or (0.0, self.full_scale))
        shares = (np.where(self.valid, self.values, low) - low) / (high - low)
        return Image.fromarray(np.where(self.valid[:, :, None], _colours(shares), _UNUSABLE).astype(np.uint8))

    def picture(self, *, value_range: tuple[float, float] | None = None) -> Image.Image:
        """The colours with a legend below: a bar with its numbers and the unit."""
        colours = self.colorize(value_range=value_range)
        low, high = value_range or (0.0, self.full_scale)
        title = f"{self.name} [{self.unit}], low is consistent"
        legend = _legend(max(colours.width, _NARROWEST_PX), low, high, title)
        page = Image.new("RGB", (legend.width, colours.height + legend.height), _PAPER)
        page.paste(colours, (0, 0))
        page.paste(legend, (0, colours.height))
        return page

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the map: ``.png`` the :meth:`picture`, ``.npz`` values, validity, unit and convention.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        if path.suffix.lower() == ".png":
            writers.write_picture(path, self.picture())
        elif path.suffix.lower() == ".npz":
            facts = {"consistency": self.name, "unit": self.unit, "convention": self.convention}
            writers.write_npz(path, {"values": self.values, "valid": self.valid}, facts)
        else:
            raise ValueError(f"cannot write {path.name!r}: the suffix must be .png or .npz.")
        return path

    def __repr__(self) -> str:
        return f"ConsistencyMap({self.name}, {self.values.shape}, mean {self.mean:.3g} {self.unit})"


def read_consistency_map(path: str | os.PathLike[str]) -> ConsistencyMap:
    """The map in an ``.npz`` of :meth:`ConsistencyMap.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return ConsistencyMap(
                name=str(archive["consistency"]),
                values=archive["values"],
                valid=archive["valid"],
                unit=str(archive["unit"]),
                convention=str(archive["convention"]),
            )
    except (KeyError, ValueError, AttributeError, OSError) as error:
        raise ValueError(f"{path} is no consistency map written by save('....npz'): {error}.") from error


def _colours(shares: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) of values (H, W), 0 the first colour and 1 the last."""
    import matplotlib

    colours: NDArray[np.uint8] = matplotlib.colormaps[COLOUR_MAP](np.clip(shares, 0, 1), bytes=True)[..., :3]
    return colours


def _legend(width: int, low: float, high: float, title: str) -> Image.Image:
    """What it is, a bar, and what its ends stand for."""
    text_px = max(_SMALLEST_TEXT_PX, width // 45)
    gap = text_px // 2
    font = ImageFont.load_default(text_px)
    top = gap + round(1.4 * text_px)
    bottom = top + text_px
    page = Image.new("RGB", (width, bottom + 2 * text_px), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((gap, gap), title, fill=_INK, font=font)
    ramp = _colours(np.linspace(0, 1, width - 2 * gap)[None].repeat(text_px, axis=0))
    page.paste(Image.fromarray(ramp), (gap, top))
    draw.rectangle((gap - 1, top - 1, width - gap, bottom), outline=_FRAME)
    draw.text((gap, bottom + 4), f"{low:.3g}", fill=_INK, font=font)
    draw.text((width - gap, bottom + 4), f"{high:.3g}", fill=_INK, font=font, anchor="ra")
    return page
