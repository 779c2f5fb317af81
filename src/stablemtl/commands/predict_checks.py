"""Which kind of input ``stablemtl predict`` was given, and which of its options go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from stablemtl.commands.predict import PredictConfig
    from stablemtl.folders.options import PredictorOptions

Kind: TypeAlias = Literal["image", "images", "video"]

_LEAVE_OUT = {
    "video": {
        "next": "a video has its own next frames",
        "list_file": "a video is predicted alone",
        "recursive": "a video is predicted alone",
        "pair": "each frame of a video is paired with the next",
        "formats": "a video has its own files: videos and arrays",
        "tile": "tiles are brought to one scale in each frame by itself, which would flicker",
        "ensemble_flips": "mirror images of a video are not averaged",
        "confidence": "it is for images",
        "field_of_view": "it is for point clouds and --confidence, which are of images",
        "fail_fast": "it is for many images",
    },
    "images": {"next": "it is the frame after one image. For many images say --pair or --list"},
    "image": {"recursive": "it looks into folders, and INPUT is a file"},
}


def kind_of(config: PredictConfig) -> Kind:
    """One image, several, or a video.

    Raises:
        ValueError: nothing was given, or a video and something else.
    """
    from stablemtl.folders.inputs import has_wildcards
    from stablemtl.video import is_video

    if not config.inputs and config.list_file is None:
        raise ValueError("INPUT is missing: an image, several, a folder, a pattern, a video; or --list FILE.")
    videos = [path for path in config.inputs if is_video(path) and not path.is_dir()]
    if videos and (len(config.inputs) > 1 or has_wildcards(str(videos[0]))):
        raise ValueError(f"{videos[0]} is a video, which is predicted alone. Give it as the only INPUT.")
    if videos:
        return "video"
    alone = len(config.inputs) == 1 and config.list_file is None and config.pair == "none"
    if alone and not config.inputs[0].expanduser().is_dir() and not has_wildcards(str(config.inputs[0])):
        return "image"
    return "images"


def check(config: PredictConfig, kind: Kind) -> None:
    """Refuses options that mean nothing for this kind of input, and numbers out of range.

    Raises:
        ValueError: what is wrong, and why.
    """
    from dataclasses import fields

    from stablemtl.folders.options import check_options

    defaults = {one.name: one.default for one in fields(config)}
    for name, reason in _LEAVE_OUT[kind].items():
        if getattr(config, name) != defaults[name]:
            option = "--list" if name == "list_file" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} does not go with {_NAMES[kind]}: {reason}. Leave it out.")
    if kind != "video" and config.video != type(config.video)():
        raise ValueError(f"--video options do not go with {_NAMES[kind]}. Leave them out.")
    if config.batch_size is not None and config.batch_size < 1:
        raise ValueError(f"--batch-size must be 1 or more, got {config.batch_size}.")
    if config.tiny_codec is not None and config.optimize != "fast":
        raise ValueError("--tiny-codec changes the maps a little. Give --optimize fast as well.")
    check_options(options_of(config))
    if config.out.exists() and not config.out.is_dir():
        raise ValueError(f"--out {config.out} is a file. Name a folder.")


_NAMES = {"image": "one image", "images": "several images", "video": "a video"}


def options_of(config: PredictConfig) -> PredictorOptions:
    """What the predictor needs of the options."""
    from stablemtl.folders.options import PredictorOptions

    return PredictorOptions(
        tasks=tuple(dict.fromkeys(config.tasks)),
        formats=tuple(dict.fromkeys(config.formats)),
        processing_resolution=config.processing_resolution,
        match_input_resolution=config.match_input_resolution,
        single_stream=config.single_stream,
        batch_tasks=config.batch_tasks,
        codec_tile=config.codec_tile,
        tile=config.tile,
        flips=("horizontal",) if config.ensemble_flips else (),
        confidence=config.confidence,
        field_of_view=config.field_of_view,
        computed_as=", ".join(
            filter(None, (config.dtype, config.optimize.replace("none", ""), config.tiny_codec))
        ),
    )
