"""Which datasets there are, where each lies in a data folder, and how to open those that are present.

Three kinds: the public ones below; classes that other packages register under the entry point
``stablemtl.datasets``; and folders with a manifest or with prepared samples, which need no code at all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from stablemtl.data.cityscapes import Cityscapes
from stablemtl.data.diode import Diode
from stablemtl.data.flyingchairs import FlyingChairs
from stablemtl.data.flyingthings3d import FlyingThings3D
from stablemtl.data.hypersim import Hypersim
from stablemtl.data.kitti_depth import KittiDepth
from stablemtl.data.kitti_flow import KittiFlow
from stablemtl.data.midintrinsics import MIDIntrinsics
from stablemtl.data.own.manifest import ManifestDataset, find_manifest
from stablemtl.data.prepared import is_prepared, open_prepared, prepared_parts
from stablemtl.data.sample import Dataset, EmptySplitError
from stablemtl.data.vkitti import VirtualKITTI2

ENTRY_POINTS = "stablemtl.datasets"
"""Group of entry points under which other packages register dataset classes."""

PARTS = ("train", "val", "test")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What the package knows about a dataset before opening it."""

    name: str
    """Short name, the ``name`` of the dataset's class."""
    build: Callable[[str | os.PathLike[str], str], Dataset]
    """Called with (root, split)."""
    folder: str
    """Where it lies in a data folder."""
    splits: Mapping[str, str]
    """``train``, ``val``, ``test`` to the dataset's own name for it; a part that it lacks is left out."""
    official: Mapping[str, int] = field(default_factory=dict)
    """Frames of each of its own splits in the official release, as this package reads it."""
    page: str = ""
    """Where to download it."""


CATALOG: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="hypersim",
            build=Hypersim,
            folder="hypersim",
            splits={"train": "train", "val": "val", "test": "test"},
            official={"train": 59_336, "val": 7_386, "test": 7_690},
            page="https://github.com/apple/ml-hypersim",
        ),
        DatasetInfo(
            name="vkitti2",
            build=VirtualKITTI2,
            folder="vkitti2",
            splits={"train": "train", "val": "test", "test": "test"},
            official={"train": 20_148, "test": 5_364},
            page="https://europe.naverlabs.com/proxy-virtual-worlds-vkitti-2/",
        ),
        DatasetInfo(
            name="flyingthings3d",
            build=FlyingThings3D,
            folder="FlyingThings3D_subset",
            splits={"train": "train", "val": "val", "test": "val"},
            official={"train": 19_640, "val": 3_824},
            page="https://lmb.informatik.uni-freiburg.de/resources/datasets/SceneFlowDatasets.en.html",
        ),
        DatasetInfo(
            name="flyingchairs",
            build=FlyingChairs,
            folder="FlyingChairs_release",
            splits={"train": "train", "val": "val", "test": "val"},
            official={"train": 22_232, "val": 640},
            page="https://lmb.informatik.uni-freiburg.de/resources/datasets/FlyingChairs.en.html",
        ),
        DatasetInfo(
            name="cityscapes",
            build=Cityscapes,
            folder="cityscapes",
            splits={"test": "val"},
            official={"val": 500},
            page="https://www.cityscapes-dataset.com",
        ),
        DatasetInfo(
            name="kitti_depth",
            build=KittiDepth,
            folder="kitti_depth",
            splits={"test": "test"},
            official={"test": 652},
            page="https://www.cvlibs.net/datasets/kitti/eval_depth.php",
        ),
        DatasetInfo(
            name="kitti_flow",
            build=KittiFlow,
            folder="kitti_flow_2015",
            splits={"test": "training"},
            official={"training": 200},
            page="https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php",
        ),
        DatasetInfo(
            name="diode",
            build=Diode,
            folder="diode",
            splits={"test": "val"},
            official={"val": 771},
            page="https://diode-dataset.org",
        ),
        DatasetInfo(
            name="midintrinsics",
            build=MIDIntrinsics,
            folder="midintrinsics",
            splits={"test": "test"},
            official={"test": 750},
            page="https://projects.csail.mit.edu/illumination/",
        ),
    )
}
"""The public datasets: four to train on, then five to evaluate on."""


def catalog() -> dict[str, DatasetInfo]:
    """The public datasets, then those that other packages register.

    Raises:
        ValueError: a registered class lacks an attribute, or takes a name that is in use.
    """
    return {**CATALOG, **_registered()}


def describe_class(build: Any) -> DatasetInfo:
    """What the catalog says about a user's dataset class.

    The class must have ``name`` and be callable with (root, split). ``folder`` is its place in a data folder,
    its name by default. ``splits`` lists its splits, or maps ``train``, ``val`` and ``test`` to its own names
    for them; all three by default.

    Raises:
        ValueError: it has no name, is not callable, or maps another part than those three.
    """
    name = getattr(build, "name", None)
    if not isinstance(name, str) or not callable(build):
        raise ValueError(
            f"{ENTRY_POINTS}: {build!r} must be a class with a string `name`, called with (root, split)."
        )
    splits = getattr(build, "splits", PARTS)
    if not isinstance(splits, Mapping):
        splits = {split: split for split in splits}
    if unknown := sorted(set(splits) - set(PARTS)):
        raise ValueError(
            f"{ENTRY_POINTS}: splits of {name} must name train, val or test, got {', '.join(unknown)}. "
            'Map them to the names of the dataset: {"test": "validation"}.'
        )
    return DatasetInfo(name=name, build=build, folder=getattr(build, "folder", name), splits=dict(splits))


def datasets_in(root: str | os.PathLike[str]) -> dict[str, DatasetInfo]:
    """What lies in a data folder, by name: datasets of the catalog in its order, then the user's folders.

    A folder with a manifest is a dataset of the folder's name; prepared samples take the name of the dataset
    that they were made from.

    Raises:
        FileNotFoundError: ``root`` is not a folder.
        ValueError: two folders hold a dataset of the same name.
    """
    base = Path(root)
    known = catalog()
    expected = ", ".join(info.folder for info in known.values())
    if not base.is_dir():
        raise FileNotFoundError(f"no data folder {root}. It must hold one or more of {expected}.")
    found = {}
    for name, info in known.items():
        if (base / info.folder).is_dir():
            prepared = is_prepared(base / info.folder)
            found[name] = _prepared(base, name, info.folder) if prepared else info
    known_folders = {info.folder for info in known.values()}
    for folder in sorted(path for path in base.iterdir() if path.is_dir()):
        if folder.name in known_folders or folder.name.startswith("."):
            continue
        if is_prepared(folder):
            info = _prepared(base, folder.name, folder.name)
        elif find_manifest(folder) is not None:
            info = DatasetInfo(
                name=folder.name,
                build=ManifestDataset,
                folder=folder.name,
                splits={part: part for part in PARTS},
            )
        else:
            continue
        if info.name in found:
            raise ValueError(f"{folder}: there is a dataset {info.name} already; rename the folder.")
        found[info.name] = info
    return found


def open_datasets(root: str | os.PathLike[str], split: str = "train") -> dict[str, Dataset]:
    """The datasets in a data folder that have frames of a split, by name; see ``datasets_in``.

    A dataset that is there but has no frame of the split is left out; with a warning in the log where it
    should have some.

    Args:
        root: data folder.
        split: ``train``, ``val`` or ``test``; each dataset has its own name for it.
    Raises:
        FileNotFoundError: no ``root``, no dataset in it, none with a frame of the split, or a dataset that is
            there is incomplete.
        ValueError: unknown split, or a broken manifest.
    """
    if split not in PARTS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(PARTS)}.")
    datasets: dict[str, Dataset] = {}
    present = datasets_in(root)
    for name, info in present.items():
        if split not in info.splits:
            continue
        try:
            datasets[name] = info.build(Path(root) / info.folder, info.splits[split])
        except EmptySplitError as error:
            logger.warning("left out: %s", error)
    if not datasets:
        expected = ", ".join(info.folder for info in catalog().values())
        raise FileNotFoundError(
            f"no dataset with a {split} split in {root}"
            + (f" ({', '.join(present)} has none)" if present else "")
            + f". It must hold one or more of {expected}, or folders with a manifest; "
            "download them, or render small ones with `stablemtl synth`."
        )
    return datasets


def _prepared(root: Path, name: str, folder: str) -> DatasetInfo:
    parts = prepared_parts(root / folder)
    return DatasetInfo(name=name, build=open_prepared, folder=folder, splits={part: part for part in parts})


@cache
def _registered() -> dict[str, DatasetInfo]:
    """Read once: entry points do not change while a program runs."""
    found: dict[str, DatasetInfo] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        info = describe_class(point.load())
        if info.name in CATALOG or info.name in found:
            raise ValueError(
                f"{ENTRY_POINTS}: {point.value} registers {info.name}, a name that is in use; "
                f"taken are {', '.join([*CATALOG, *found])}."
            )
        found[info.name] = info
    return found
