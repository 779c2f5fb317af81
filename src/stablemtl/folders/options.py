"""All that is decided about predictions before the first picture. Light to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from stablemtl import __version__
from stablemtl.folders.fingerprint import options_fingerprint


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """How to predict, and what to write. Most are arguments of the pipeline's call, told of there."""

    tasks: tuple[str, ...] = ()
    """Maps wanted; all the model knows if empty."""
    formats: tuple[str, ...] = ()
    """What to write, names of ``stablemtl.outputs.FORMATS``; the usual if empty."""
    processing_resolution: int | None = None
    """Longest edge at which the network runs [px]; 0 for the picture's own size."""
    match_input_resolution: bool = True
    """Maps of the picture's size, not of the size processed."""
    single_stream: bool = False
    """The auxiliary network's own prediction."""
    batch_tasks: int | None = None
    """Tasks computed together; all if None."""
    codec_tile: int = 0
    """Edge of the tiles in which the codec alone takes the picture [px]; 0 for none."""
    tile: int = 0
    """Edge of the tiles in which the whole model takes the picture [px]; 0 for none."""
    flips: tuple[str, ...] = ()
    """Mirror images to average with the picture."""
    confidence: bool = False
    """Whether to add the maps that say how consistent the others are."""
    field_of_view: float | None = None
    """Of the longer side of the picture [degrees]; None where nobody knows."""
    computed_as: str = ""
    """Number type and optimisation of the networks, which the pipeline has; for the books alone."""

    def fingerprint(self) -> str:
        """All of it as text, with the version of the package: the same text, the same files."""
        values = asdict(self)
        values.pop("batch_tasks")  # changes memory and time alone
        return options_fingerprint(values, __version__)


def check_options(options: PredictorOptions) -> None:
    """Refuses numbers out of range, and options that exclude each other. Needs no model.

    Raises:
        ValueError: what is wrong, with the way out.
    """
    for name, value, least in (
        ("processing_resolution", options.processing_resolution, 0),
        ("batch_tasks", options.batch_tasks, 1),
        ("codec_tile", options.codec_tile, 0),
        ("tile", options.tile, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}.")
    if options.field_of_view is not None and not 0 < options.field_of_view < 180:
        raise ValueError(f"--field-of-view must be between 0 and 180 degrees, got {options.field_of_view:g}.")
    if options.tile and options.flips:
        raise ValueError(
            "--tile and --ensemble-flips exclude each other: tiles are brought to one scale, mirror images "
            "to another. Leave one out."
        )
    if options.tile and not options.match_input_resolution:
        raise ValueError("--tile writes maps of the picture's size. Leave out --no-match-input-resolution.")
