"""People's own label files, task by task: which files are read, what must be declared, what becomes of them.

Units and conventions are never guessed. ``dataset.toml`` beside the manifest declares them::

    [depth]
    unit = "mm"
    kind = "planar"

    [semantic.ids]
    7 = "road"
    26 = "vehicle"

Arrays are ``.npy``, ``.npz``, ``.h5``, ``.hdf5``, ``.exr`` and ``.tif``; see ``stablemtl.data.own.files``.

============  =====================  =================================================================
task          files                  to declare
============  =====================  =================================================================
semantic      ``.png``, arrays       ``[semantic.ids]``: stored id = class, or ``[semantic.colours]``:
                                     "#rrggbb" = class. What is not listed is ignored
normal        ``.png``, ``.pfm``,    ``axes``: opencv (x right, y down, z forward) or opengl (x right,
              arrays                 y up, z backward); ``facing``: away (from the camera) or camera
depth         ``.png``, ``.pfm``,    ``kind``: planar (z) or distance (along the ray, with
              arrays                 ``focal_px``), with ``unit``: m, cm, mm or km; or disparity [px],
                                     with ``focal_px`` and ``baseline_m``
optical_flow  ``.flo``               nothing: pixels, u right and v down, from ``image`` to
                                     ``image_next``
              ``.png``               ``encoding``: kitti
              ``.pfm``, arrays       ``unit``: px
scene_flow    ``.pfm``, arrays       ``unit``: m, cm, mm or km; ``axes`` as for normals
shading,      ``.png``, ``.pfm``,    ``space``: linear or srgb
albedo        arrays
============  =====================  =================================================================

Optional keys:

- ``array``: name of the array, or of the channels, in ``.npz``, HDF5 and ``.exr`` files that hold several;
- ``invalid`` (all but semantic): the stored number, or a list of numbers, of pixels without a label;
- ``scale`` (depth, flows): a factor on the stored numbers, 0.00390625 for KITTI's depth;
- ``center_px`` (depth): principal point [column, row], the middle of the image if left out;
- ``offset_px`` (depth): added to disparities, column of the right principal point minus that of the left.

Integers of normals, shading and albedo are parts of full scale, 255 or 65535: n / 65535, for normals
2 n / 65535 - 1. Coloured shading becomes grey with Hypersim's weights.

Never valid, declared or not: what is not finite; depths and disparities that are not above 0; normals far
from unit length (black is none); motion above 10^9. H, W: height and width of the label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stablemtl.data.own.declared import (
    Check,
    check_table,
    class_id,
    colour,
    nearest,
    number,
    numbers,
    one_of,
    read_tables,
    table_of,
    text,
)
from stablemtl.data.own.files import PICTURES, SUFFIXES
from stablemtl.data.own.values import (
    METRES,
    TO_OPENCV,
    Label,
    Options,
    read_albedo,
    read_as_it_is,
    read_depth,
    read_normal,
    read_optical_flow,
    read_scene_flow,
    read_semantic,
    read_shading,
)
from stablemtl.tasks import TASKS
from stablemtl.tasks.semantic import CLASSES

_ARRAYS = tuple(suffix for suffix in SUFFIXES if suffix not in (".png", ".pfm"))


class LabelFiles(NamedTuple):
    """How the label files of a task are read."""

    suffixes: tuple[str, ...]
    keys: Mapping[str, Check]
    """What its table in ``dataset.toml`` may hold."""
    needed: Callable[[Options, str], tuple[str, ...]]
    """Keys without which files of a suffix cannot be understood."""
    read: Callable[[Path, Options], Label]

    def undeclared(self, options: Options, suffix: str) -> str:
        """What is missing in the table for files of this suffix, as one would write it; or nothing."""
        missing = [key for key in self.needed(options, suffix) if key not in options]
        return ", and ".join(f"{key} = {self.keys[key].says}" for key in missing)


def read_units(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The tables of ``dataset.toml`` by task, checked, and everything that is wrong with them."""
    tables, problems = read_tables(path)
    options: dict[str, dict[str, Any]] = {}
    for task, table in tables.items():
        if task not in TASKS:
            problems.append(f"unknown table [{task}]: {nearest(task, TASKS)}")
        elif not isinstance(table, dict):
            problems.append(f"{task} must be a table, [{task}] with keys below it, got {table!r}.")
        else:
            options[task], wrong = check_table(table, label_files(task).keys)
            problems += [f"[{task}] {one}" for one in wrong]
    if {"ids", "colours"} <= set(options.get("semantic", {})):
        problems.append("[semantic] must have ids or colours, got both.")
    if options.get("depth", {}).get("kind") == "disparity" and "unit" in options["depth"]:
        problems.append("[depth] a disparity is in pixels: leave unit out, or write another kind.")
    return options, problems


def label_files(task: str) -> LabelFiles:
    """How labels of a task are read; one without an entry takes arrays in the convention of its file."""
    return LABEL_FILES.get(task) or LabelFiles(
        (".png", ".pfm", *_ARRAYS),
        {"scale": number("the value of one stored step"), **_COMMON},
        lambda _, suffix: ("scale",) if suffix in PICTURES else (),
        lambda path, options: read_as_it_is(path, options, TASKS[task].spec.channels),
    )


_COMMON = {
    "array": text("the name of an array or of channels"),
    "invalid": numbers("a number or a list of numbers"),
}
_CLASSES = (*CLASSES, "ignore")
_AXES = one_of(*TO_OPENCV)
_SPACE = {"space": one_of("linear", "srgb"), **_COMMON}


def _depth_needs(options: Options, _: str) -> tuple[str, ...]:
    if options.get("kind") == "disparity":
        return ("focal_px", "baseline_m")
    return ("kind", "unit", *(("focal_px",) if options.get("kind") == "distance" else ()))


LABEL_FILES: dict[str, LabelFiles] = {
    "semantic": LabelFiles(
        (".png", *_ARRAYS),
        {
            "ids": table_of('{ 7 = "road", 26 = "vehicle" }', class_id, _CLASSES),
            "colours": table_of('{ "#804080" = "road" }', colour, _CLASSES),
            "array": _COMMON["array"],
        },
        lambda options, _: () if "colours" in options else ("ids",),
        read_semantic,
    ),
    "normal": LabelFiles(
        (".png", ".pfm", *_ARRAYS),
        {"axes": _AXES, "facing": one_of("away", "camera"), **_COMMON},
        lambda *_: ("axes", "facing"),
        read_normal,
    ),
    "depth": LabelFiles(
        (".png", ".pfm", *_ARRAYS),
        {
            "kind": one_of("planar", "distance", "disparity"),
            "unit": one_of(*METRES),
            "scale": number(above=0),
            "focal_px": number(above=0),
            "center_px": numbers("[column, row]", count=2),
            "baseline_m": number(above=0),
            "offset_px": number(),
            **_COMMON,
        },
        _depth_needs,
        read_depth,
    ),
    "optical_flow": LabelFiles(
        (".flo", ".png", ".pfm", *_ARRAYS),
        {"unit": one_of("px"), "encoding": one_of("kitti"), "scale": number(above=0), **_COMMON},
        lambda _, suffix: {".flo": (), ".png": ("encoding",)}.get(suffix, ("unit",)),
        read_optical_flow,
    ),
    "scene_flow": LabelFiles(
        (".pfm", *_ARRAYS),
        {"unit": one_of(*METRES), "axes": _AXES, "scale": number(above=0), **_COMMON},
        lambda *_: ("unit", "axes"),
        read_scene_flow,
    ),
    "shading": LabelFiles((".png", ".pfm", *_ARRAYS), _SPACE, lambda *_: ("space",), read_shading),
    "albedo": LabelFiles((".png", ".pfm", *_ARRAYS), _SPACE, lambda *_: ("space",), read_albedo),
}
"""Task name to how its files are read, in the order of ``TASKS``."""
