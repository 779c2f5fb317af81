"""People's own data: a folder with a manifest that lists images and whatever labels they have.

``manifest.csv``, ``manifest.jsonl`` or ``manifest.parquet`` has a row for each image, and these columns::

    image        the picture, its path from the folder of the manifest; the only column that must be there
    image_next   the frame after it; motion labels need it
    <task>       the label file of a task: semantic, normal, depth, optical_flow, scene_flow, shading, albedo
    mask         a picture or array that is 0 where no label of the row is to be used
    mask_<task>  the same for one task
    split        train, val or test; train if empty
    key          a readable name, unique in the manifest; the path of the image if empty

An empty cell means that there is no such file. Columns whose names begin with ``_`` are left alone. Units and
conventions of the labels stand in ``dataset.toml`` beside the manifest, see ``stablemtl.data.own.labels``.
Pictures are read as ``predict`` reads them (``stablemtl.images``); labels and masks have their size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from stablemtl.data.own.files import read_mask
from stablemtl.data.own.labels import label_files
from stablemtl.data.own.rows import SPLITS, Row, read_manifest
from stablemtl.data.own.table import NAMES
from stablemtl.data.sample import (
    IGNORE_CLASS,
    EmptySplitError,
    Sample,
    check_split,
    check_task,
    label_tensor,
    mask_tensor,
)
from stablemtl.images import read_image
from stablemtl.tasks import TASKS


def find_manifest(folder: str | os.PathLike[str]) -> Path | None:
    """The manifest of a folder, or None.

    Raises:
        ValueError: the folder holds several.
    """
    found = [Path(folder) / name for name in NAMES if (Path(folder) / name).is_file()]
    if len(found) > 1:
        raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}: keep one of them.")
    return found[0] if found else None


class ManifestDataset:
    """The rows of one split, called after the folder.

    It labels the tasks for which some row of the split has a label. A row counts for a task if it has the
    label and, for motion, a second frame.

    Args:
        root: folder of the manifest.
        split: ``train``, ``val`` or ``test``.
    Raises:
        FileNotFoundError: no folder, or no manifest in it.
        EmptySplitError: no row of the split.
        ManifestError: a ValueError with everything that is wrong with the manifest, its units, and the files
            that it names but that are not there; all splits are looked at.
        ValueError: unknown split, or several manifests.
    """

    splits = SPLITS

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        self.root = Path(root)
        self.name = self.root.resolve().name
        self.split = check_split(self.name, split, self.splits)
        self.manifest = find_manifest(self.root)
        if self.manifest is None:
            raise FileNotFoundError(f"{self.name}: no {', '.join(NAMES[:-1])} or {NAMES[-1]} in {root}.")
        self.units, every = read_manifest(self.manifest)
        self.rows = [row for row in every if row.split == split]
        if not self.rows:
            raise EmptySplitError(f"{self.name}: no row of {self.manifest} is of the {split} split.")
        self._labelled = {
            task: [index for index, row in enumerate(self.rows) if task in row.labels] for task in TASKS
        }
        self.tasks = tuple(task for task, indices in self._labelled.items() if indices)

    def __len__(self) -> int:
        return len(self.rows)

    def indices(self, task: str) -> Sequence[int]:
        """Rows with a label of the task."""
        check_task(self.name, task, self.tasks)
        return self._labelled[task]

    def load(self, index: int, task: str) -> Sample:
        """The image of a row, the next one for motion, and one label; zero, for classes 250, where not valid.

        Raises:
            ValueError: no such task here, the row has no label of it, or a file is damaged, of another size
                than the image, or not what was declared.
            FileNotFoundError: a file has gone since the manifest was read.
        """
        check_task(self.name, task, self.tasks)
        row = self.rows[index]
        if task not in row.labels:
            raise ValueError(f"{self.name}, row {row.number} has no label of {task}; use indices({task!r}).")
        try:
            return self._load(row, task)
        except ValueError as error:
            place = f"{self.name} ({self.split} split), row {row.number}, {task}"
            raise ValueError(f"{place}: {error}") from error

    def _load(self, row: Row, task: str) -> Sample:
        image = read_image(self.root / row.image, name="image")
        image_next = None
        if TASKS[task].spec.frames == 2:
            image_next = read_image(self.root / row.image_next, name="image_next")
            _check_size(row.image_next, image_next.shape[-2:], row.image, image)
        label, valid = label_files(task).read(self.root / row.labels[task], self.units.get(task, {}))
        _check_size(row.labels[task], label.shape[:2], row.image, image)
        for column in ("mask", f"mask_{task}"):
            if column in row.masks:
                mask = read_mask(self.root / row.masks[column])
                _check_size(row.masks[column], mask.shape, row.image, image)
                valid = valid & mask
        nothing = IGNORE_CLASS if label.dtype.kind == "i" else 0.0
        return Sample(
            image=image,
            image_next=image_next,
            target=label_tensor(np.where(valid if label.ndim == 2 else valid[..., None], label, nothing)),
            valid=mask_tensor(valid),
            task=task,
            dataset=self.name,
            key=row.key,
        )


def _check_size(file: str, size: Sequence[int], image_file: str, image: Tensor) -> None:
    height, width = image.shape[-2:]
    if tuple(size) != (height, width):
        raise ValueError(
            f"{file} must have the size of {image_file}, {height}x{width} px (height x width), "
            f"got {size[0]}x{size[1]}. Resize one of them."
        )
