"""One block of prepared samples: read, resize, pack, write. A block depends on nothing but its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablemtl.data.prepared.layout import (
    FORMAT,
    FRAMES,
    Block,
    Compression,
    LabelDtype,
    Options,
    Shard,
    Skipped,
    shard_name,
    staged,
)
from stablemtl.data.prepared.reading import sha256
from stablemtl.data.sample import Dataset, Sample, SampleError, load_sample
from stablemtl.data.transforms import Compose, Resize
from stablemtl.tasks import TASKS

OnError = Literal["raise", "skip"]

_PLACES = ("channel", "row", "column")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A split to prepare."""

    dataset: Dataset
    options: Options
    folder: Path
    """Receives the shards, in a folder of the split's name."""
    split: str
    indices: Mapping[str, NDArray[np.int64]]
    """Frames with a label of each task, ascending."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Labels to keep, in the order of the dataset."""
        return tuple(self.indices)

    def wanted(self, number: int) -> list[tuple[int, str]]:
        """(frame, task) of the samples of a block, by frame, then by task."""
        first = number * self.options.samples_per_shard
        found = []
        for place, indices in enumerate(self.indices.values()):
            start, end = np.searchsorted(indices, (first, first + self.options.samples_per_shard))
            found += [(index, place) for index in indices[start:end].tolist()]
        return [(index, self.tasks[place]) for index, place in sorted(found)]


@dataclass(frozen=True)
class _Row:
    index: int
    key: str
    image: int
    image_next: int
    target: NDArray[Any]
    valid: NDArray[np.uint8]


@dataclass
class _Frames:
    """Frames of a block, each kept once however many samples show it."""

    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    rows: dict[bytes, int] = field(default_factory=dict)

    def row(self, image: Tensor) -> int:
        pixels = (image.clamp(0.0, 1.0) * 255.0).round_().to(torch.uint8).contiguous().numpy()
        digest = hashlib.blake2b(pixels.data, digest_size=16).digest()
        if digest not in self.rows:
            self.rows[digest] = len(self.pixels)
            self.pixels.append(pixels)
        return self.rows[digest]


def make_block(
    job: Job,
    number: int,
    *,
    on_error: OnError = "raise",
    on_sample: Callable[[], object] = lambda: None,
) -> Block:
    """Prepare one block; its files are there, complete, when this returns.

    Args:
        job: the split.
        number: of the block, from 0.
        on_error: what becomes of a sample that cannot be read.
        on_sample: called after each sample.
    Raises:
        SampleError: a sample cannot be read, and ``on_error`` is ``raise``.
    """
    resize = Compose([Resize(size=job.options.size)], TASKS)
    frames, skipped = _Frames(), []
    rows: dict[str, list[_Row]] = {task: [] for task in job.tasks}
    for index, task in job.wanted(number):
        try:
            sample = load_sample(job.dataset, task, index)
            rows[task].append(_pack(index, resize(sample), frames, job.options.label_dtype))
        except SampleError as error:
            if on_error == "raise":
                raise SampleError(
                    f"{str(error).rstrip('.')}. What is finished is kept; run again when it is repaired, or "
                    "with --on-error skip to leave such samples out."
                ) from error
            skipped.append(Skipped(index, task, str(error)))
        on_sample()
    shards, indices = {}, {}
    if frames.pixels:
        shards[FRAMES] = _write(job, FRAMES, number, {"frame": _tensors(np.stack(frames.pixels))})
    for task, here in rows.items():
        if here:
            shards[task] = _write(job, task, number, _columns(here))
            indices[task] = tuple(row.index for row in here)
    return Block(number=number, shards=shards, indices=indices, skipped=tuple(skipped))


def _pack(index: int, sample: Sample, frames: _Frames, label_dtype: LabelDtype) -> _Row:
    target = sample.target
    if not target.is_floating_point():
        if int(target.min()) < 0 or int(target.max()) > 255:
            raise SampleError(
                f"{sample.dataset} {sample.task}, sample {index}: class ids must lie in 0..255, got "
                f"{int(target.min())}..{int(target.max())}."
            )
        packed = target.to(torch.uint8)
    else:
        packed = target.to(torch.float32)
        half = target.to(torch.float16)
        if label_dtype == "float16" and bool((half.isfinite() == target.isfinite()).all()):
            packed = half
    return _Row(
        index=index,
        key=sample.key,
        image=frames.row(sample.image),
        image_next=-1 if sample.image_next is None else frames.row(sample.image_next),
        target=packed.contiguous().numpy(),
        valid=np.packbits(sample.valid.contiguous().numpy(), bitorder="little"),
    )


def _columns(rows: list[_Row]) -> dict[str, pa.Array]:
    return {
        "index": pa.array(np.array([row.index for row in rows], np.int64)),
        "key": pa.array([row.key for row in rows], pa.string()),
        "image": pa.array(np.array([row.image for row in rows], np.int32)),
        "image_next": pa.array(np.array([row.image_next for row in rows], np.int32)),
        # Where float16 does not hold all labels, stacking makes all of them float32.
        "target": _tensors(np.stack([row.target for row in rows])),
        "valid": _tensors(np.stack([row.valid for row in rows])),
    }


def _tensors(values: NDArray[Any]) -> pa.Array:
    """(N, *shape) as a column of N tensors."""
    shape = values.shape[1:]
    names = _PLACES if len(shape) == len(_PLACES) else None
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(values.dtype), shape, dim_names=names)
    flat = pa.array(values.reshape(-1))
    return pa.ExtensionArray.from_storage(
        kind, pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape, dtype=int)))
    )


def _write(job: Job, kind: str, number: int, columns: dict[str, pa.Array]) -> Shard:
    """One Arrow file, beside its place and then renamed."""
    facts = {"format": str(FORMAT), "dataset": job.dataset.name, "split": job.split, "kind": kind}
    table = pa.table(columns, metadata={f"stablemtl.{name}": text for name, text in facts.items()})
    name = shard_name(job.split, kind, number)
    with staged(job.folder / name) as beside:
        _write_table(beside, table, job.options.compression)
        return Shard(file=name, rows=len(table), bytes=beside.stat().st_size, sha256=sha256(beside))


def _write_table(path: Path, table: pa.Table, compression: Compression) -> None:
    """Uncompressed as one record batch; compressed as one per row, so that a row is read by itself."""
    packed = compression != "none"
    options = pa.ipc.IpcWriteOptions(compression=compression if packed else None, use_threads=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=1 if packed else None)
