"""What lies in a folder of prepared samples: a header and Arrow files, all of one size.

::

    prepared.json                  what was prepared and from what; every shard with size and checksum
    train/frames-00000.arrow       frames of block 0: ``frame``, uint8 RGB (3, H, W)
    train/depth-00000.arrow        samples of block 0 with the label of a task, a file per task
    train/finished.jsonl           blocks finished since the header was written; only while a run goes on

A *block* holds the samples of ``samples_per_shard`` consecutive frames of a dataset, and needs no other
block. Folders have the names of the dataset's own splits: parts that share a split share its shards.

Columns of a task's shard: ``index`` (frame of the dataset, ascending), ``key``, ``image`` and ``image_next``
(rows of the block's frames; -1 for none), ``target`` (C, H, W) in float16, float32 or uint8, and ``valid``
(H * W bits, the first pixel in the lowest bit of the first byte).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

FORMAT = 1
HEADER = "prepared.json"
JOURNAL = "finished.jsonl"
FRAMES = "frames"
"""In place of a task's name, for the shard of a block's frames."""

LabelDtype = Literal["float16", "float32"]
Compression = Literal["none", "lz4", "zstd"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How samples are prepared. Two runs with equal options on equal data write equal bytes.

    Raises:
        ValueError: an option is out of range.
    """

    size: tuple[int, int]
    """(height, width) [px]."""
    label_dtype: LabelDtype = "float16"
    """Of labels that are not class ids; a shard with a value beyond float16 is float32 either way."""
    samples_per_shard: int = 128
    """Frames of the dataset that share a shard."""
    compression: Compression = "none"
    """Of the shards; those that are not compressed are read without a copy."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size must be (height, width), at least 1 px, got {self.size}.")
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {self.samples_per_shard}.")
        for name, choices in (("label_dtype", LabelDtype), ("compression", Compression)):
            if getattr(self, name) not in get_args(choices):
                got = getattr(self, name)
                raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {got!r}.")


class Shard(NamedTuple):
    """A file of a folder of prepared samples."""

    file: str
    """Relative to the folder, with forward slashes."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """A sample that could not be read when the others were prepared."""

    index: int
    task: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """The shards of some consecutive frames."""

    number: int
    shards: Mapping[str, Shard]
    """By task, and ``frames``; what has no row has no shard."""
    indices: Mapping[str, tuple[int, ...]]
    """Frames with a label of each task, ascending."""
    skipped: tuple[Skipped, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "block": self.number,
            "shards": {kind: shard._asdict() for kind, shard in self.shards.items()},
            "indices": {task: runs_text(indices) for task, indices in self.indices.items()},
            "skipped": [asdict(one) for one in self.skipped],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Block:
        return cls(
            number=int(data["block"]),
            shards={kind: Shard(**shard) for kind, shard in data["shards"].items()},
            indices={task: parse_runs(text) for task, text in data["indices"].items()},
            skipped=tuple(Skipped(**one) for one in data["skipped"]),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """The part of a dataset that a split was made from, to know it again."""

    frames: int
    """Length of the dataset."""
    samples: Mapping[str, int]
    """Frames with a label of each task that is kept."""
    listing: str
    """SHA-256 of the names of the frames, as far as the dataset tells, and of which have labels."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Labels that are kept, in the order of the dataset."""
        return tuple(self.samples)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One of the dataset's own splits, and how far it is."""

    source: Source
    blocks: Mapping[int, Block] = field(default_factory=dict)

    def missing(self, options: Options) -> list[int]:
        """Numbers of the blocks that are not there yet."""
        count = -(-self.source.frames // options.samples_per_shard)
        return [number for number in range(count) if number not in self.blocks]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What ``prepared.json`` says."""

    dataset: str
    made_by: str
    """Package and version; another version may read the sources in another way."""
    options: Options
    parts: Mapping[str, str]
    """``train``, ``val``, ``test`` to the dataset's own splits, as far as they are prepared."""
    splits: Mapping[str, Split]

    def write(self, folder: Path) -> None:
        """Write ``prepared.json``; readers see the old one or the new one."""
        data = {
            "format": FORMAT,
            "dataset": self.dataset,
            "made_by": self.made_by,
            "options": asdict(self.options),
            "parts": dict(self.parts),
            "splits": {
                name: {
                    "source": asdict(split.source),
                    "blocks": [split.blocks[number].to_json() for number in sorted(split.blocks)],
                }
                for name, split in self.splits.items()
            },
        }
        with staged(folder / HEADER) as beside:
            beside.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Header:
        """The header of a folder.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or of another format.
        """
        path = folder / HEADER
        if not path.is_file():
            raise FileNotFoundError(f"no prepared samples in {folder}: there is no {HEADER}.")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(
                    f"{path} has format {data['format']}, this version reads {FORMAT}. Prepare the samples "
                    "again with this version, or use the one that wrote them."
                )
            options = {**data["options"], "size": tuple(data["options"]["size"])}
            return cls(
                dataset=str(data["dataset"]),
                made_by=str(data["made_by"]),
                options=Options(**options),
                parts=data["parts"],
                splits={
                    name: Split(
                        source=Source(**split["source"]),
                        blocks={one["block"]: Block.from_json(one) for one in split["blocks"]},
                    )
                    for name, split in data["splits"].items()
                },
            )
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}). Delete {folder} and prepare it again."
            ) from error


def shard_name(split: str, kind: str, number: int) -> str:
    """File of a shard, relative to the folder; ``kind`` is a task or ``frames``."""
    return f"{split}/{kind}-{number:05d}.arrow"


def shard_problem(folder: Path, shard: Shard) -> OSError | None:
    """What is wrong with the presence or the size of a shard; ``None`` if nothing is."""
    path = folder / shard.file
    if not path.is_file():
        return FileNotFoundError(f"no file {path}")
    if (size := path.stat().st_size) != shard.bytes:
        return OSError(f"{path} has {size} bytes, expected {shard.bytes}")
    return None


def runs_text(indices: Iterable[int]) -> str:
    """Ascending integers as text: 0 1 2 5 7 8 is ``0-2 5 7-8``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_runs(text: str) -> tuple[int, ...]:
    """The integers that ``runs_text`` wrote."""
    numbers: list[int] = []
    for run in text.split():
        first, _, last = run.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A hidden name beside ``path`` to write to; renamed to ``path`` on success, deleted on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
