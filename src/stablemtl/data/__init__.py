"""Training datasets in their official download layouts, and mixtures of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from stablemtl.data.flyingchairs import FlyingChairs
from stablemtl.data.flyingthings3d import FlyingThings3D
from stablemtl.data.hypersim import Hypersim
from stablemtl.data.memory import InMemory
from stablemtl.data.mixture import Batch, Draw, Entry, Mixture, collate
from stablemtl.data.sample import IGNORE_CLASS, Dataset, EmptySplitError, Sample
from stablemtl.data.transforms import (
    PUBLISHED_SIZES,
    ColorJitter,
    Compose,
    HorizontalFlip,
    RandomCrop,
    Resize,
    Transform,
    published_augmentation,
)
from stablemtl.data.vkitti import VirtualKITTI2

__all__ = [
    "DATASETS",
    "FOLDERS",
    "IGNORE_CLASS",
    "PUBLISHED_SIZES",
    "SPLITS",
    "STABLEMTL_PAIRS",
    "Batch",
    "ColorJitter",
    "Compose",
    "Dataset",
    "Draw",
    "EmptySplitError",
    "Entry",
    "FlyingChairs",
    "FlyingThings3D",
    "HorizontalFlip",
    "Hypersim",
    "InMemory",
    "Mixture",
    "RandomCrop",
    "Resize",
    "Sample",
    "Transform",
    "VirtualKITTI2",
    "collate",
    "mixture_entries",
    "open_datasets",
    "published_augmentation",
]

logger = logging.getLogger(__name__)

DATASETS: dict[str, Callable[[str | os.PathLike[str], str], Dataset]] = {
    "hypersim": Hypersim,
    "vkitti2": VirtualKITTI2,
    "flyingthings3d": FlyingThings3D,
    "flyingchairs": FlyingChairs,
}
"""Name to class; each takes (root, split)."""

FOLDERS: dict[str, str] = {
    "hypersim": "hypersim",
    "vkitti2": "vkitti2",
    "flyingthings3d": "FlyingThings3D_subset",
    "flyingchairs": "FlyingChairs_release",
}
"""Name to folder inside a data folder."""

SPLITS: dict[str, dict[str, str]] = {
    "train": {"hypersim": "train", "vkitti2": "train", "flyingthings3d": "train", "flyingchairs": "train"},
    "val": {"hypersim": "val", "vkitti2": "test", "flyingthings3d": "val", "flyingchairs": "val"},
    "test": {"hypersim": "test", "vkitti2": "test", "flyingthings3d": "val", "flyingchairs": "val"},
}
"""Split to each dataset's own name for it; those with one held-out split use it for val and test."""

STABLEMTL_PAIRS: tuple[tuple[str, str, float], ...] = (
    ("hypersim", "albedo", 1.0),
    ("hypersim", "shading", 1.0),
    ("hypersim", "depth", 0.9),
    ("vkitti2", "depth", 0.1),
    ("hypersim", "normal", 0.9),
    ("vkitti2", "normal", 0.1),
    ("vkitti2", "semantic", 1.0),
    ("vkitti2", "optical_flow", 0.5),
    ("flyingthings3d", "optical_flow", 0.5),
    ("vkitti2", "scene_flow", 0.5),
    ("flyingthings3d", "scene_flow", 0.5),
    ("flyingchairs", "optical_flow", 0.5),
)
"""(dataset, task, weight): StableMTL's eleven pairs in its order, then FlyingChairs, used where present."""


def open_datasets(root: str | os.PathLike[str], split: str = "train") -> dict[str, Dataset]:
    """The datasets whose folder (see ``FOLDERS``) is in ``root``, by name, in the order of ``DATASETS``.

    A dataset that is there but has no frame of the split is left out with a warning in the log.

    Args:
        root: data folder.
        split: ``train``, ``val`` or ``test``; see ``SPLITS``.
    Raises:
        FileNotFoundError: no ``root``, none of the folders in it, none with a frame of the split, or a
            dataset that is there is incomplete.
        ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}.")
    expected = ", ".join(FOLDERS.values())
    if not Path(root).is_dir():
        raise FileNotFoundError(f"no data folder {root}. It must hold one or more of {expected}.")
    datasets: dict[str, Dataset] = {}
    for name, build in DATASETS.items():
        folder = Path(root) / FOLDERS[name]
        if folder.is_dir():
            try:
                datasets[name] = build(folder, SPLITS[split][name])
            except EmptySplitError as error:
                logger.warning("left out: %s", error)
    if not datasets:
        raise FileNotFoundError(
            f"no dataset with a {split} split in {root}. It must hold one or more of {expected}; "
            "download them, or render small ones with `stablemtl synth`."
        )
    return datasets


def mixture_entries(
    datasets: Mapping[str, Dataset],
    pairs: Iterable[tuple[str, str, float]] = STABLEMTL_PAIRS,
    *,
    tasks: Collection[str] | None = None,
) -> list[Entry]:
    """Entries of a ``Mixture``: the ``pairs`` whose dataset is present, for some or all tasks.

    Args:
        datasets: name to dataset, as from ``open_datasets``.
        pairs: (dataset name, task, weight).
        tasks: to keep; ``None`` keeps those that any present dataset labels.
    Raises:
        ValueError: a task of ``tasks`` is labelled by none of the datasets.
    """
    present = [(name, task, weight) for name, task, weight in pairs if name in datasets]
    labelled = {task for _, task, _ in present}
    missing = sorted(set(tasks or ()) - labelled)
    if missing:
        raise ValueError(
            f"no dataset among {', '.join(datasets) or 'none'} has labels for {', '.join(missing)}; "
            f"they have {', '.join(sorted(labelled)) or 'none'}."
        )
    return [
        Entry(datasets[name], task, weight)
        for name, task, weight in present
        if tasks is None or task in tasks
    ]
