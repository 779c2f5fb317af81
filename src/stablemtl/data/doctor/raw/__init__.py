"""Checks on the files of the public datasets, by dataset class."""

from __future__ import annotations

from stablemtl.data.cityscapes import Cityscapes
from stablemtl.data.diode import Diode
from stablemtl.data.doctor.raw import (
    cityscapes,
    diode,
    flyingchairs,
    flyingthings3d,
    hypersim,
    kitti,
    midintrinsics,
    vkitti,
)
from stablemtl.data.doctor.raw.base import RawChecks
from stablemtl.data.flyingchairs import FlyingChairs
from stablemtl.data.flyingthings3d import FlyingThings3D
from stablemtl.data.hypersim import Hypersim
from stablemtl.data.kitti_depth import KittiDepth
from stablemtl.data.kitti_flow import KittiFlow
from stablemtl.data.midintrinsics import MIDIntrinsics
from stablemtl.data.vkitti import VirtualKITTI2

RAW: dict[type, RawChecks] = {
    Hypersim: hypersim.CHECKS,
    VirtualKITTI2: vkitti.CHECKS,
    FlyingThings3D: flyingthings3d.CHECKS,
    FlyingChairs: flyingchairs.CHECKS,
    Cityscapes: cityscapes.CHECKS,
    KittiDepth: kitti.DEPTH_CHECKS,
    KittiFlow: kitti.FLOW_CHECKS,
    Diode: diode.CHECKS,
    MIDIntrinsics: midintrinsics.CHECKS,
}
"""Dataset class to the checks of its files. Other datasets are checked through their samples alone."""


def forget() -> None:
    """Drop what was read of files that many frames share: they may have changed since the last check."""
    for read in (hypersim.scene_folder, hypersim.camera_positions, kitti.listed_focals):
        read.cache_clear()


__all__ = ["RAW", "RawChecks", "forget"]
