"""The books of a preparation: what one folder of prepared samples is to hold, and which blocks are finished.

A finished block is a line in the split's journal, so that nothing but the blocks at work is lost when the
process is killed. The header takes the journals over when a run starts and when it ends.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from stablemtl.data.prepared.layout import HEADER, JOURNAL, Block, Header, Source, shard_problem

logger = logging.getLogger(__name__)


@dataclass
class Ledger:
    """A folder in the making. Nothing is written before ``begin``."""

    folder: Path
    header: Header
    """What the folder is to hold; its blocks are those that an earlier run has finished."""
    clear: bool = False
    """Delete what is there first."""
    blocks: dict[str, dict[int, Block]] = field(default_factory=dict)
    """The finished blocks of each split."""

    def begin(self, *, retry_skipped: bool) -> None:
        """Take up what earlier runs have finished, and put the folder in order.

        Args:
            retry_skipped: make the blocks again of which samples could not be read.
        """
        if self.clear:
            _clear(self.folder)
        for name, split in self.header.splits.items():
            there = {**split.blocks, **_read_journal(self.folder / name / JOURNAL)}
            self.blocks[name] = {
                number: block
                for number, block in there.items()
                if self._is_usable(name, block) and not (block.skipped and retry_skipped)
            }
        self.save()
        for name, blocks in self.blocks.items():
            (self.folder / name).mkdir(exist_ok=True, parents=True)
            known = {shard.file for block in blocks.values() for shard in block.shards.values()}
            for path in (self.folder / name).glob("*.arrow*"):
                if f"{name}/{path.name}" not in known:
                    path.unlink()
        for path in self.folder.glob(f".{HEADER}-*"):
            path.unlink()

    def record(self, split: str, block: Block) -> None:
        """Keep that a block is finished: its shards are in their places."""
        self.blocks[split][block.number] = block
        with (self.folder / split / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(block.to_json()) + "\n")

    def missing(self, split: str) -> list[int]:
        """Blocks of a split that are to be made."""
        return replace(self.header.splits[split], blocks=self.blocks[split]).missing(self.header.options)

    def save(self) -> None:
        """Write the header with all that is finished; the journals have done their work."""
        splits = {
            name: replace(split, blocks=self.blocks[name]) for name, split in self.header.splits.items()
        }
        replace(self.header, splits=splits).write(self.folder)
        for name in splits:
            (self.folder / name / JOURNAL).unlink(missing_ok=True)

    def _is_usable(self, split: str, block: Block) -> bool:
        problems = [shard_problem(self.folder, shard) for shard in block.shards.values()]
        problem = next(filter(None, problems), None)
        if problem is not None:
            logger.warning("block %d of %s is made again: %s", block.number, self.folder / split, problem)
        return problem is None


def open_ledger(folder: Path, wanted: Header, *, overwrite: bool = False) -> Ledger:
    """The ledger of a folder: a new one, or one that goes on with what is there. Nothing is written.

    Parts and splits that are there already stay, and need not be in ``wanted``.

    Args:
        folder: of one dataset.
        wanted: header without blocks.
        overwrite: make anew what was made in another way or from other data.
    Raises:
        ValueError: what is there was made in another way or from other data, or its header is damaged, and
            ``overwrite`` is off; or the folder holds something else.
    """
    if not (folder / HEADER).is_file():
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise ValueError(
                f"{folder} is not empty and holds no prepared samples. Choose another --out: prepared "
                "samples and downloads must not share a folder."
            )
        return Ledger(folder, wanted)
    try:
        there = Header.read(folder)
    except ValueError:
        if overwrite:
            return Ledger(folder, wanted, clear=True)
        raise
    changes = differences(there, wanted)
    if not changes:
        parts, splits = {**there.parts, **wanted.parts}, {**wanted.splits, **there.splits}
        return Ledger(folder, replace(there, parts=parts, splits=splits))
    if overwrite:
        return Ledger(folder, wanted, clear=True)
    raise ValueError(
        f"{folder} was prepared otherwise: {'; '.join(changes)}. Choose another --out, or make it anew with "
        "--overwrite."
    )


def differences(there: Header, wanted: Header) -> list[str]:
    """What makes ``wanted`` another preparation than the one that is ``there``, one phrase each."""
    old = {"dataset": there.dataset, "made by": there.made_by, **asdict(there.options)}
    new = {"dataset": wanted.dataset, "made by": wanted.made_by, **asdict(wanted.options)}
    found = [f"{name} {_text(old[name])}, now {_text(new[name])}" for name in new if old[name] != new[name]]
    for part, split in wanted.parts.items():
        if there.parts.get(part, split) != split:
            found.append(f"part {part} of split {there.parts[part]}, now {split}")
    for name, book in wanted.splits.items():
        if not found and name in there.splits:
            found += _source_differences(name, there.splits[name].source, book.source)
    return found


def _source_differences(split: str, there: Source, wanted: Source) -> list[str]:
    if there.tasks != wanted.tasks:
        return [f"tasks of {split} {_text(there.tasks)}, now {_text(wanted.tasks)}"]
    counts = {"frames": (there.frames, wanted.frames)}
    counts |= {f"samples of {task}": (there.samples[task], count) for task, count in wanted.samples.items()}
    found = [f"{what} in {split} {old}, now {new}" for what, (old, new) in counts.items() if old != new]
    if not found and there.listing != wanted.listing:
        found.append(f"{split} has other frames now, {wanted.frames} as before")
    return found


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _read_journal(path: Path) -> dict[int, Block]:
    """The blocks of a journal; a line that was cut off by the end of the process is left out."""
    blocks = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            block = Block.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            logger.info("%s: a line is cut off; its block is made again", path)
        else:
            blocks[block.number] = block
    return blocks


def _clear(folder: Path) -> None:
    """Delete prepared samples, the header last: a run that is interrupted here can still be repeated."""
    for path in [*folder.glob("*/*.arrow*"), *folder.glob(f"*/{JOURNAL}")]:
        path.unlink()
    for path in folder.iterdir():
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    (folder / HEADER).unlink()
