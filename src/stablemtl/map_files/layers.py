"""Maps as OpenEXR: several as the layers of one file, or one as a plain picture of floats.

Channels of a layer are named as compositors expect them: ``depth.Z``, ``normal.X``, ``normal.Y``,
``normal.Z``, ``optical_flow.u``, ``albedo.R``, ... All are float32, so that nothing is lost: also class ids
(``semantic.id``, whole numbers), since compositors read integer channels each in their own way. A pixel that
is not valid is nan. What a layer means is in string attributes called ``<layer>.unit``,
``<layer>.convention``, ``<layer>.scale_known`` and so on.

H, W: height and width in px.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stablemtl import writers
from stablemtl.map_files.strips import Rows, write_channels

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction

_CHANNELS: dict[str, tuple[str, ...]] = {
    "semantic": ("id",),
    "normal": ("X", "Y", "Z"),
    "depth": ("Z",),
    "optical_flow": ("u", "v"),
    "scene_flow": ("X", "Y", "Z"),
    "shading": ("Y",),
    "albedo": ("R", "G", "B"),
}
_OTHER_CHANNELS = {1: ("Y",), 2: ("X", "Y"), 3: ("R", "G", "B")}


def write_exr_layers(path: writers.PathLike, maps: Mapping[str, Prediction]) -> None:
    """Write maps as the layers of one OpenEXR file, losslessly compressed.

    Beside the maps, large ones need memory for a strip of rows alone, see :mod:`stablemtl.map_files.strips`.

    Args:
        path: the file; missing folders are made.
        maps: layer, usually the task -> map; all of one size.
    Raises:
        ValueError: no map, maps of different sizes, or a name that is too long for the format.
    """
    sizes = {name: prediction.size for name, prediction in maps.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"the layers of an EXR file must have one size, (height, width), got {sizes}.")
    channels: dict[str, Rows] = {}
    attributes: dict[str, str] = {}
    for name, prediction in maps.items():
        parts = _channels(prediction)
        letters = _CHANNELS.get(prediction.task, ()) or _OTHER_CHANNELS.get(len(parts), ())
        if len(letters) != len(parts):
            raise ValueError(f"{name!r} has {len(parts)} channels; an EXR layer holds 1 to 3. Use .npz.")
        channels.update({f"{name}.{letter}": part for letter, part in zip(letters, parts, strict=True)})
        attributes.update({f"{name}.{fact}": text for fact, text in _texts(prediction).items()})
    write_channels(path, next(iter(sizes.values())), channels, attributes)


def write_exr_map(path: writers.PathLike, prediction: Prediction) -> None:
    """Write one map as any program reads a picture of floats: one channel as Y, two or three as R, G, B.

    B is 0 for maps of two channels. Pixels that are not valid are nan.

    Raises:
        ValueError: more than three channels.
    """
    parts = _channels(prediction)
    if len(parts) > 3:
        raise ValueError(f"an EXR picture holds 1 to 3 channels, {prediction.task!r} has {len(parts)}.")
    if len(parts) == 2:
        parts.append(lambda rows: np.zeros_like(parts[0](rows)))
    letters = "Y" if len(parts) == 1 else "RGB"
    write_channels(path, prediction.size, dict(zip(letters, parts, strict=True)), _texts(prediction))


def read_exr_layers(path: writers.PathLike) -> dict[str, Prediction]:
    """The maps of a file of :func:`write_exr_layers`, layer -> map, in alphabetical order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file was not written by :func:`write_exr_layers`.
    """
    import OpenEXR

    from stablemtl.outputs import Prediction

    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header = dict(file.header())
            planes = {name: channel.pixels for name, channel in file.channels().items()}
        layers = sorted({name.rpartition(".")[0] for name in planes})
        maps = {}
        for layer in layers:
            facts = {name: str(header[f"{layer}.{name}"]) for name in _FACTS}
            names = _CHANNELS.get(facts["task"], ()) or sorted(n for n in planes if n.startswith(f"{layer}."))
            values = np.stack([planes[f"{layer}.{n.rpartition('.')[2]}"] for n in names], axis=-1)
            maps[layer] = Prediction(**_understood(facts, values))
    except Exception as error:  # the library's own are of many kinds
        raise ValueError(f"{path} is not an EXR file of maps written by save: {error}.") from error
    return maps


_FACTS = ("task", "unit", "convention", "scale_known", "shift_known", "encoding", "note", "numbers")


def _understood(facts: Mapping[str, str], values: NDArray[np.float32]) -> dict[str, Any]:
    """Arguments of a ``Prediction``, from the texts and the channels (H, W, C)."""
    valid = np.isfinite(values).all(axis=2)
    if values.shape[2] == 1:
        values = values[:, :, 0]
    if facts["numbers"] == "integers":
        values = np.where(valid, values, 0).astype(np.int64)
    known = {name: json.loads(facts[name]) for name in ("scale_known", "shift_known", "encoding")}
    plain = {name: facts[name] for name in ("task", "unit", "convention", "note")}
    return {"values": values, "valid": valid, **plain, **known}


def _channels(prediction: Prediction) -> list[Rows]:
    """Channels of a map, nan where not valid."""
    values = prediction.values if prediction.values.ndim == 3 else prediction.values[:, :, None]
    return [partial(_rows, values[:, :, i], prediction.valid) for i in range(values.shape[2])]


def _rows(values: NDArray[Any], valid: NDArray[np.bool_], rows: slice) -> NDArray[np.float32]:
    chosen = np.where(valid[rows], values[rows].astype(np.float32), np.float32(np.nan))
    return np.ascontiguousarray(chosen)


def _texts(prediction: Prediction) -> dict[str, str]:
    """What the map says of itself, each as text; what is no text already, as JSON."""
    facts = {
        **prediction.facts(),
        "numbers": "integers" if prediction.values.dtype.kind in "iu" else "floats",
        "invalid": "nan",
    }
    return {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
