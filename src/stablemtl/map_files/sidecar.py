"""``maps.json``: what the files of a folder mean, for people and for programs in any language."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction, Predictions

SIDECAR = "maps.json"
"""Name of the file."""

_KIND = "stablemtl maps"
_VERSION = 1


def describe_maps(
    maps: Predictions,
    files: Mapping[str, Mapping[str, str]],
    shared: Mapping[str, str],
    cloud: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The content of the sidecar.

    Args:
        maps: the predictions.
        files: task -> format -> file of that map alone.
        shared: format -> file that several maps share.
        cloud: what a point cloud among the files says of itself.
    Returns:
        Plain values, ready for JSON. ``maps`` has an entry for each task, see :func:`describe_map`.
    """
    from stablemtl import __version__

    content: dict[str, Any] = {"kind": _KIND, "kind_version": _VERSION, "stablemtl": __version__}
    content["source"] = {key: _plain(value) for key, value in maps.source.items()}
    content["files"] = dict(shared)
    if cloud is not None:
        content["point_cloud"] = dict(cloud)
    content["maps"] = {task: {"files": dict(files[task]), **describe_map(one)} for task, one in maps.items()}
    return content


def describe_map(prediction: Prediction) -> dict[str, Any]:
    """What one map says of itself: shape, number type, unit, convention, what is known, range and validity.

    ``classes``, where values are class ids, has their names in the order of the ids; ``range`` the lowest and
    highest valid value over all channels, null where nothing is valid; ``valid_share`` the share of valid
    pixels, 0 to 1.
    """
    from stablemtl.tasks import build_task

    low, high = prediction.range
    number: type[int] | type[float] = int if prediction.values.dtype.kind in "iu" else float
    classes = build_task(prediction.task, **prediction.encoding).spec.classes
    facts = prediction.facts()
    return {
        "shape": list(prediction.values.shape),
        "dtype": str(prediction.values.dtype),
        **{key: value for key, value in facts.items() if key != "task"},
        **({"classes": list(classes)} if classes else {}),
        "range": [number(low), number(high)] if math.isfinite(low) and math.isfinite(high) else None,
        "valid_share": float(prediction.valid.mean()) if prediction.valid.size else 0.0,
    }


def write_sidecar(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the sidecar into a folder."""
    from stablemtl.data.formats import write_text

    write_text(folder / SIDECAR, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_sidecar(folder: Path) -> dict[str, Any] | None:
    """The sidecar of a folder; None where there is none.

    Raises:
        ValueError: it is damaged, or of another program.
    """
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, version = content["kind"], content["kind_version"]
        for entry in content["maps"].values():
            dict(entry["files"])
        dict(content["source"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not describe maps: {type(error).__name__} {error}.") from error
    if kind != _KIND or version != _VERSION:
        raise ValueError(f"{path} must be of kind {_KIND!r}, version {_VERSION}, got {kind!r}, {version!r}.")
    return dict(content)


def _plain(value: object) -> object:
    """The value as JSON takes it: paths and whatever else is unknown become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
