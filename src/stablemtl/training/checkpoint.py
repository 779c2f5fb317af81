"""Checkpoints of a run: everything needed to go on, written beside and renamed.

They lie in ``checkpoints/step_000500`` and so on. A folder of that name is complete, whatever happened: one
that is being written or removed has ``.part`` behind its name.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stablemtl import __version__
from stablemtl.training.options import differences, plain
from stablemtl.training.state import EMA, MODEL, TrainState

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
_ABOUT = "run.json"
_NAME = re.compile(r"step_(\d{6,})")


def save_checkpoint(
    state: TrainState,
    folder: Path,
    step: int,
    *,
    run: Any,
    data: Any = None,
    watched: Any = None,
    validation: float | None = None,
    keep_last: int = 2,
    keep_best: bool = True,
) -> None:
    """Write a checkpoint, then remove those that need not be kept. To be called by every process.

    Args:
        state: what is trained.
        folder: of the run.
        step: optimizer steps done.
        run: the run's options, a dataclass.
        data: what the samples are drawn from, in JSON's types.
        watched: state of the run's watcher, in JSON's types.
        validation: mean of the validation figures at this step; the lower, the better.
        keep_last: how many of the latest to keep.
        keep_best: keep the one with the lowest ``validation`` as well.
    """
    accelerator = state.accelerator
    final = folder / FOLDER / f"step_{step:06d}"
    beside = _beside(final)
    if accelerator.is_main_process:
        _sweep(folder)
        beside.mkdir(parents=True)
    state.write(beside)
    if accelerator.is_main_process:
        about = {
            "step": step,
            "validation": validation,
            "code_version": __version__,
            "processes": accelerator.num_processes,
            "frozen": state.frozen_digest,
            "config": plain(run),
            "data": plain(data),
            "watched": plain(watched),
        }
        (beside / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        _replace(final, beside)
        _prune(folder, keep_last, keep_best)
    accelerator.wait_for_everyone()


def load_checkpoint(
    state: TrainState, folder: Path, *, run: Any, data: Any = None, watcher: Any = None
) -> int:
    """Restore the run's latest checkpoint, if there is one. To be called by every process.

    Args:
        state: what is trained, as it starts.
        folder: of the run.
        run: the run's options; must be those of the checkpoint, but for the ones that change no result.
        data: what the samples are drawn from; must be the same.
        watcher: has ``load_state_dict``, which is given what the run's watcher had kept.
    Returns:
        Number of optimizer steps done; 0 without a checkpoint.
    Raises:
        ValueError: the checkpoint belongs to a run with other options, other data or other frozen weights,
            the message names them; or it cannot be read.
    """
    if state.accelerator.is_main_process:
        _sweep(folder)
    place = latest_checkpoint(folder)
    if place is None:
        return 0
    about = read_about(place)
    processes = state.accelerator.num_processes
    differing = sorted(
        differences(
            about["config"] | {"processes": about["processes"]}, plain(run) | {"processes": processes}
        )
        + differences(about["data"], plain(data), "data")
    )
    if differing:
        raise ValueError(
            f"{place} was written with other options ({', '.join(differing)}); "
            "use another --out, or --no-resume to start again"
        )
    if about["frozen"] != state.frozen_digest:
        raise ValueError(
            f"{place} was trained beside other frozen weights; start from the same --init, "
            "use another --out, or --no-resume to start again"
        )
    try:
        state.read(place)
    except (OSError, SafetensorError, KeyError) as error:
        raise ValueError(
            f"{place} cannot be read ({error}); remove this folder to go on from the one before it"
        ) from error
    if watcher is not None and about["watched"] is not None:
        watcher.load_state_dict(about["watched"])
    logger.info("resumed %s", place)
    return int(about["step"])


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = {
        int(match[1]): path
        for path in (folder / FOLDER).glob("step_*")
        if (match := _NAME.fullmatch(path.name)) and (path / _ABOUT).is_file()
    }
    return [found[step] for step in sorted(found)]


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a run with most steps; None without any."""
    return next(reversed(checkpoints(folder)), None)


def best_checkpoint(folder: Path) -> tuple[Path, float] | None:
    """The checkpoint of a run with the lowest mean of validation figures, and that; None without any."""
    rated = [
        (path, float(value))
        for path in checkpoints(folder)
        if (value := read_about(path)["validation"]) is not None
    ]
    return min(rated, key=lambda entry: entry[1], default=None)


def read_about(place: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: step, validation, code_version, processes, frozen, config, data and
    watched."""
    about: dict[str, Any] = json.loads((place / _ABOUT).read_text())
    return about


def checkpoint_weights(place: Path) -> dict[str, Tensor]:
    """The weights that a checkpoint trained, as they are to be used: the moving average where it has one.

    Frozen weights are not among them: load with ``strict=False`` into the model that the run started from.
    """
    weights = load_file(place / MODEL)
    return weights | load_file(place / EMA) if (place / EMA).is_file() else weights


def discard_checkpoints(accelerator: Accelerator, folder: Path) -> None:
    """Remove a run's checkpoints, so that none can be taken up again. To be called by every process."""
    if accelerator.is_main_process and (folder / FOLDER).exists():
        for place in reversed(checkpoints(folder)):  # from the latest: a kill in between leaves a true state
            _remove(place)
        shutil.rmtree(folder / FOLDER)
    accelerator.wait_for_everyone()


@contextmanager
def written_beside(final: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of ``final`` when the block ends without an error.

    Args:
        final: folder to make or to replace; its parent is made if missing.
    """
    beside = _beside(final)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    _replace(final, beside)


def _beside(final: Path) -> Path:
    return final.with_name(f"{final.name}.part")


def _replace(final: Path, complete: Path) -> None:
    """Rename ``complete`` to ``final``; until then there is always a ``final`` or a ``final.old``, if any."""
    for path in complete.rglob("*"):  # on the disk, not on its way there, before it has its name
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    complete.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _remove(place: Path) -> None:
    """Remove a checkpoint, which is none any more from the first moment on."""
    beside = _beside(place)
    shutil.rmtree(beside, ignore_errors=True)
    place.rename(beside)
    shutil.rmtree(beside)


def _sweep(folder: Path) -> None:
    """Remove what was left half-written or half-removed."""
    for path in (folder / FOLDER).glob("step_*.*"):
        shutil.rmtree(path)


def _prune(folder: Path, keep_last: int, keep_best: bool) -> None:
    best = best_checkpoint(folder) if keep_best else None
    for place in checkpoints(folder)[:-keep_last]:
        if best is None or place != best[0]:
            _remove(place)
