"""One process of a run in ``test_processes.py``, started there with its options as the global ``OPTIONS``."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import save_file
from torch import Tensor, nn

from stablemtl import StableMTLModel
from stablemtl.data import Entry, Mixture, Sample
from stablemtl.tasks import TASKS
from stablemtl.training import state
from stablemtl.training.config import LoopConfig
from stablemtl.training.latents import Latents
from stablemtl.training.launch import make_accelerator
from stablemtl.training.loop import fit
from stablemtl.training.losses import squared_error
from stablemtl.training.mixtures import augmenting
from stablemtl.training.step import Loss

NAMES = ("normal", "albedo", "optical_flow")
UNET = {
    "in_channels": 12,
    "out_channels": 4,
    "block_out_channels": [16],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D"],
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
    "use_linear_projection": True,
}


class Averages:
    """Stands for a codec: a latent cell is the mean of its 2 x 2 pixels, and the mean of that."""

    downscale = 2

    def encode(self, images: Tensor) -> Tensor:
        cells = F.avg_pool2d(images, 2)
        return torch.cat([cells, cells.mean(1, keepdim=True)], 1)


class Pictures:
    """Random frames and labels of 24 x 32 pixels; the part that is valid differs from one to the other."""

    def __init__(self, name: str, tasks: tuple[str, ...], length: int) -> None:
        self.name, self.tasks, self.length = name, tasks, length

    def __len__(self) -> int:
        return self.length

    def indices(self, task: str) -> Sequence[int]:
        return range(self.length)

    def load(self, index: int, task: str) -> Sample:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.name} {task} {index}".encode()))
        spec = TASKS[task].spec
        frames = torch.rand(2, 3, 24, 32, generator=generator)
        valid = torch.zeros(1, 24, 32, dtype=torch.bool)
        valid[:, : 24 * (index % 4) // 3] = True  # none, a third, two thirds, all of it
        return Sample(
            image=frames[0],
            image_next=frames[1] if spec.frames == 2 else None,
            target=torch.rand(spec.channels, 24, 32, generator=generator),
            valid=valid,
            task=task,
            dataset=self.name,
            key=str(index),
        )


def make_model(streams: int, masking: float) -> StableMTLModel:
    """Of one stream, or with a main stream that hides tasks at random."""
    torch.manual_seed(0)
    attention = None
    if streams == 2:
        attention = {"heads": 2, "query_hidden_dim": 8, "query_hidden_layers": 0, "blocks": "decoder"}
        attention |= {"mask_probability": masking}
    model = StableMTLModel(unet=UNET, tasks=list(NAMES), token_lengths=[2] * 3, task_attention=attention)
    model.set_tokens({name: torch.randn(2, 8) for name in NAMES})
    for name, parameter in model.named_parameters():
        if name.startswith("task_attention") and parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.1)  # the last ones start as zeros, which would hide the rest
    return model.train()


def make_latents(loop: LoopConfig, processes: int) -> Latents:
    rooms, pairs = Pictures("rooms", ("normal", "albedo"), 7), Pictures("pairs", NAMES, 5)
    entries = [
        Entry(rooms, "normal", 1.0),
        Entry(pairs, "normal", 0.5),
        Entry(rooms, "albedo", 1.0),
        Entry(pairs, "optical_flow", 1.0),
    ]
    mixture = Mixture(
        entries,
        batch_size=loop.batch_size,
        seed=loop.seed,
        accumulation=loop.accumulation,
        world_size=processes,
    )
    return Latents(
        mixture,
        Averages(),  # type: ignore[arg-type]
        TASKS,
        versions=[augmenting("colour", TASKS)] * 2,
        window=(12, 12),
        seed=loop.seed,
    )


def share_weights() -> None:
    """FSDP on CPUs, which torch has and accelerate does not offer."""
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
    make_accelerator()
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write(step: int) -> None:
    """A kill when half of the optimizer's file of the checkpoint of ``step`` is on the disk."""
    real: Callable[..., None] = state.save_file

    def save(values: dict[str, Tensor], path: Path, **options: Any) -> None:
        real(values, path, **options)
        if path.name == state.OPTIMIZER and path.parent.name.startswith(f"step_{step:06d}"):
            os.truncate(path, path.stat().st_size // 2)
            kill()

    state.save_file = save  # type: ignore[assignment]


def main(
    *,
    out: Path,
    rank: int,
    processes: int,
    port: int,
    streams: int = 1,
    masking: float = 0.5,
    fsdp: bool = False,
    kill_at: int = -1,
    kill_writing: int = -1,
    kill_rank: int = -1,
    failure: str = "",
    loop: dict[str, Any],
) -> None:
    """Train, and write what came out to ``out/result.safetensors``.

    Args:
        kill_at: step in which ``kill_rank`` (-1: all) is killed, after its first micro-batch.
        kill_writing: step in whose checkpoint the main process is killed.
        failure: ``memory`` or ``nan``, of the last process in step 4; ``task``: another one than the others'.
    """
    text = os.open(out.with_name(f"{out.name}.{rank}.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(text, 1)
    os.dup2(text, 2)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if processes > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    if fsdp:
        share_weights()
    if kill_writing >= 0:
        kill_in_write(kill_writing)
    config = LoopConfig(
        **{"warmup_steps": 0, "learning_rate": 1e-3, "log_every": 1, "preview_every": 0, "trackers": ()}
        | loop
    )
    accelerator = make_accelerator(config)
    assert accelerator.num_processes == processes
    assert accelerator.is_fsdp2 == fsdp
    model, latents = make_model(streams, masking), make_latents(config, processes)

    def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        if step == kill_at and micro == config.accumulation - 1 and kill_rank in (-1, rank):
            kill()
        batch = latents.batch(step, micro, rank)
        pred = module(batch.latent, batch.latent_next, tasks=[batch.task])[batch.task]
        total, count = squared_error(pred, batch.target, batch.valid)
        label = batch.task
        if step == 4 and rank == processes - 1:
            if failure == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            total = total * float("nan") if failure == "nan" else total
            label = "depth" if failure == "task" else label
        return Loss(total, count, label, batch.tensors(), batch.keys)

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        batch = latents.batch(1000)
        with torch.no_grad():
            pred = module(batch.latent, batch.latent_next, tasks=[batch.task])[batch.task]
        total, count = squared_error(pred, batch.target, batch.valid)
        return {batch.task: float(total / count)}

    # Of one size for every way to split a step.
    elements = 256 * config.batch_size * config.accumulation * processes
    fit(accelerator, model, loss_at, config, out, run={"loop": loop}, elements=elements, preview=preview)
    if rank == 0:
        save_file({n: v.contiguous() for n, v in model.state_dict().items()}, out / "result.safetensors")


if "OPTIONS" in globals():
    main(**globals()["OPTIONS"])
