"""Which frames of Hypersim belong to a split: the official CSV, and the two rules of StableMTL's lists.

First rule: frames whose geometry is damaged are left out, for every task. Second rule: depth, albedo and
shading take only frames whose depth is complete, without a NaN. The second needs a look into every depth
file; ``write_complete_frames`` does that once and keeps the answer beside the split file.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from stablemtl.data.formats import write_text
from stablemtl.data.sample import EmptySplitError

SPLIT_CSV = "metadata_images_split_scene_v1.csv"
_COLUMNS = {"scene_name", "camera_name", "frame_id", "included_in_public_release", "split_partition_name"}
_CSV_FOLDERS = ("", "evermotion_dataset/analysis", "metadata", "analysis", "../evermotion_dataset/analysis")
_SCENE_FOLDERS = ("", "scenes", "evermotion_dataset/scenes")

COMPLETE_FRAMES = "frames_with_complete_depth_{split}.txt"
"""Name of the list of the second rule; one line ``scene camera frame`` for each frame."""

BROKEN_SCENES = frozenset({"ai_032_004"})
BROKEN_FRAMES = frozenset(
    {
        ("ai_004_009", "cam_01", 0),
        ("ai_008_001", "cam_01", 0),
        ("ai_008_001", "cam_02", 0),
        ("ai_011_005", "cam_01", 0),
        ("ai_012_007", "cam_01", 0),
        ("ai_016_009", "cam_00", 0),
        ("ai_052_002", "cam_01", 21),
    }
)
"""Public frames with damaged geometry, left out by StableMTL's lists."""


class Frame(NamedTuple):
    """One row of the split file."""

    scene: str
    camera: str
    number: int


def read_split(path: Path, split: str, scenes: Sequence[str] | None = None) -> list[Frame]:
    """Public, undamaged frames of a split in the order of the official CSV."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = sorted(_COLUMNS - set(rows.fieldnames or ()))
        if missing:
            raise ValueError(f"{path} is not the official {SPLIT_CSV}: no column {', '.join(missing)}.")
        frames = [
            Frame(row["scene_name"], row["camera_name"], int(row["frame_id"]))
            for row in rows
            if row["split_partition_name"] == split and row["included_in_public_release"].lower() == "true"
        ]
    frames = [frame for frame in frames if frame.scene not in BROKEN_SCENES and frame not in BROKEN_FRAMES]
    if scenes is not None:
        frames = [frame for frame in frames if frame.scene in set(scenes)]
    if not frames:
        only = "" if scenes is None else f" in the scenes {', '.join(scenes)}"
        raise EmptySplitError(f"hypersim: {path} names no public frame of the {split} split{only}.")
    return frames


def find_split_csv(root: Path) -> Path:
    for folder in _CSV_FOLDERS:
        if (path := root / folder / SPLIT_CSV).is_file():
            return path
    raise FileNotFoundError(
        f"hypersim: no {SPLIT_CSV} in {root} or its evermotion_dataset/analysis. It is part of the official "
        "repository (evermotion_dataset/analysis); copy it beside the scenes."
    )


def find_scenes(root: Path, split: str, scenes: set[str]) -> dict[str, Path]:
    found = {
        scene: path
        for scene in scenes
        for folder in reversed(_SCENE_FOLDERS)
        if (path := root / folder / scene).is_dir()
    }
    missing = sorted(scenes - set(found))
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise FileNotFoundError(
            f"hypersim ({split} split): {len(missing)} of {len(scenes)} scenes of the split have no folder "
            f"in {root}: {some}. Download them, pass scenes=[...], or remove their rows from {SPLIT_CSV}."
        )
    return found


def complete_frames_path(root: Path, split: str) -> Path:
    """Where the list of the second rule is kept: beside the split file."""
    return find_split_csv(root).parent / COMPLETE_FRAMES.format(split=split)


def read_complete_frames(path: Path) -> set[Frame]:
    """Frames of a list made by ``write_complete_frames``.

    Raises:
        ValueError: a line is not ``scene camera frame``.
    """
    frames = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or not words[2].isdigit():
            raise ValueError(f"{path}: a line must be 'scene camera frame', got {line!r}. Make it again.")
        frames.add(Frame(words[0], words[1], int(words[2])))
    return frames


def write_complete_frames(
    path: str | os.PathLike[str],
    frames: Sequence[Frame],
    is_complete: Callable[[Frame], bool],
    *,
    workers: int = 1,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Look at the depth of every frame and write the list of those that are complete.

    Args:
        path: of the list, see ``complete_frames_path``.
        frames: to look at.
        is_complete: whether a frame's depth has no NaN.
        workers: threads that read.
        on_progress: told the number of frames done.
    Returns:
        How many frames are complete.
    Raises:
        OSError: a depth file is missing or damaged; no list is written.
    """
    complete = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, (frame, good) in enumerate(zip(frames, pool.map(is_complete, frames), strict=True), 1):
            if good:
                complete.append(frame)
            if on_progress is not None:
                on_progress(done)
    lines = [f"# {len(complete)} of {len(frames)} frames have no NaN in depth_meters", *map(_line, complete)]
    write_text(path, "\n".join(lines) + "\n")
    return len(complete)


def keep_complete(frames: Iterable[Frame], complete: set[Frame]) -> list[int]:
    """Places of the complete frames among ``frames``."""
    return [place for place, frame in enumerate(frames) if frame in complete]


def _line(frame: Frame) -> str:
    return f"{frame.scene} {frame.camera} {frame.number}"
