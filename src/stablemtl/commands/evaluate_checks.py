"""What ``stablemtl evaluate`` refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemtl.commands.evaluate import EvaluateConfig


def json_file(out: Path) -> Path:
    """Where the JSON goes.

    Raises:
        ValueError: it is neither a JSON file nor a folder.
    """
    if out.suffix == ".json" and not out.is_dir():
        return out
    if out.suffix and not out.is_dir():
        raise ValueError(
            f"--out must be a JSON file or a folder, got {out}. Write {out.with_suffix('.json')}."
        )
    if out.is_file():
        raise ValueError(f"--out {out} is a file without the ending .json. Name another.")
    return out / "report.json"


def check_options(config: EvaluateConfig) -> None:
    """What is wrong with the options, before anything is loaded.

    Raises:
        FileNotFoundError: a folder or a file is not there.
        ValueError: a number is out of range, or options do not go together.
    """
    if config.pictures and (config.data is not None or config.predictions is not None):
        raise ValueError("--pictures have no labels: leave out --data and --predictions, or evaluate twice.")
    if config.sequence and not config.pictures:
        raise ValueError("--sequence belongs to --pictures. Name the frames there.")
    if not 0 < config.field_of_view < 180:
        raise ValueError(f"--field-of-view must be between 0 and 180 degrees, got {config.field_of_view:g}.")
    if config.data is None and config.predictions is None and not config.pictures:
        raise ValueError("--data is needed: the folder of the datasets. Only --pictures do without.")
    for option, folder in (("--data", config.data), ("--predictions", config.predictions)):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{option}: there is no folder {folder}.")
    if config.baseline is not None and not config.baseline.is_file():
        raise FileNotFoundError(f"--baseline: there is no file {config.baseline}.")
    for option, value, least in (
        ("--limit", config.limit or 0, 0),
        ("--batch-size", config.batch_size, 1),
        ("--cases", config.cases, 0),
    ):
        if value < least:
            raise ValueError(f"{option} must be {least} or more, got {value}.")
