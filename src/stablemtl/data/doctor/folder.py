"""What lies in a data folder: datasets, what is almost one, and the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from stablemtl.data.catalog import CATALOG, PARTS, DatasetInfo, catalog, datasets_in
from stablemtl.data.doctor.findings import Finding, examples
from stablemtl.data.own.manifest import ManifestDataset, find_manifest
from stablemtl.data.prepared import is_prepared, open_prepared

MARKS: Mapping[str, tuple[str, ...]] = {
    "hypersim": ("metadata_images_split_scene_v1.csv", "ai_*_*/images", "evermotion_dataset"),
    "vkitti2": ("Scene*/*/frames", "vkitti_2.0.3_*"),
    "flyingthings3d": ("*/flow/left/into_future", "*/image_clean/left"),
    "flyingchairs": ("FlyingChairs_train_val.txt", "data/*_flow.flo"),
    "cityscapes": ("leftImg8bit", "gtFine"),
    "kitti_depth": ("eigen_test_files_with_gt.txt", "*/proj_depth"),
    "kitti_flow": ("training/flow_occ", "training/disp_occ_0"),
    "diode": ("val/indoors", "val/outdoor"),
    "midintrinsics": ("test/*/dir_*_mip2.exr",),
}
"""Names in a dataset's folder that give it away, whatever the folder is called."""


def recognise(folder: Path) -> str | None:
    """Name of the public dataset that a folder holds, by what is in it."""
    for name, marks in MARKS.items():
        if any(next(folder.glob(mark), None) is not None for mark in marks):
            return name
    return None


def find_datasets(root: Path, names: Collection[str] = ()) -> dict[str, DatasetInfo]:
    """The datasets of a data folder, or the one whose own folder ``root`` is, by name.

    Args:
        root: a data folder, or the folder of one dataset.
        names: to keep; all if empty.
    Raises:
        FileNotFoundError: there is no folder, or no dataset in it.
        ValueError: a name is not among the datasets there, or two folders have the same name.
    """
    found = datasets_in(root)
    if not found:
        found = _alone(root)
    if not found:
        expected = ", ".join(info.folder for info in catalog().values())
        strays = look_around(root, found)
        hint = " ".join(f"{finding.message}: {', '.join(finding.examples)}." for finding in strays)
        raise FileNotFoundError(
            f"no dataset in {root}. It must hold one or more of {expected}, or folders with a manifest."
            + (f" {hint}" if hint else "")
        )
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise ValueError(f"no dataset {', '.join(unknown)} in {root}; there are {', '.join(found)}.")
    return {name: info for name, info in found.items() if not names or name in names}


def look_around(root: Path, found: Mapping[str, DatasetInfo]) -> list[Finding]:
    """Findings on folders and files that are no dataset; hidden ones are left out."""
    if any(info.folder == "." for info in found.values()):
        return []
    folders = {info.folder for info in found.values()}
    rest = [p for p in sorted(root.iterdir()) if p.name not in folders and not p.name.startswith(".")]
    rest = [p for p in rest if not (p.name.startswith("synth-") and p.suffix == ".json")]  # our own recipes
    findings, others = [], []
    for path in rest:
        name = recognise(path) if path.is_dir() else None
        if name is None:
            others.append(path.name + ("/" if path.is_dir() else ""))
            continue
        wanted = CATALOG[name].folder
        # Beside a folder of the right name it may well be a copy put aside.
        way_out = f"rename it to {wanted}" if wanted not in folders else f"there is a folder {wanted} as well"
        findings.append(
            Finding(
                severity="warning",
                check="folder",
                dataset="",
                split="",
                message=f"looks like {name} but is not read: {way_out}",
                examples=(path.name + "/",),
            )
        )
    if others:
        findings.append(
            Finding(
                severity="note",
                check="folder",
                dataset="",
                split="",
                message="not read, no dataset",
                examples=examples(others),
                count=len(others),
            )
        )
    return findings


def _alone(root: Path) -> dict[str, DatasetInfo]:
    """The dataset whose own folder ``root`` is."""
    name = root.absolute().name
    every = {part: part for part in PARTS}
    if is_prepared(root):
        return {name: DatasetInfo(name=name, build=open_prepared, folder=".", splits=every)}
    if find_manifest(root) is not None:
        return {name: DatasetInfo(name=name, build=ManifestDataset, folder=".", splits=every)}
    public = recognise(root)
    return {} if public is None else {public: replace(CATALOG[public], folder=".")}
