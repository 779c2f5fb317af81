"""The training loop, the same for every stage: steps, clipping, learning rate, log, checkpoints, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from stablemtl.training.checkpoint import discard_checkpoint, load_checkpoint, save_checkpoint
from stablemtl.training.config import LoopConfig


class Loss(NamedTuple):
    """What a micro-batch gives."""

    value: Tensor
    """Scalar with a gradient."""
    label: str
    """What was trained, for the log: a task's name, or the kind of loss."""


class DivergedError(RuntimeError):
    """The loss is not a number any more."""


def make_accelerator() -> Accelerator:
    """One process, or as many as ``accelerate launch`` started."""
    # A step trains one task: the other tasks' projections take no part in it.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(kwargs_handlers=[unused])


def fit(
    accelerator: Accelerator,
    module: nn.Module,
    loss_at: Callable[[nn.Module, int, int, int], Loss],
    config: LoopConfig,
    folder: Path,
    *,
    run: Any,
    resume: bool = True,
    preview: Callable[[nn.Module, int], dict[str, float]] | None = None,
) -> None:
    """Train ``module`` until ``config.steps`` optimizer steps are done.

    Args:
        accelerator: from :func:`make_accelerator`.
        module: what is trained: its parameters that require a gradient.
        loss_at: (module, step, micro, rank) to the loss of a micro-batch; must depend on nothing else but
            torch's global generator, so that a resumed run repeats it.
        config: how long and how fast.
        folder: receives ``train.jsonl`` and ``checkpoint``.
        run: the whole run's options, kept in the checkpoint.
        resume: continue from the checkpoint in ``folder``; otherwise it is removed.
        preview: (module, step) to validation figures for the log; may write pictures.
    Raises:
        DivergedError: a loss or a gradient is not finite; the last checkpoint stays as it was.
        ValueError: the checkpoint was written with other options.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer: Any = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    module, optimizer = accelerator.prepare(module, optimizer)
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        discard_checkpoint(accelerator, folder)
    start = load_checkpoint(accelerator, folder, run)
    log = _Log(folder / "train.jsonl", accelerator.is_main_process, start)
    with _Progress(accelerator.is_main_process, start, config.steps) as advance:
        for step in range(start, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.rate_at(step)
            torch.manual_seed(_seed(config.seed, step, accelerator.process_index))
            total, label = 0.0, ""
            for micro in range(config.accumulation):
                loss = loss_at(module, step, micro, accelerator.process_index)
                accelerator.backward(loss.value / config.accumulation)
                total, label = total + float(loss.value.detach()) / config.accumulation, loss.label
            if not math.isfinite(total):
                raise DivergedError(
                    f"the loss of step {step} ({label}) is {total}; lower --loop.learning-rate and run again"
                )
            norm = float(accelerator.clip_grad_norm_(parameters, config.gradient_clip))
            if not math.isfinite(norm):
                raise DivergedError(
                    f"the gradient of step {step} ({label}) is {norm}; lower --loop.learning-rate, run again"
                )
            optimizer.step()
            optimizer.zero_grad()
            log.add(step, label, total, norm)
            advance(label, total)
            last = step + 1 == config.steps
            if (step + 1) % config.log_every == 0 or last:
                log.flush(config.rate_at(step))
            if (
                preview is not None
                and config.preview_every
                and ((step + 1) % config.preview_every == 0 or last)
            ):
                module.eval()
                log.write(
                    {"step": step + 1, "validation": preview(accelerator.unwrap_model(module), step + 1)}
                )
                module.train()
            if (step + 1) % config.checkpoint_every == 0 or last:
                save_checkpoint(accelerator, folder, step + 1, run)


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


class _Log:
    """Lines of JSON: mean loss and gradient norm by label since the last line."""

    def __init__(self, path: Path, active: bool, start: int) -> None:
        self.path, self.active = path, active
        self.sums: dict[str, list[float]] = {}
        self.step, self.began, self.since = start, time.perf_counter(), start
        if active and path.exists():
            # Lines after the checkpoint belong to steps that will be done again.
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= start]
            beside = path.with_name(f"{path.name}.part")
            beside.write_text("".join(line + "\n" for line in kept))
            beside.replace(path)

    def add(self, step: int, label: str, loss: float, norm: float) -> None:
        entry = self.sums.setdefault(label, [0.0, 0.0, 0.0])
        for i, value in enumerate((1.0, loss, norm)):
            entry[i] += value
        self.step = step + 1

    def flush(self, rate: float) -> None:
        seconds = time.perf_counter() - self.began
        losses = {label: round(s / n, 6) for label, (n, s, _) in sorted(self.sums.items())}
        norms = {label: round(g / n, 4) for label, (n, _, g) in sorted(self.sums.items())}
        speed = round((self.step - self.since) / max(seconds, 1e-9), 3)
        self.write(
            {
                "step": self.step,
                "loss": losses,
                "gradient_norm": norms,
                "learning_rate": rate,
                "steps_per_second": speed,
            }
        )
        self.sums, self.began, self.since = {}, time.perf_counter(), self.step

    def write(self, line: dict[str, Any]) -> None:
        if self.active:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _step_of(line: str) -> float:
    """The step of a line of the log; infinite for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf


class _Progress:
    """Progress bar on the main process, with the latest loss of each label."""

    def __init__(self, active: bool, start: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.fields[text]}")
        self.bar = Progress(
            BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(), text, disable=not active
        )
        self.task = self.bar.add_task("train", total=steps, completed=start, text="")
        self.means: dict[str, float] = {}

    def __enter__(self) -> Callable[[str, float], None]:
        self.bar.__enter__()
        return self._advance

    def __exit__(self, *error: Any) -> None:
        self.bar.__exit__(*error)

    def _advance(self, label: str, loss: float) -> None:
        self.means[label] = 0.9 * self.means.get(label, loss) + 0.1 * loss
        text = "  ".join(f"{name} {value:.3f}" for name, value in sorted(self.means.items()))
        self.bar.update(self.task, advance=1, text=text)
