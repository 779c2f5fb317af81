"""Checkpoints of a run: everything needed to go on, written beside and renamed."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

logger = logging.getLogger(__name__)

_STATE = "run.json"
_FREE = frozenset(
    {"resume", "out", "root", "codec", "init", "checkpoint_every", "preview_every", "log_every", "save_dtype"}
)
"""Options that a resumed run may change: where things lie, and what does not change the result."""


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, config: Any) -> None:
    """Write model, optimizer, random generators, step and config to ``folder/checkpoint``.

    The old checkpoint stays until the new one is complete and in place. To be called by every process.
    """
    final, beside = folder / "checkpoint", folder / "checkpoint.part"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside), safe_serialization=False)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (beside / _STATE).write_text(json.dumps({"step": step, "config": plain(config)}, indent=2) + "\n")
        _replace(final, beside)
    accelerator.wait_for_everyone()


@contextmanager
def written_beside(final: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of ``final`` when the block ends without an error.

    Args:
        final: folder to make or to replace; its parent is made if missing.
    """
    beside = final.with_name(f"{final.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    _replace(final, beside)


def _replace(final: Path, complete: Path) -> None:
    """Rename ``complete`` to ``final``; until then there is always a ``final`` or a ``final.old``, if any."""
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    complete.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def discard_checkpoint(accelerator: Accelerator, folder: Path) -> None:
    """Remove the run's checkpoint, so that it cannot be taken up again. To be called by every process."""
    if accelerator.is_main_process:
        for name in ("checkpoint", "checkpoint.old", "checkpoint.part"):
            shutil.rmtree(folder / name, ignore_errors=True)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, folder: Path, config: Any) -> int:
    """Restore the run's checkpoint, if there is one.

    A checkpoint that was cut off while being written is left aside, the one before it is taken.

    Returns:
        Number of optimizer steps done; 0 without a checkpoint.
    Raises:
        ValueError: the checkpoint belongs to a run with other options; the message names them.
    """
    place = next(
        (p for p in (folder / "checkpoint", folder / "checkpoint.old") if (p / _STATE).is_file()), None
    )
    if place is None:
        return 0
    state = json.loads((place / _STATE).read_text())
    differing = sorted(_differences(state["config"], plain(config)))
    if differing:
        raise ValueError(
            f"{place} was written with other options ({', '.join(differing)}); "
            "use another --out, or --no-resume to start again"
        )
    accelerator.load_state(str(place))
    logger.info("resumed %s at step %d", place, state["step"])
    return int(state["step"])


def plain(config: Any) -> Any:
    """Dataclasses, paths and tuples as JSON values."""
    values = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    return json.loads(json.dumps(values, default=str))


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Names of the options that differ, apart from those in ``_FREE``."""
    if name.split(".")[-1] in _FREE:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            d
            for key in old.keys() | new.keys()
            for d in _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [name]
