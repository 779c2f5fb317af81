"""Convert predicted maps, the .npz files of `stablemtl predict`, into other files, conventions and units.

    stablemtl convert map maps --to exr
    stablemtl convert map maps/normal.npz --to png --normals opengl
    stablemtl convert map maps/depth.npz --to npz --scale-points 320,400,4.2 100,250,11.5

What changes the values adds to the name: normal_opengl.png, depth_scaled.npz.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from stablemtl.camera import Camera
    from stablemtl.outputs import Prediction

_FORMAT_NAMES = ("picture", "npz", "npy", "png16", "flo", "kitti_flow", "palette", "exr", "ply")
_SUFFIX_NAMES = {"png": "picture"}


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """Options of ``stablemtl convert map``."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE ...")]
    """Maps as .npz, or a folder of them written by `stablemtl predict`."""
    to: Annotated[str, tyro.conf.arg(metavar="SUFFIX|FORMAT")]
    """.png (colours), .npz, .npy, .flo, .exr or .ply; or png16, kitti_flow, palette. Several maps become the
    layers of one maps.exr, depth and normals one point cloud."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder to write to; that of the first FILE if left out."""
    normals: Literal["opengl", "opencv"] | None = None
    """Axes of normals: opengl is x right, y up, z backward, out of the surface; opencv is x right, y down,
    z forward, into the surface, as `stablemtl predict` writes them."""
    srgb: bool = False
    """Albedo and shading in sRGB instead of linear light."""
    disparity: bool = False
    """Disparity instead of depth: in px with --focal-px and --baseline-m, otherwise 1 / depth."""
    focal_px: float | None = None
    """Focal length of the camera, in px of the map; for disparity, point clouds and --camera-height."""
    baseline_m: float | None = None
    """Distance of the two cameras of a stereo pair, in m."""
    scale_points: Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y,M ...", help_behavior_hint="")] = ()
    """Bring depth to metres by points of known depth: column, row (px) and metres."""
    camera_height: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    """Bring depth to metres by the height of the camera above flat ground, seen in the lower part."""
    field_of_view: Annotated[float | None, tyro.conf.arg(metavar="DEGREES")] = None
    """Of the longer side, instead of --focal-px; without either, point clouds assume 60 and say so."""
    image: Path | None = None
    """Picture that gives the points of a cloud their colours."""
    max_jump: float | None = None
    """Leave out points at edges, where depth jumps by more than this share; 0.05 is a start."""


def run(config: MapConfig) -> int:
    """Read, convert, write, and print what was written."""
    name = _format(config.to)
    points = [_point(text) for text in config.scale_points]
    _check(config, name)

    maps = _read(config.files)
    converted: dict[str, Prediction] = {}
    stems: dict[str, str] = {}
    used: set[str] = set()
    for task, (path, prediction) in maps.items():
        converted[task], done = _convert(prediction, config, points)
        stems[task] = "_".join([path.stem, *done])
        used.update(done)
    _check_used(config, used, list(maps))
    folder = config.out or next(iter(maps.values()))[0].parent
    for file in _write(converted, stems, folder, name, config, {path for path, _ in maps.values()}):
        print(file)
    return 0


def _format(text: str) -> str:
    from stablemtl.names import choose

    name = text.lower().removeprefix(".")
    name = _SUFFIX_NAMES.get(name, name)
    choose("--to", name, dict.fromkeys(_FORMAT_NAMES))
    return name


def _point(text: str) -> tuple[float, float, float]:
    try:
        x, y, metres = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--scale-points takes column,row,metres such as 320,400,4.2, got {text!r}."
        ) from None
    return x, y, metres


def _check(config: MapConfig, name: str) -> None:
    """What can be said before reading a file."""
    if not config.files:
        raise ValueError("give at least one FILE, a map as .npz.")
    if config.scale_points and config.camera_height is not None:
        raise ValueError("--scale-points and --camera-height both bring depth to metres; choose one.")
    if config.focal_px is not None and config.field_of_view is not None:
        raise ValueError("--focal-px and --field-of-view both describe the camera; choose one.")
    if config.baseline_m is not None and (not config.disparity or config.focal_px is None):
        raise ValueError("--baseline-m needs --disparity and --focal-px.")
    half = config.focal_px is not None and config.baseline_m is None and config.camera_height is None
    if config.disparity and half:
        raise ValueError("--disparity in px needs --baseline-m beside --focal-px.")
    if config.camera_height is not None and config.focal_px is None and config.field_of_view is None:
        raise ValueError("--camera-height needs the camera: --focal-px or --field-of-view.")
    if name == "ply" and config.disparity:
        raise ValueError("a point cloud is made of depth; leave --disparity out.")
    if name != "ply" and (config.image is not None or config.max_jump is not None):
        raise ValueError("--image and --max-jump are for point clouds: --to ply.")


def _read(files: tuple[Path, ...]) -> dict[str, tuple[Path, Prediction]]:
    """Task -> its file and map."""
    from stablemtl.outputs import read_prediction, read_predictions

    found: dict[str, tuple[Path, Prediction]] = {}
    for file in files:
        if file.is_dir():
            maps = {file / f"{task}.npz": one for task, one in read_predictions(file).items()}
        elif file.suffix.lower() != ".npz":
            raise ValueError(f"{file} must be a map as .npz, or a folder of maps.")
        else:
            maps = {file: read_prediction(file)}
        for path, prediction in maps.items():
            if prediction.task in found:
                raise ValueError(f"two maps of {prediction.task}: {found[prediction.task][0]} and {path}.")
            found[prediction.task] = (path, prediction)
    return found


def _convert(
    one: Prediction, config: MapConfig, points: list[tuple[float, float, float]]
) -> tuple[Prediction, list[str]]:
    """The map as asked for, and what was done with it, for its name."""
    from stablemtl import conversions

    done: list[str] = []
    if one.unit == "unit vector" and config.normals is not None:
        change = {"opengl": conversions.normals_to_opengl, "opencv": conversions.normals_to_opencv}
        one = change[config.normals](one)
        done.append(config.normals)
    if one.task in ("albedo", "shading") and config.srgb:
        one = conversions.linear_to_srgb(one)
        done.append("srgb")
    if one.task == "depth" and (points or config.camera_height is not None):
        if points:
            fit = conversions.scale_from_points(one, points)
        else:
            assert config.camera_height is not None
            camera = _camera(config, one.size)
            assert camera is not None
            fit = conversions.scale_from_camera_height(one, config.camera_height, camera)
        one = fit.apply(one)
        kind = "points" if points else "pixels of the ground"
        print(
            f"depth [m] = {fit.scale:.6g} x value + {fit.shift:.6g}; {fit.count} {kind}, "
            f"median residual {fit.residual_m:.3g} m"
        )
        done.append("scaled")
    if one.task == "depth" and config.disparity:
        focal = config.focal_px if config.baseline_m is not None else None
        one = conversions.depth_to_disparity(one, focal_px=focal, baseline_m=config.baseline_m)
        done.append("disparity")
    return one, done


def _check_used(config: MapConfig, used: set[str], tasks: list[str]) -> None:
    """No option may be without effect."""
    asked = {
        "--normals": (config.normals is not None, config.normals or ""),
        "--srgb": (config.srgb, "srgb"),
        "--disparity": (config.disparity, "disparity"),
        "--scale-points": (bool(config.scale_points), "scaled"),
        "--camera-height": (config.camera_height is not None, "scaled"),
    }
    for option, (given, done) in asked.items():
        if given and done not in used:
            raise ValueError(f"{option} has nothing to change: the maps are {', '.join(tasks)}.")


def _write(
    maps: dict[str, Prediction],
    stems: dict[str, str],
    folder: Path,
    name: str,
    config: MapConfig,
    inputs: set[Path],
) -> list[Path]:
    """Write the files; their names."""
    from stablemtl.map_files.formats import MAP_ENDINGS, SHARED_FILES, applied
    from stablemtl.map_files.layers import write_exr_layers

    if name == "ply":
        return [_write_cloud(maps, folder, config)]
    if name == "exr" and len(maps) > 1:
        path = folder / SHARED_FILES["exr"]
        write_exr_layers(path, maps)
        return [path]
    endings = {**MAP_ENDINGS, "exr": ".exr", "npy": ".npy"}
    # A 16-bit PNG holds every map; as a default of `predict` it is written of one channel only.
    tasks = list(maps) if name in ("npy", "png16") else applied(maps, name)[name]
    files = {task: folder / f"{stems[task]}{endings[name]}" for task in tasks}
    same = {path.resolve() for path in inputs} & {path.resolve() for path in files.values()}
    if same:
        raise ValueError(f"{min(same).name} would be written over itself. Name another folder with --out.")
    for task, path in files.items():
        if name == "npy":
            maps[task].save(path)
        elif name == "png16":
            maps[task].save(path, bits=16)
        else:
            maps[task].save(path, format=name)
    return list(files.values())


def _write_cloud(maps: dict[str, Prediction], folder: Path, config: MapConfig) -> Path:
    from stablemtl.map_files.formats import SHARED_FILES
    from stablemtl.point_cloud import point_cloud

    if "depth" not in maps:
        raise ValueError(f"a point cloud needs a map of depth among FILES; they are {', '.join(maps)}.")
    depth = maps["depth"]
    cloud = point_cloud(
        depth,
        config.image,
        camera=_camera(config, depth.size),
        normal=maps.get("normal"),
        max_jump=config.max_jump,
    )
    return cloud.save(folder / SHARED_FILES["ply"])


def _camera(config: MapConfig, size: tuple[int, int]) -> Camera | None:
    from stablemtl.camera import Camera

    if config.focal_px is not None:
        height, width = size
        return Camera(config.focal_px, config.focal_px, (width - 1) / 2, (height - 1) / 2, size)
    if config.field_of_view is not None:
        return Camera.from_field_of_view(size, config.field_of_view)
    return None
