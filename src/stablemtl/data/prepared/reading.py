"""Prepared samples as a dataset: made once by ``stablemtl data prepare``, mapped from disk ever after.

The layout is that of ``prepared_layout``.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.data.prepared.layout import FRAMES, HEADER, Header, Shard, Split, shard_problem
from stablemtl.data.sample import Dataset, EmptySplitError, Sample, check_task

_MOST_OPEN = 16_384

AGAIN = "Delete what is damaged and run the same `stablemtl data prepare` again: it makes what is missing."


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Whether ``folder`` holds prepared samples, complete or not."""
    return (Path(folder) / HEADER).is_file()


def prepared_parts(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Which of ``train``, ``val`` and ``test`` are prepared in ``folder``, complete or not.

    Raises:
        FileNotFoundError: nothing prepared there.
        ValueError: the header is damaged or of another format.
    """
    return tuple(Header.read(Path(folder)).parts)


def open_prepared(folder: str | os.PathLike[str], split: str) -> Dataset:
    """The prepared samples in ``folder``, under the name of the dataset that they were made from.

    Args:
        folder: of one dataset, such as ``data/prepared/hypersim``.
        split: ``train``, ``val`` or ``test``.
    Returns:
        A ``PreparedDataset``.
    Raises:
        FileNotFoundError: nothing prepared there, the preparation is not finished, or a shard is missing.
        EmptySplitError: this part was not prepared.
        OSError: a shard has not the size that the header says.
        ValueError: the header is damaged or of another format.
    """
    return PreparedDataset(folder, split)


class PreparedDataset:
    """Samples at training size, from Arrow files that are mapped into memory.

    Frames have 8 bits per channel: exact where the source has and was not resized, else off by 1/510 at most.
    Labels have the relative error of float16, at most 2^-11 (3e-8 absolute below 6e-5), or none, if they were
    prepared as float32; class ids and masks are exact. Lengths and indices are those of the source; samples
    that were skipped when preparing are not in ``indices``.

    Files are opened when they are first needed, and stay mapped without an open file. Reading is safe from
    several threads and after a fork; a copy sent to another process opens its own.

    Args, Raises: as for ``open_prepared``.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str = "train") -> None:
        self.folder, self.split = Path(folder), split
        self.header = Header.read(self.folder)
        name = self.name
        if split not in self.header.parts:
            there = ", ".join(self.header.parts)
            raise EmptySplitError(
                f"{name} ({split} split): {self.folder} has no such part prepared, only {there}. "
                f"Prepare it with `stablemtl data prepare --parts {split}` if the source has it."
            )
        self._split: Split = self.header.splits[self.header.parts[split]]
        if missing := self._split.missing(self.header.options):
            raise FileNotFoundError(
                f"{name} ({split} split): the preparation of {self.folder} is not finished, {len(missing)} "
                f"of {len(missing) + len(self._split.blocks)} blocks are missing. Run the same "
                "`stablemtl data prepare` again: it goes on."
            )
        for block in self._split.blocks.values():
            for shard in block.shards.values():
                if problem := shard_problem(self.folder, shard):
                    raise type(problem)(f"{name} ({split} split): {problem}. {AGAIN}")
        self._indices: dict[str, list[int]] = {
            task: [
                index
                for number in sorted(self._split.blocks)
                for index in self._split.blocks[number].indices.get(task, ())
            ]
            for task in self.tasks
        }
        self._open: dict[str, _Table] = {}

    @property
    def name(self) -> str:
        return self.header.dataset

    @property
    def tasks(self) -> tuple[str, ...]:
        return self._split.source.tasks

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of all samples [px]."""
        return self.header.options.size

    def __len__(self) -> int:
        return self._split.source.frames

    def indices(self, task: str) -> Sequence[int]:
        """Those of the source, ascending, without what was skipped when preparing."""
        check_task(self.name, task, self.tasks)
        return self._indices[task]

    def load(self, index: int, task: str) -> Sample:
        """One frame, or pair of frames, with one label; see the class.

        Raises:
            ValueError: no such task here, or frame ``index`` has no label of it.
            IndexError: no such frame.
        """
        check_task(self.name, task, self.tasks)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} ({self.split} split) has {len(self)} frames, no frame {index}.")
        block = self._split.blocks[index // self.header.options.samples_per_shard]
        indices = block.indices.get(task, ())
        row = bisect_left(indices, index)
        if row == len(indices) or indices[row] != index:
            raise ValueError(f"{self.name} frame {index} has no {task}; use indices().")
        labels, frames = self._table(block.shards[task]), self._table(block.shards[FRAMES])
        following = int(labels.value("image_next", row))
        target = labels.tensor("target", row)
        bits = np.unpackbits(labels.array("valid", row), count=self.size[0] * self.size[1], bitorder="little")
        return Sample(
            image=_unit(frames.tensor("frame", int(labels.value("image", row)))),
            image_next=_unit(frames.tensor("frame", following)) if following >= 0 else None,
            target=target.to(torch.float32 if target.is_floating_point() else torch.int64),
            valid=torch.from_numpy(bits.view(np.bool_).reshape(1, *self.size)),
            task=task,
            dataset=self.name,
            key=str(labels.value("key", row)),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def _table(self, shard: Shard) -> _Table:
        table = self._open.get(shard.file)
        if table is None:
            if len(self._open) >= _MOST_OPEN:
                self._open.clear()  # systems limit the number of mappings
            table = self._open[shard.file] = _Table(self.folder / shard.file)
        return table


class _Table:
    """An Arrow file, mapped into memory.

    Without compression it holds one record batch, whose columns are kept as views of the file; else one batch
    per row, which is decompressed when it is asked for.
    """

    def __init__(self, path: Path) -> None:
        try:
            with pa.memory_map(str(path)) as file:
                content = file.read_buffer()  # keeps the mapping, not the file
            self._reader = pa.ipc.open_file(content, options=pa.ipc.IpcReadOptions(use_threads=False))
            single = self._reader.num_record_batches == 1
            self._columns = self._reader.schema.names
            self._only = self._views(0) if single else None
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} is damaged ({error}). {AGAIN}") from error

    def value(self, column: str, row: int) -> Any:
        views, row = self._at(row)
        return views[column][row]

    def array(self, column: str, row: int) -> NDArray[Any]:
        """A row of a column of tensors; a view, to be read only."""
        views, row = self._at(row)
        array: NDArray[Any] = views[column][row]
        return array

    def tensor(self, column: str, row: int) -> Tensor:
        """The same as a copy that can be written to."""
        return torch.from_numpy(self.array(column, row).copy())

    def _at(self, row: int) -> tuple[dict[str, Any], int]:
        return (self._views(row), 0) if self._only is None else (self._only, row)

    def _views(self, number: int) -> dict[str, Any]:
        batch = self._reader.get_batch(number)
        return {name: _view(batch.column(place)) for place, name in enumerate(self._columns)}


def _view(column: Any) -> Any:
    """A column of tensors as an array (rows, *shape), of numbers as an array, of texts as a list."""
    if isinstance(column.type, pa.FixedShapeTensorType):
        values = column.storage.values.to_numpy(zero_copy_only=True)
        return values.reshape(len(column), *column.type.shape)
    return column.to_pylist() if pa.types.is_string(column.type) else column.to_numpy(zero_copy_only=True)


def _unit(pixels: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1], as ``image_tensor``."""
    return pixels.to(torch.float32).div_(255.0)


def verify_prepared(
    folder: str | os.PathLike[str], *, on_progress: Callable[[int], object] | None = None
) -> list[str]:
    """Read every shard of a folder and compare it with its checksum.

    Args:
        folder: of one dataset.
        on_progress: told the bytes of each shard when it is done.
    Returns:
        One line for every shard that is missing, truncated or altered, and every split that is not finished.
    Raises:
        FileNotFoundError: nothing prepared there.
        ValueError: the header is damaged or of another format.
    """
    base = Path(folder)
    header = Header.read(base)
    problems = []
    for name, split in header.splits.items():
        if missing := split.missing(header.options):
            problems.append(f"{base}: the {name} split is not finished, blocks missing: {len(missing)}")
        for block in split.blocks.values():
            for shard in block.shards.values():
                if problem := shard_problem(base, shard):
                    problems.append(str(problem))
                elif sha256(base / shard.file) != shard.sha256:
                    problems.append(f"{base / shard.file} was altered: its SHA-256 is not {shard.sha256}")
                if on_progress is not None:
                    on_progress(shard.bytes)
    return problems


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
