"""The processes of a run: one, or as many as ``accelerate launch`` started, and how they share a model."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedType

from stablemtl.training.config import LoopConfig

TENSORBOARD = "tensorboard"


def make_accelerator(config: LoopConfig | None = None, folder: Path | None = None) -> Accelerator:
    """The processes of a run, with its precision and trackers.

    Args:
        config: precision and trackers; ``None`` for 32 bits and no tracker.
        folder: where trackers write that write files.
    Raises:
        ValueError: a tracker is unknown or not installed; ``fp16`` without a GPU; an engine other than plain
            processes and FSDP of version 2.
    """
    precision = "no" if config is None else config.mixed_precision
    trackers = () if config is None else tracker_names(config.trackers)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()  # kept by accelerate for the whole process: another run was before
    accelerator = Accelerator(
        mixed_precision=precision,
        log_with=list(trackers) or None,
        project_dir=None if folder is None else str(folder),
        # A step trains one task: the other tasks' projections take no part in it.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    accelerator.gradient_accumulation_steps = 1  # the loop divides by itself, whatever the launcher was told
    if precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("mixed_precision fp16 needs a GPU; use bf16 or no")
    if accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ValueError(
            f"training does not run under {accelerator.distributed_type.value}; launch plain processes "
            "(`accelerate launch --num_processes N`) or FSDP (--use_fsdp --fsdp_version 2)"
        )
    if accelerator.distributed_type == DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise ValueError("training needs FSDP of version 2; launch with --fsdp_version 2")
        # Every process builds the same model and keeps its share: buffers have no share to be loaded from.
        accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = False
    return accelerator


def tracker_names(wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The trackers to use: those wanted, or TensorBoard if it is installed.

    Raises:
        ValueError: one of those wanted is unknown or not installed.
    """
    installed = sorted(str(tracker) for tracker in get_available_trackers())
    if wanted is None:
        return (TENSORBOARD,) if TENSORBOARD in installed else ()
    for name in wanted:
        if name not in installed:
            raise ValueError(
                f"trackers: {name!r} is not installed, or no tracker of accelerate; "
                f"installed are {', '.join(installed) or 'none'}"
            )
    return wanted
