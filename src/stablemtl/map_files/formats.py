"""Names of the formats that maps are written in, and which map each applies to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from stablemtl.names import choose

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction

FORMATS: dict[str, str] = {
    "picture": "each map in colours: depth.png, normal.png, ...",
    "npz": "values, validity, unit and convention of each map: depth.npz, ...",
    "png16": "measurements of one channel as 16-bit PNG, scale and offset in its text: depth_16bit.png, ...",
    "flo": "optical flow in px as Middlebury keeps it: optical_flow.flo",
    "kitti_flow": "optical flow in px as KITTI 2015 keeps it, in steps of 1/64 px: optical_flow_kitti.png",
    "palette": "class ids as indices of a PNG that has the classes' colours: semantic_palette.png",
    "exr": "all maps as the layers of one OpenEXR file, float32: maps.exr",
    "ply": "depth, colours and normals as a cloud of points: point_cloud.ply",
    "sheet": "frames and maps on one sheet: contact_sheet.png",
}
"""Name of each format -> what it writes."""

DEFAULT_FORMATS: tuple[str, ...] = ("picture", "npz", "png16", "flo", "sheet")
"""What is written unless something else is asked for, each where it applies."""

MAP_ENDINGS = {
    "picture": ".png",
    "npz": ".npz",
    "png16": "_16bit.png",
    "flo": ".flo",
    "kitti_flow": "_kitti.png",
    "palette": "_palette.png",
}
"""Formats with one file for each map -> what follows the task's name."""

SHARED_FILES = {"exr": "maps.exr", "ply": "point_cloud.ply", "sheet": "contact_sheet.png"}
"""Formats with one file for all maps -> its name."""

_KITTI_RANGE_PX = (-512.0, 512.0 - 1 / 64)


def check_formats(formats: str | Iterable[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        ValueError: an unknown name, or none at all.
    """
    names = tuple(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    if not names:
        raise ValueError(f"formats is empty; choose from {', '.join(FORMATS)}.")
    for name in names:
        choose("format", name, FORMATS)
    return names


def applied(maps: Mapping[str, Prediction], formats: str | Iterable[str]) -> dict[str, list[str]]:
    """Format -> the maps it is written of. A map that a format cannot hold is left out of it.

    Args:
        maps: task -> map.
        formats: names, as in ``FORMATS``. With ``DEFAULT_FORMATS``, those that apply to no map are left out.
    Raises:
        ValueError: an unknown format, or one that applies to none of the maps.
    """
    names = check_formats(formats)
    found: dict[str, list[str]] = {}
    for name in names:
        reasons = {task: why_not(prediction, name) for task, prediction in maps.items()}
        tasks = [task for task, reason in reasons.items() if not reason]
        if tasks or not maps:
            found[name] = tasks
        elif names != DEFAULT_FORMATS:
            listed = "; ".join(f"{task}: {reason}" for task, reason in reasons.items())
            raise ValueError(f"the format {name!r} applies to none of the maps ({listed}). Leave it out.")
    return found


def why_not(prediction: Prediction, name: str) -> str:
    """Why the format of that name cannot hold the map; empty if it can."""
    if name == "png16" and (prediction.values.ndim != 2 or prediction.values.dtype.kind != "f"):
        return "it is no measurement of one channel"
    if name in ("flo", "kitti_flow") and not prediction.is_flow_in_px:
        channels = 1 if prediction.values.ndim == 2 else prediction.values.shape[2]
        return f"flow has two channels in px, this has {channels} in {prediction.unit!r}"
    if name == "kitti_flow":
        lowest, highest = prediction.range
        if lowest < _KITTI_RANGE_PX[0] or highest > _KITTI_RANGE_PX[1]:
            return f"it ends at 512 px, the values run from {lowest:.0f} to {highest:.0f}"
    if name == "palette":
        return _why_no_palette(prediction)
    if name == "ply":
        from stablemtl.point_cloud import why_no_cloud

        return why_no_cloud(prediction)
    return ""


def _why_no_palette(prediction: Prediction) -> str:
    if prediction.values.ndim != 2 or prediction.values.dtype.kind not in "iu":
        return "it holds no class ids"
    seen = prediction.values[prediction.valid]
    if seen.size and not 0 <= np.min(seen) <= np.max(seen) <= 255:
        return f"indices are 0 to 255, the class ids {np.min(seen)} to {np.max(seen)}"
    return ""
