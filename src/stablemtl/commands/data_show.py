"""Write one sample on one sheet: frames, and each label in colours, its mask, its image, and after the codec.

The codec and the encodings are those of a model. Written beside: what the label loses by the encoding alone,
and by encoding and codec, in the figure of the task: no network can be better than that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from stablemtl.data import Dataset
    from stablemtl.data_sheet import LabelView


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Options of ``stablemtl data show``."""

    dataset: Annotated[str, tyro.conf.Positional]
    """Name of the dataset; own data is called after its folder."""
    index: Annotated[int, tyro.conf.Positional]
    """Number of the frame, from 0."""
    root: Path = Path("data")
    """Data folder."""
    part: Literal["train", "val", "test"] = "train"
    """Part of the data that INDEX counts in."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK ...", help_behavior_hint="")] = ()
    """Labels to show, such as: depth normal. All that the frame has if left out."""
    model: str = "nano"
    """Whose encodings and codec: embedded model, folder written by save_pretrained, or hub id."""
    out: Path = Path("sample.png")
    """Picture to write."""


def run(config: ShowConfig) -> int:
    """Write the sheet, and print its figures."""
    if config.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"--out must be a picture, such as sample.png, got {config.out}.")
    dataset = _open(config)

    from stablemtl.data_sheet import data_sheet, labels_at, load_codec, sample_views
    from stablemtl.writers import write_picture

    names = labels_at(dataset, config.index, config.tasks)
    if not names:
        raise ValueError(f"{dataset.name}, frame {config.index} of {config.part} has no label.")
    tasks, codec = load_codec(config.model)
    views = sample_views(dataset, config.index, names, tasks, codec)
    write_picture(config.out, data_sheet(views, model=config.model))
    _print(views, config.out)
    return 0


def _open(config: ShowConfig) -> Dataset:
    """The one dataset; a broken one beside it does no harm."""
    from stablemtl.data import datasets_in
    from stablemtl.names import choose

    info = choose("dataset", config.dataset, datasets_in(config.root))
    split = choose(f"part of {info.name}", config.part, info.splits)
    return info.build(config.root / info.folder, split)


def _print(views: Sequence[LabelView], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("task", "unit", "min / median / max", "valid", "lost by the encoding", "and by the codec")
    for view in views:
        values = view.values_text.replace("  ", "\n") if view.has_numbers else view.values_text
        cells = (view.task.spec.name, view.unit, values, f"{view.valid_share:.1%}")
        errors = (view.error_text(error) for error in (view.encoding_error, view.codec_error))
        table.add_row(*map(Text, (*cells, *errors)))
    console.print(table)
    console.print(Text(str(out)))
