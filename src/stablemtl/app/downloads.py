"""Everything of a result as one zip file."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from stablemtl.app.prediction import Result
from stablemtl.outputs import DEFAULT_FORMATS
from stablemtl.point_cloud import why_no_cloud
from stablemtl.writers import staged_file, write_picture

ZIP_NAME = "stablemtl_maps.zip"


def zip_result(result: Result, folder: Path) -> Path:
    """Write what :meth:`Predictions.save` writes, a point cloud and the frames, into a zip file.

    Args:
        result: the maps.
        folder: where to write.
    Returns:
        Path of the zip file.
    """
    maps = folder / "zipped"
    shutil.rmtree(maps, ignore_errors=True)  # of an earlier result, perhaps of other tasks
    frames = [shot.pixels for shot in (result.picture, result.following) if shot is not None]
    has_cloud = any(not why_no_cloud(prediction) for prediction in result.predictions.values())
    result.predictions.save(
        maps,
        formats=[*DEFAULT_FORMATS, *(["ply"] if has_cloud else [])],
        image=frames[0],
        image_next=frames[1] if len(frames) > 1 else None,
    )
    for name, shot in (("image", result.picture), ("image_next", result.following)):
        if shot is not None:
            write_picture(maps / f"{name}.png", shot.image)
    return zip_folder(maps, folder / ZIP_NAME)


def zip_folder(folder: Path, path: Path) -> Path:
    """All files below ``folder``, by their names in it; what is compressed already is stored as it is."""
    with staged_file(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            packed = file.suffix.lower() in (".png", ".npz", ".exr", ".mp4", ".jpg")
            kind = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.write(file, file.relative_to(folder), compress_type=kind)
    return path
