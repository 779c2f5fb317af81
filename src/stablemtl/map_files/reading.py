"""Maps back from the files that were written of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemtl.map_files.sidecar import SIDECAR, read_sidecar

if TYPE_CHECKING:
    from stablemtl.outputs import Prediction, Predictions


def read_prediction(path: str | os.PathLike[str]) -> Prediction:
    """The prediction in an ``.npz`` written by :meth:`stablemtl.outputs.Prediction.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file was not written by :meth:`stablemtl.outputs.Prediction.save`.
    """
    from stablemtl.outputs import Prediction

    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        return Prediction(
            task=str(content["task"]),
            values=content["values"],
            valid=content["valid"],
            unit=str(content["unit"]),
            convention=str(content["convention"]),
            scale_known=json.loads(str(content["scale_known"])),
            shift_known=json.loads(str(content["shift_known"])),
            encoding=json.loads(str(content["encoding"])),
            note=str(content["note"]),
        )
    except (KeyError, ValueError, AttributeError, OSError) as error:
        raise ValueError(f"{path} is not a prediction written by save('....npz'): {error}.") from error


def read_predictions(folder: str | os.PathLike[str]) -> Predictions:
    """The maps of a folder that :meth:`stablemtl.outputs.Predictions.save` has written.

    They are read from the ``.npz`` files that ``maps.json`` names, with ``source`` as it says; without it,
    from all ``.npz`` files of the folder that hold a map. Frames are not kept.

    Raises:
        FileNotFoundError: no such folder, no map in it, or a file is missing.
        ValueError: a file is damaged or is no map, or the maps were saved without ``npz``.
    """
    from stablemtl.outputs import Predictions

    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}.")
    content = read_sidecar(folder)
    if content is None:
        return Predictions(_without_sidecar(folder))
    maps = {}
    for task, entry in content["maps"].items():
        if "npz" not in entry["files"]:
            raise ValueError(f"{folder / SIDECAR} lists no .npz of {task!r}: save it with the format 'npz'.")
        maps[task] = read_prediction(folder / Path(entry["files"]["npz"]).name)
    return Predictions(maps, source=content["source"])


def _without_sidecar(folder: Path) -> dict[str, Prediction]:
    from stablemtl.tasks import TASKS

    found = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            found[path.stem] = read_prediction(path)
        except ValueError:
            continue  # another program's
    if not found:
        raise FileNotFoundError(f"{folder} holds neither {SIDECAR} nor the .npz of a map.")
    order = list(TASKS)
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else 99))
