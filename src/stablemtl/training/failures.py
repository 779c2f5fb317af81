"""How a run ends early: a loss that is no number, too little memory, another process that is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import save_file
from torch import Tensor

from stablemtl.training.config import LoopConfig

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
_GONE = ("connection closed by peer", "connection reset by peer", "remote process exited", "broken pipe")


class DivergedError(RuntimeError):
    """The loss or the gradient is not a finite number."""


class OutOfMemoryError(RuntimeError):
    """A step does not fit into memory."""


class LostProcessError(RuntimeError):
    """Another process of the run has ended."""


def save_batch(
    accelerator: Accelerator,
    path: Path,
    batches: Sequence[tuple[Mapping[str, Tensor], Sequence[str]]],
    about: Mapping[str, str],
) -> str:
    """Write what a step was trained on, of all processes and micro-batches. To be called by every process.

    Tensors are joined along their first axis, process by process, and in it micro-batch by micro-batch. Those
    that do not fit together get their place: ``name.process.micro``. The samples' keys, in the same order,
    are in the file's metadata.

    Args:
        accelerator: of the run.
        path: file to write.
        batches: tensors by name and keys of the samples, of each micro-batch of this process.
        about: further metadata.
    Returns:
        A sentence for the message: where the batch is, of which samples, what in it is not finite.
    """
    mine = [
        ({name: t.detach().cpu() for name, t in tensors.items()}, list(keys)) for tensors, keys in batches
    ]
    everything = gather_object([mine])
    joined: dict[str, Tensor] = {}
    for name in sorted({name for rank in everything for tensors, _ in rank for name in tensors}):
        parts = {
            f"{name}.{process}.{micro}": tensors[name]
            for process, rank in enumerate(everything)
            for micro, (tensors, _) in enumerate(rank)
            if name in tensors
        }
        if len({part.shape[1:] for part in parts.values()}) == 1:
            parts = {name: torch.cat(list(parts.values()))}
        joined |= {key: part.contiguous() for key, part in parts.items()}
    if not joined:
        return ""
    keys = [key for rank in everything for _, own in rank for key in own]
    if accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(joined, path, metadata={**about, "keys": json.dumps(keys)})
    broken = [name for name, values in joined.items() if not torch.isfinite(values.float()).all()]
    shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
    return (
        f"; its batch is in {path}"
        + (f" ({shown})" if shown else "")
        + (f"; not finite in it: {', '.join(broken)}" if broken else "")
    )


@contextmanager
def explained(accelerator: Accelerator, config: LoopConfig) -> Iterator[None]:
    """Errors of torch and of its communication in words that say what to do.

    Raises:
        OutOfMemoryError: the block did not fit into memory.
        LostProcessError: another process of the run has ended.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"a step does not fit into memory with {config.batch_size} samples at a time; "
                f"use {memory_advice(config)}"
            ) from error
        if accelerator.num_processes > 1 and is_lost_process(error):
            raise LostProcessError(
                "another process of this run has ended; its own message says why"
            ) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, on a GPU or not."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(text in str(error).lower() for text in _NO_MEMORY)


def is_lost_process(error: BaseException) -> bool:
    """Whether an error of torch's communication says that another process has closed its end."""
    return any(text in str(error).lower() for text in _GONE)


def memory_advice(config: LoopConfig) -> str:
    """What needs less memory and is not in use yet, as options of the command line."""
    advice = []
    if config.batch_size > 1:
        smaller = next(
            n for n in range(config.batch_size // 2, 0, -1) if config.batch_size % n == 0
        )  # so that the step keeps its samples
        times = config.accumulation * config.batch_size // smaller
        advice.append(
            f"--loop.batch-size {smaller} with --loop.accumulation {times} (the same samples in a step, "
            "so that the run goes on from its checkpoint)"
        )
    if not config.gradient_checkpointing:
        advice.append("--loop.gradient-checkpointing")
    if config.mixed_precision == "no":
        advice.append("--loop.mixed-precision bf16")
    if config.optimizer != "adamw8bit":
        advice.append("--loop.optimizer adamw8bit")
    return ", or ".join(advice) or "a smaller --data.size"
