"""All maps of a prediction to a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stablemtl import writers
from stablemtl.map_files.formats import MAP_ENDINGS, SHARED_FILES, applied
from stablemtl.map_files.layers import write_exr_layers
from stablemtl.map_files.one_map import write_map
from stablemtl.map_files.sidecar import describe_maps, write_sidecar

if TYPE_CHECKING:
    from stablemtl.camera import Camera
    from stablemtl.images import ImageSource
    from stablemtl.outputs import Predictions


def save_folder(
    maps: Predictions,
    folder: str | os.PathLike[str],
    formats: str | Iterable[str],
    *,
    image: ImageSource | None = None,
    image_next: ImageSource | None = None,
    camera: Camera | None = None,
) -> Path:
    """Write every map and the sidecar, all or nothing; see :meth:`stablemtl.outputs.Predictions.save`."""
    chosen = applied(maps, formats)
    files: dict[str, dict[str, str]] = {task: {} for task in maps}
    shared: dict[str, str] = {}
    cloud = None
    with writers.staged_folder(folder) as beside:
        for task, prediction in maps.items():
            for name in (name for name in MAP_ENDINGS if task in chosen.get(name, ())):
                files[task][name] = f"{task}{MAP_ENDINGS[name]}"
                write_map(beside / files[task][name], prediction, name)
        if "exr" in chosen:
            write_exr_layers(beside / SHARED_FILES["exr"], maps)
        if "ply" in chosen:
            cloud = _write_cloud(beside / SHARED_FILES["ply"], maps, chosen["ply"][0], image, camera)
        if "sheet" in chosen:
            writers.write_picture(beside / SHARED_FILES["sheet"], maps.contact_sheet(image, image_next))
        shared.update({name: file for name, file in SHARED_FILES.items() if name in chosen})
        write_sidecar(beside, describe_maps(maps, files, shared, cloud))
    return Path(folder)


def _write_cloud(
    path: Path, maps: Predictions, task: str, image: ImageSource | None, camera: Camera | None
) -> dict[str, object]:
    """Write the point cloud; what it says of itself."""
    from stablemtl.point_cloud import point_cloud

    normals = [one for one in maps.values() if one.unit == "unit vector" and one.size == maps[task].size]
    colours = image if image is not None or not maps.frames else maps.frames[0]
    cloud = point_cloud(maps[task], colours, camera=camera, normal=normals[0] if normals else None)
    cloud.save(path)
    return cloud.facts()
