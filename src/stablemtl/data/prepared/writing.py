"""Making of prepared samples: decoded, resized and written once, so that training reads them fast.

``stablemtl data prepare`` calls this; ``prepared`` reads the result, ``prepared_layout`` describes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stablemtl.data.catalog import PARTS
from stablemtl.data.prepared.block import OnError
from stablemtl.data.prepared.layout import FRAMES, Compression, LabelDtype, Options, Skipped
from stablemtl.data.prepared.ledger import Ledger
from stablemtl.data.prepared.plan import Work, plan, published_size, select
from stablemtl.data.prepared.pool import Made, make_blocks
from stablemtl.names import choose
from stablemtl.tasks import TASKS

Size = tuple[int, int] | Literal["published"]


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """What a run has done for one split of a dataset."""

    dataset: str
    split: str
    """The dataset's own name for it."""
    parts: tuple[str, ...]
    """Of ``train``, ``val`` and ``test``, those that it serves."""
    folder: Path
    samples: int
    """That can be loaded, of all tasks together."""
    frames: int
    """Kept; a frame that two blocks show counts twice."""
    bytes: int
    new: int
    """Samples that this run has made."""
    seconds: float
    """Time that went into them, summed over the processes."""
    skipped: tuple[Skipped, ...]
    """Samples that could not be read."""


def prepare(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: Size = (96, 128),
    datasets: Collection[str] = (),
    tasks: Collection[str] = (),
    parts: Collection[str] = PARTS,
    label_dtype: LabelDtype = "float16",
    samples_per_shard: int = 128,
    compression: Compression = "none",
    workers: int = 1,
    on_error: OnError = "raise",
    overwrite: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> list[PreparedSplit]:
    """Prepare the datasets of a data folder; ``out`` is then a data folder of its own.

    A run that was interrupted in any way goes on where it was, when it is called with the same arguments; so
    does one for further parts. The result does not depend on interruptions or on ``workers``.

    Args:
        root: data folder with the downloads.
        out: receives a folder for each dataset, of the same name.
        size: (height, width) of the samples [px], or ``published`` for ``PUBLISHED_SIZES``.
        datasets: names of those to prepare; all if empty.
        tasks: labels to keep; all if empty.
        parts: of ``train``, ``val`` and ``test``; a dataset that lacks one is prepared without it,
            and parts that share a split come together.
        label_dtype, samples_per_shard, compression: see ``Options``.
        workers: processes. More than one need the usual ``if __name__ == "__main__":`` in a script.
        on_error: ``raise`` stops at the first sample that cannot be read; ``skip`` leaves it out. Samples
            left out by an earlier run are tried again with ``raise``.
        overwrite: make anew what was made with other options or from other data.
        on_progress: told samples done and samples to do in this run.
    Raises:
        FileNotFoundError: no such root, no dataset in it with these parts and tasks, or an incomplete one.
        SampleError: a sample cannot be read, and ``on_error`` is ``raise``.
        ChildProcessError: a process ended without a word.
        ValueError: an option is unknown or out of range, a dataset has no published size, ``out`` cannot be
            used, or holds samples made with other options or from other data.
    """
    root, out = Path(root), Path(out)
    _check(root, out, tasks=tasks, parts=parts, workers=workers, on_error=on_error)
    works: list[Work] = []
    for info in select(root, datasets):
        options = Options(
            size=published_size(info.name) if size == "published" else size,
            label_dtype=label_dtype,
            samples_per_shard=samples_per_shard,
            compression=compression,
        )
        works += plan(info, options, root, out, tasks=tasks, parts=parts, overwrite=overwrite)
    if not works:
        raise FileNotFoundError(
            f"nothing to prepare in {root}: no dataset there has a {' or '.join(parts)} split with labels "
            f"for {' or '.join(tasks) or 'any task'}."
        )
    # Nothing is written or deleted before all that can be wrong has been looked at.
    for ledger in _ledgers(works):
        ledger.begin(retry_skipped=on_error == "raise")
    return _make(works, workers=workers, on_error=on_error, on_progress=on_progress)


def _check(
    root: Path, out: Path, *, tasks: Collection[str], parts: Collection[str], workers: int, on_error: str
) -> None:
    for task in tasks:
        choose("task", task, TASKS)
    for part in parts:
        choose("part", part, {part: part for part in PARTS})
    if not parts:
        raise ValueError(f"parts must name one or more of {', '.join(PARTS)}, got none.")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}.")
    if root.resolve() == out.resolve():
        raise ValueError(f"out must not be the folder of the downloads, {root}. Choose {root / 'prepared'}.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, {out} is a file.")


def _make(
    works: Sequence[Work],
    *,
    workers: int,
    on_error: OnError,
    on_progress: Callable[[int, int], object] | None,
) -> list[PreparedSplit]:
    jobs = [work.job for work in works]
    todo = [
        (place, number) for place, (job, ledger) in enumerate(works) for number in ledger.missing(job.split)
    ]
    total = sum(len(jobs[place].wanted(number)) for place, number in todo)
    report = None if on_progress is None else (lambda done: on_progress(done, total))
    made: dict[int, list[Made]] = {place: [] for place in range(len(works))}
    blocks = make_blocks(jobs, todo, workers=workers, on_error=on_error, on_progress=report)
    try:
        with closing(blocks):
            for one in blocks:
                works[one.job].ledger.record(jobs[one.job].split, one.block)
                made[one.job].append(one)
    finally:
        for ledger in _ledgers(works):
            ledger.save()
    if on_progress is not None:
        on_progress(total, total)
    return [_sum_up(work, made[place]) for place, work in enumerate(works)]


def _ledgers(works: Sequence[Work]) -> list[Ledger]:
    """Each one once: the splits of a dataset share theirs."""
    return list({id(work.ledger): work.ledger for work in works}.values())


def _sum_up(work: Work, made: Sequence[Made]) -> PreparedSplit:
    header, split = work.ledger.header, work.job.split
    blocks = work.ledger.blocks[split].values()
    return PreparedSplit(
        dataset=header.dataset,
        split=split,
        parts=tuple(part for part, own in header.parts.items() if own == split),
        folder=work.job.folder,
        samples=sum(len(indices) for block in blocks for indices in block.indices.values()),
        frames=sum(block.shards[FRAMES].rows for block in blocks if FRAMES in block.shards),
        bytes=sum(shard.bytes for block in blocks for shard in block.shards.values()),
        new=sum(len(indices) for one in made for indices in one.block.indices.values()),
        seconds=sum(one.seconds for one in made),
        skipped=tuple(skipped for block in blocks for skipped in block.skipped),
    )
