"""Predictions of any tool, read from a folder of files.

    DIR/<dataset>/<task>/<key>.<suffix>             such as DIR/kitti_flow/optical_flow/000003.flo
    DIR/<dataset>/<task>-<variant>/<key>.<suffix>   where a protocol has several: DIR/kitti_depth/depth-garg/
    DIR/predictions.json                            optional, see below

``dataset``, ``task`` and ``variant`` are those of reports. ``key`` is the name of the frame as in the records
of a report; a ``/`` in it may be a folder or be written ``__``. One file for each frame:

- ``.npy``: (H, W) or (H, W, C);
- ``.npz``: as :meth:`stablemtl.outputs.Prediction.save` writes, or with one array, or one named ``values``;
- ``.flo``: optical flow (Middlebury);
- ``.png``: 16 bits as :meth:`stablemtl.outputs.Prediction.save` writes them with ``bits=16``; any other 8- or
  16-bit picture with a ``png_scale`` for its task (value = stored number x scale); class ids as they are;
- ``.exr``: one channel, or R, G, B.

Values are in the unit and convention of the task (:class:`stablemtl.tasks.base.TaskSpec`): m, px, vectors,
class ids. Their size is that of the frame as the protocol shows it to a network: that of the dataset, cropped
where the protocol crops, and the protocol's own size where it has one (``paper``). Every pixel needs a value.

``predictions.json`` may have ``name`` (of the tool, for tables), ``relative`` (tasks whose scale is unknown,
which are then scored with a fit only) and ``png_scale`` (task -> value of one step of a PNG).

Letters: C, H, W channels, height and width of a map.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stablemtl.data.sample import Dataset, DatasetWrapper, Sample
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.prediction_reading import as_ids, read_values
from stablemtl.names import choose
from stablemtl.tasks import TASKS, build_task
from stablemtl.tasks.base import Task

SUFFIXES = (".npy", ".npz", ".flo", ".png", ".exr")
FACTS = "predictions.json"
_IN_UNITS = {"depth": {"encoding": "log"}, "optical_flow": {"encoding": "calibrated"},
             "scene_flow": {"encoding": "calibrated"}}  # fmt: skip


class FilePredictor:
    """A folder of files as a :class:`stablemtl.evaluation.predictor.Predictor`; it has no codec.

    Args:
        folder: laid out as this file's head says.
        variant: of the benchmark to score.
    Raises:
        FileNotFoundError: no such folder.
        ValueError: ``predictions.json`` is damaged or has other entries than above.
    """

    def __init__(self, folder: str | os.PathLike[str], *, variant: str = "") -> None:
        self.folder, self.variant = Path(folder), variant
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder {folder}. It must hold <dataset>/<task>/<frame>.npy or the like."
            )
        facts = _facts(self.folder / FACTS)
        self.name: str = facts["name"] or self.folder.resolve().name
        self._png_scale: dict[str, float] = facts["png_scale"]
        self._tasks = {
            name: task
            if name in facts["relative"] or name not in _IN_UNITS
            else build_task(name, **_IN_UNITS[name])
            for name, task in TASKS.items()
        }

    @property
    def tasks(self) -> Mapping[str, Task]:
        """All tasks; those whose scale is known in m and px."""
        return self._tasks

    def has(self, benchmark: Benchmark) -> bool:
        """Whether there is a folder for it."""
        return bool(self._places(benchmark.dataset, benchmark.task, benchmark.variant))

    def of(self, benchmark: Benchmark) -> FilePredictor:
        """The predictor of a benchmark's variant."""
        return FilePredictor(self.folder, variant=benchmark.variant)

    def find(self, sample: Sample) -> Path:
        """The file of a sample.

        Raises:
            FileNotFoundError: there is none.
            ValueError: there are several.
        """
        places = self._places(sample.dataset, sample.task, self.variant)
        for place in places:
            names = dict.fromkeys((sample.key, sample.key.replace("/", "__")))
            found = [path for name in names for s in SUFFIXES if (path := place / f"{name}{s}").is_file()]
            if len(found) > 1:
                listed = ", ".join(str(path.relative_to(place)) for path in found)
                raise ValueError(f"{place} has several predictions of one frame: {listed}. Keep one.")
            if found:
                return found[0]
        where = (places or [self.folder / sample.dataset / sample.task])[0]
        raise FileNotFoundError(f"no prediction {where / sample.key} with one of {', '.join(SUFFIXES)}.")

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        """See :class:`stablemtl.evaluation.predictor.Predictor`.

        Raises:
            FileNotFoundError: a sample has no file.
            ValueError: a file is damaged, or of another shape or type than the sample's label.
        """
        return [self._read(self.find(sample), sample) for sample in samples]

    def round_trip(self, sample: Sample, *, resolution: int | None) -> None:
        """None: files come from no codec."""
        return None

    def _places(self, dataset: str, task: str, variant: str) -> list[Path]:
        names = [f"{task}-{variant}", task] if variant else [task]
        return [place for name in names if (place := self.folder / dataset / name).is_dir()]

    def _read(self, path: Path, sample: Sample) -> Tensor:
        values = read_values(path, self.tasks[sample.task].spec, self._png_scale)
        channels, height, width = sample.target.shape
        if values.ndim == 2:
            values = values[:, :, None]
        if values.shape != (height, width, channels):
            raise ValueError(
                f"{path} has shape {values.shape}, but {sample.dataset} {sample.task} is scored at "
                f"({height}, {width}, {channels}), height x width x channels. Predict on the frames of the "
                "protocol (docs/evaluation.md), or choose another --protocol."
            )
        if values.dtype.kind not in "fiu":
            raise ValueError(f"{path} must hold real numbers, got {values.dtype}.")
        bad = 1 - np.isfinite(values).mean()
        if bad:
            raise ValueError(f"{path} is not finite ({100 * bad:.3g} % of the values): each pixel needs one.")
        ids = sample.target.dtype == torch.int64
        numbers = as_ids(values, path) if ids else values.astype(np.float32)
        return torch.from_numpy(numbers.transpose(2, 0, 1).copy())


class Predicted(DatasetWrapper):
    """A dataset whose frames without a prediction cannot be read: an evaluation lists them and goes on."""

    def __init__(self, dataset: Dataset, predictor: FilePredictor) -> None:
        """``predictor``: of the benchmark that the dataset was opened for."""
        super().__init__(dataset)
        self.predictor = predictor

    def load(self, index: int, task: str) -> Sample:
        """A sample of the dataset.

        Raises:
            FileNotFoundError: it has no prediction.
        """
        sample = self.dataset.load(index, task)
        self.predictor.find(sample)
        return sample


def check_names(folder: Path, benchmarks: Collection[Benchmark]) -> list[str]:
    """What no benchmark asks for: the datasets of the folder that are not among ``benchmarks``.

    Raises:
        ValueError: a folder of one that is among them is named after no task, and no task's variant.
    """
    left = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        known = {
            name for b in benchmarks if b.dataset == place.name for name in (b.task, f"{b.task}-{b.variant}")
        }
        if not known:
            left.append(place.name)
            continue
        for below in sorted(path.name for path in place.iterdir() if path.is_dir()):
            if below not in known and below.partition("-")[0] not in TASKS:
                choose(f"task in {place}:", below, TASKS)
    return left


def _facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": "", "relative": [], "png_scale": {}}
    if not path.is_file():
        return facts
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(content) - set(facts)
        if unknown:
            raise ValueError(f"unknown entries {', '.join(sorted(unknown))}; choose from {', '.join(facts)}")
        facts.update(content)
        for task in (*facts["relative"], *facts["png_scale"]):
            choose("task", task, TASKS)
        facts["png_scale"] = {task: float(scale) for task, scale in facts["png_scale"].items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}.") from error
    return facts
