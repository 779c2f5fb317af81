"""Datasets in their official download layouts, own data, and mixtures of them."""

from __future__ import annotations

from stablemtl.data.batch import Batch, collate
from stablemtl.data.catalog import (
    CATALOG,
    DatasetInfo,
    catalog,
    datasets_in,
    describe_class,
    open_datasets,
)
from stablemtl.data.cityscapes import Cityscapes
from stablemtl.data.diode import Diode
from stablemtl.data.flyingchairs import FlyingChairs
from stablemtl.data.flyingthings3d import FlyingThings3D
from stablemtl.data.graph import TaskGraph, task_graph
from stablemtl.data.hypersim import Hypersim
from stablemtl.data.kitti_depth import KittiDepth
from stablemtl.data.kitti_flow import KittiFlow
from stablemtl.data.memory import InMemory
from stablemtl.data.midintrinsics import MIDIntrinsics
from stablemtl.data.mixture import Draw, Entry, Mixture
from stablemtl.data.own.manifest import ManifestDataset
from stablemtl.data.pairs import STABLEMTL_PAIRS, mixture_entries
from stablemtl.data.prepared import open_prepared
from stablemtl.data.sample import IGNORE_CLASS, Dataset, EmptySplitError, Sample, SampleError
from stablemtl.data.transforms import (
    PUBLISHED_SIZES,
    ColorJitter,
    Compose,
    HorizontalFlip,
    RandomCrop,
    Resize,
    Transform,
    VerticalFlip,
    published_augmentation,
)
from stablemtl.data.vkitti import VirtualKITTI2

__all__ = [
    "CATALOG",
    "IGNORE_CLASS",
    "PUBLISHED_SIZES",
    "STABLEMTL_PAIRS",
    "Batch",
    "Cityscapes",
    "ColorJitter",
    "Compose",
    "Dataset",
    "DatasetInfo",
    "Diode",
    "Draw",
    "EmptySplitError",
    "Entry",
    "FlyingChairs",
    "FlyingThings3D",
    "HorizontalFlip",
    "Hypersim",
    "InMemory",
    "KittiDepth",
    "KittiFlow",
    "MIDIntrinsics",
    "ManifestDataset",
    "Mixture",
    "RandomCrop",
    "Resize",
    "Sample",
    "SampleError",
    "TaskGraph",
    "Transform",
    "VerticalFlip",
    "VirtualKITTI2",
    "catalog",
    "collate",
    "datasets_in",
    "describe_class",
    "mixture_entries",
    "open_datasets",
    "open_prepared",
    "published_augmentation",
    "task_graph",
]
