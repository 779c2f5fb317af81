"""The training loop, the same for every stage: steps, clipping, learning rate, log, checkpoints, resume."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from stablemtl.training.checkpoint import (
    best_checkpoint,
    discard_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from stablemtl.training.config import LoopConfig
from stablemtl.training.failures import DivergedError, explained
from stablemtl.training.logs import Log, Progress, trackers
from stablemtl.training.options import plain
from stablemtl.training.state import TrainState
from stablemtl.training.step import LossAt, train_step

logger = logging.getLogger(__name__)

_OVERFLOWS = 30
"""Steps in a row that fp16 may skip; each halves the scale of its gradients, which starts at 2^16."""


class Watcher(Protocol):
    """Follows the losses of a run, on every process alike, and goes on with it from a checkpoint."""

    def observe(self, step: int, label: str, loss: float) -> object:
        """The loss of a step, from 0, over all its samples; not called for steps that changed nothing."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint is to keep, in JSON's types."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        ...


Preview = Callable[[nn.Module, int], dict[str, float]]


def fit(
    accelerator: Accelerator,
    module: nn.Module,
    loss_at: LossAt,
    config: LoopConfig,
    folder: Path,
    *,
    run: Any,
    data: Any = None,
    elements: float = 1.0,
    isolated: bool = True,
    watcher: Watcher | None = None,
    resume: bool = True,
    preview: Preview | None = None,
) -> None:
    """Train ``module`` until ``config.steps`` optimizer steps are done.

    A step follows the gradient of the sum of all errors divided by the number of all valid elements, over its
    micro-batches and processes: how its samples are split does not matter. A step without any valid element
    changes nothing. At the end the module holds the result, on every process: the trained weights, or their
    moving average.

    Args:
        accelerator: from :func:`stablemtl.training.launch.make_accelerator`.
        module: what is trained: its parameters that require a gradient.
        loss_at: (module, step, micro, rank) to the loss of a micro-batch; must depend on nothing else but
            torch's global generator, so that a resumed run repeats it.
        config: how long and how fast.
        folder: receives ``train.jsonl`` and ``checkpoints``.
        run: the whole run's options, kept in the checkpoints.
        data: what the samples are drawn from, in JSON's types; kept in the checkpoints, and not to change.
        elements: about how many elements a micro-batch has. Sums are divided by it on their way through the
            network, to stay in the range of half precision; the result does not depend on it.
        isolated: all micro-batches of a step have the same label, which is checked; otherwise those of a step
            are logged together, as ``depth+normal``.
        watcher: sees the loss of every step; its state is part of the checkpoints.
        resume: continue from the latest checkpoint in ``folder``; otherwise all are removed.
        preview: (module, step) to validation figures for the log, lower ones better; may write pictures.
            Called on every process, with a module that is not wrapped; the main process's figures count.
    Raises:
        DivergedError: a loss or a gradient is not finite; the checkpoints stay as they were, and the step's
            samples are written to ``diverged_step_N.safetensors``.
        OutOfMemoryError: a step does not fit into memory; the message says what to change.
        LostProcessError: another process of the run has ended.
        ValueError: the checkpoint was written with other options.
    """
    state = TrainState(accelerator, module, config)
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        discard_checkpoints(accelerator, folder)
    start = load_checkpoint(state, folder, run=run, data=data, watcher=watcher)
    best = best_checkpoint(folder)
    lowest = math.inf if best is None else best[1]
    log = Log(folder / "train.jsonl", accelerator, start)
    unit = 2.0 ** -round(math.log2(elements))  # a power of two: nothing is rounded
    overflows = 0
    with (
        explained(accelerator, config),
        trackers(accelerator, plain(run)),
        Progress(accelerator.is_main_process, start, config.steps) as advance,
    ):
        for step in range(start, config.steps):
            result = train_step(state, loss_at, config, folder, step, unit, isolated)
            if result.skipped:
                if accelerator.is_main_process:
                    logger.warning("step %d (%s) changed nothing: %s", step, result.label, result.skipped)
                log.skip(step, result.label)
            else:
                log.add(step, result.label, result.loss, result.norm)
                if watcher is not None:
                    watcher.observe(step, result.label, result.loss)
            overflows = overflows + 1 if math.isnan(result.norm) else 0
            if overflows > _OVERFLOWS:
                raise DivergedError(
                    f"the gradients of {overflows} steps in a row, up to step {step}, do not fit into fp16; "
                    "use --loop.mixed-precision bf16"
                )
            advance(result.label, None if result.skipped else result.loss)
            done, last = step + 1, step + 1 == config.steps
            if done % config.log_every == 0 or last:
                log.flush(config.rate_at(step))
            validation = None
            if preview is not None and config.preview_every and (done % config.preview_every == 0 or last):
                validation = _validated(state, preview, done, log)
            better = config.keep_best and validation is not None and validation < lowest
            lowest = validation if better and validation is not None else lowest
            if done % config.checkpoint_every == 0 or last or better:
                save_checkpoint(
                    state,
                    folder,
                    done,
                    run=run,
                    data=data,
                    watched=None if watcher is None else watcher.state_dict(),
                    validation=validation,
                    keep_last=config.keep_last,
                    keep_best=config.keep_best,
                )
    state.finish()


def _validated(state: TrainState, preview: Preview, done: int, log: Log) -> float | None:
    """Mean of the main process's validation figures, on every process; None if there are none."""
    with state.evaluated() as evaluated:
        figures = preview(evaluated, done)
    log.write({"step": done, "validation": figures})
    return broadcast_object_list([sum(figures.values()) / len(figures) if figures else None])[0]
