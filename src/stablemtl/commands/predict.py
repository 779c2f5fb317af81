"""Predict the seven maps of an image, of two consecutive frames, of many images, or of a video.

    stablemtl predict street.jpg --next street2.jpg --out maps
    stablemtl predict photos --recursive --out maps
    stablemtl predict 'kitti/image_2/*.png' --pair '_10 _11' --out maps
    stablemtl predict clip.mp4 --out maps

For each map a colour picture (.png) and the values (.npz), depth and shading as 16-bit PNG as well, optical
flow in pixels as .flo, a contact sheet of everything, and maps.json, which says what the values mean.

Several images, a folder, a pattern in quotes or a --list: each image has a folder of its own in --out, and
results.parquet a row for each. What cannot be used is listed at the end, and the exit status is then 1.
Interrupted in any way, the same command goes on: what is finished is skipped, if image, model and options are
still the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

Format = Literal["picture", "npz", "png16", "flo", "kitti_flow", "palette", "exr", "ply", "sheet"]


@dataclass(frozen=True, kw_only=True)
class VideoChoices:
    """Of videos alone."""

    start_s: float = 0.0
    """Where to begin, in seconds from the start of the video."""
    stop_s: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Where to end, in seconds from the start of the video; its end if left out."""
    every: int = 1
    """Take every Nth frame; motion is then that of N frames."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Take at most so many frames a second; not together with every."""
    max_frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Take at most so many frames."""
    smoothing: Literal["none", "exponential"] = "exponential"
    """Flicker reduction: exponential takes part of each value from the frame before, along the motion."""
    smoothing_constant: float = 0.6
    """Share of the past that is kept from frame to frame, 0 to 0.95."""
    arrays: bool = True
    """Write the values too."""
    array_type: Literal["float16", "float32"] = "float16"
    """Number type of the values written."""
    quality: int = 18
    """Constant rate factor of the videos written, 0 to 51: lower is better and larger."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Options of ``stablemtl predict``."""

    inputs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT ...", help_behavior_hint=""),
    ] = ()
    """Image file (PNG, JPEG, WebP, TIFF, ...); or several, folders, patterns in quotes; or a video."""
    next: Annotated[Path | None, tyro.conf.arg(metavar="IMAGE2")] = None
    """The frame after the one image INPUT, of the same size; motion needs it."""
    list_file: Annotated[Path | None, tyro.conf.arg(name="list", metavar="FILE")] = None
    """Text file with an image on each line, or two frames with a tab or a comma between them; - for stdin."""
    recursive: bool = False
    """Take the folders in folders as well."""
    pair: Annotated[str, tyro.conf.arg(metavar="RULE")] = "none"
    """Second frames of many images. none; sequence: the next image of the folder; or two patterns, for the
    names of the first and of the second frame: '_10 _11', '*_a.png *_b.png', 'left/* right/*'."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Maps wanted, such as: depth normal. All the model knows if left out."""
    model: str = "nano"
    """Embedded model, folder written by save_pretrained or by stablemtl export, or hub id (owner/name)."""
    out: Path = Path("maps")
    """Folder to write to; made if missing, other files in it stay."""
    formats: Annotated[tuple[Format, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """What to write, each of the maps that it can hold: picture, npz, png16, flo and sheet if left out."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the network; float16 needs a GPU."""
    optimize: Literal["none", "exact", "fast"] = "none"
    """exact: what is quicker on this device and gives the same numbers; fast: what gives about the same."""
    tiny_codec: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """With --optimize fast: a small autoencoder (folder or hub id) in place of the codec."""
    single_stream: bool = False
    """Use the auxiliary network alone: faster, less accurate."""
    processing_resolution: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Longest edge the network runs at, in px; 0 for the image's own size. The model's choice if left out."""
    match_input_resolution: bool = True
    """Write maps of the image's size; if off, of the size processed: smaller files for a large photo."""
    tile: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Take a large image in overlapping tiles of N px, brought to one scale; 0 for the image in one piece."""
    codec_tile: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Take a large image in one piece, but in tiles of N px where memory is short; 0 for no tiles."""
    ensemble_flips: bool = False
    """Predict the mirror image as well, and write the mean; twice the time."""
    confidence: bool = False
    """Write maps of how well the maps agree with each other, and with --ensemble-flips the mirror image."""
    field_of_view: Annotated[float | None, tyro.conf.arg(metavar="DEGREES")] = None
    """Of the longer side of the image, for point clouds and --confidence; 60 is assumed if left out."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Images of one size computed together, of many: 4 if left out; of a video pairs of frames: 1."""
    batch_tasks: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Tasks computed together; fewer need less memory. All if left out."""
    overwrite: bool = False
    """Predict again what an earlier run has finished."""
    fail_fast: bool = False
    """Stop at the first image that cannot be used."""
    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""
    video: VideoChoices = field(default_factory=VideoChoices)
    """Of videos alone."""


def run(config: PredictConfig) -> int:
    """Predict, write, and print what was written."""
    from stablemtl.commands.predict_checks import check, kind_of

    kind = kind_of(config)
    check(config, kind)
    if kind == "video":
        from stablemtl.commands.predict_video import predict_one_video

        return predict_one_video(config)
    if kind == "image":
        from stablemtl.commands.predict_one import predict_one

        return predict_one(config)
    from stablemtl.commands.predict_folder import predict_many

    return predict_many(config)


def pick_device(name: str) -> str:
    """``auto`` resolved to the best device here; anything else as it is."""
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
