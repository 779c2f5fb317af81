"""What a run will take, before it starts: memory, and time on this device.

Memory comes from a dry step (:mod:`stablemtl.training.dry_step`) and from what is kept for each parameter;
time from the step's operations and the device's measured speed. Not counted: what libraries take for
themselves (an accelerator's driver and kernels, about 1 GB), the codec, validation and pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from stablemtl.models.builders import PAIR_TASKS
from stablemtl.models.model import StableMTLModel
from stablemtl.models.task_attention_config import TaskAttentionConfig
from stablemtl.training.cache_size import CacheSize, cache_size
from stablemtl.training.config import LoopConfig
from stablemtl.training.dry_step import AUTOCAST, DryStep, dry_step
from stablemtl.training.machine import Speed, device_memory, measure_speed

if TYPE_CHECKING:
    from rich.table import Table

_BLOCK_8BIT = 256  # values that share a scale
_UPDATE_TRAFFIC = {32: 40, 8: 28}
"""Bytes moved per parameter by clipping and update, by the bits of the averages: gradient, weight and two
averages, read and written."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory and time of a run; bytes are those of one process."""

    stage: int
    """1 or 2."""
    latent_size: tuple[int, int]
    """Height and width [latent cells]."""
    loop: LoopConfig
    """Batch, number of steps, optimizer, precision."""
    processes: int
    """Processes that train together, each with a copy of the model."""
    step: DryStep
    """What a micro-batch takes."""
    speed: Speed | None = None
    """The device, measured; None if it was not."""
    device_bytes: int | None = None
    """Memory of the device [B]; None if not known."""
    cache: CacheSize | None = None
    """Latents of all samples; None if their number was not given."""

    @property
    def optimizer_bytes(self) -> int:
        """The optimizer's two averages [B]: float32 each, or a byte each and their share of the scales.

        With 8 bits, 256 values share a float32 scale, and tensors of less than 4096 values stay in 32 bits.

        Source: Dettmers et al., 8-bit optimizers via block-wise quantization, arXiv 2110.02861; sizes as in
        bitsandbytes.
        """
        counts = self.step.parameters
        if _bits(self.loop) == 32:
            return 8 * counts.trainable
        scales = 8 * counts.quantized // _BLOCK_8BIT
        return 2 * counts.quantized + scales + 8 * (counts.trainable - counts.quantized)

    @property
    def ema_bytes(self) -> int:
        """Moving average of the weights that train [B]."""
        return self.step.parameters.gradient_bytes if self.loop.ema else 0

    @property
    def exchange_bytes(self) -> int:
        """Copies of the gradients by which several processes exchange them [B]."""
        return self.step.parameters.gradient_bytes if self.processes > 1 else 0

    @property
    def peak_bytes(self) -> int:
        """The most at any moment [B]: in a micro-batch, or in the update.

        The update holds the gradients, and temporary values as large as they are.
        """
        weights, gradients = self.step.parameters.weight_bytes, self.step.parameters.gradient_bytes
        always = weights + self.optimizer_bytes + self.ema_bytes + self.exchange_bytes
        return always + max(self.step.peak_bytes, 2 * gradients)

    @property
    def fits(self) -> bool | None:
        """Whether the device has the memory; None if that is not known."""
        return None if self.device_bytes is None else self.peak_bytes <= self.device_bytes

    @property
    def flops(self) -> int:
        """Additions and multiplications of an optimizer step."""
        return self.step.flops * self.loop.accumulation

    @property
    def seconds_per_step(self) -> float | None:
        """Time of an optimizer step [s]: operations over speed, plus bytes moved over bandwidth.

        Operations run faster alone than in a network: real steps on a CPU took 1.4 times as long.
        """
        if self.speed is None:
            return None
        convolutions = self.step.convolution_flops * self.loop.accumulation
        per_parameter = _UPDATE_TRAFFIC[_bits(self.loop)] + (12 if self.loop.ema else 0)
        traffic = self.step.traffic_bytes * self.loop.accumulation
        traffic += per_parameter * self.step.parameters.trainable
        return (
            (self.flops - convolutions) / self.speed.product_flops
            + convolutions / self.speed.convolution_flops
            + traffic / self.speed.bandwidth
        )

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(what, how much, what that is) for a table."""
        step, loop, (height, width) = self.step, self.loop, self.latent_size
        counts = step.parameters
        batch = f"{loop.batch_size} x {loop.accumulation} x {self.processes} samples"
        yield "stage", str(self.stage), f"{batch} of {height} x {width} latent cells"
        yield "parameters", f"{counts.trainable:,}", f"train; {counts.frozen:,} more do not"
        yield "weights", _size(counts.weight_bytes), "of all parameters"
        yield "optimizer", _size(self.optimizer_bytes), f"two averages of {_bits(loop)} bits of what trains"
        if self.ema_bytes:
            yield "moving average", _size(self.ema_bytes), "of the weights that train"
        if self.exchange_bytes:
            yield "exchange", _size(self.exchange_bytes), "gradients between processes"
        yield "gradients", _size(counts.gradient_bytes), "grow while the activations shrink"
        yield "activations", _size(step.activation_bytes), "kept from the forward to the backward pass"
        yield "micro-batch", _size(step.peak_bytes), "peak of both and of temporary values"
        room = "" if self.device_bytes is None else f"; the device has {_size(self.device_bytes)}"
        room += "; does NOT fit" if self.fits is False else ""
        yield "peak memory", _size(self.peak_bytes), f"an accelerator's libraries take 1 GB more{room}"
        if self.cache is not None:
            kept = f"all samples, in memory; {_size(self.cache.disk_bytes)} on disk"
            yield "latent cache", _size(self.cache.memory_bytes), kept
        yield "operations", f"{self.flops / 1e12:.3g} TFLOP", "of an optimizer step"
        if (seconds := self.seconds_per_step) is not None and self.speed is not None:
            rates = (self.speed.product_flops, self.speed.convolution_flops)
            measured = " and ".join(f"{rate / 1e12:.3g}" for rate in rates)
            yield (
                "time of a step",
                f"{seconds:.3g} s",
                f"measured {measured} TFLOP/s (products, convolutions)",
            )
            yield "time of the run", _duration(seconds * loop.steps), f"{loop.steps:,} steps, nothing else"

    def table(self) -> Table:
        """The rows for a console."""
        from rich.table import Table

        table = Table(show_header=False)
        for justify in ("left", "right", "left"):
            table.add_column(justify=justify)
        for row in self.rows():
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The rows as a Markdown table."""
        lines = [("what", "how much", ""), ("---", "---:", "---"), *self.rows()]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def estimate(
    model: StableMTLModel | Mapping[str, Any],
    latent_size: tuple[int, int],
    loop: LoopConfig,
    *,
    task_attention: TaskAttentionConfig | None = None,
    samples: Mapping[tuple[str, str], int] | None = None,
    variants: int = 1,
    processes: int = 1,
    prepare: Callable[[StableMTLModel], object] | None = None,
    device: torch.device | str | None = None,
) -> Estimate:
    """Memory and time of training ``model``, in seconds and without its memory.

    Args:
        model: what will be trained, or its options (a model's ``config.json``); not changed.
        latent_size: height and width of the latents [cells].
        loop: how long, how fast and in which numbers.
        task_attention: adds a main stream to a single-stream ``model``: stage 2.
        samples: (dataset, task) -> labelled samples, for the room that their latents take.
        variants: versions of each sample.
        processes: how many train together, each with a copy of the model.
        prepare: changes a copy of the model before the step, as training does: adds adapters, freezes a part.
        device: where to measure speed (about 1 s) and memory; None leaves both out.
    Raises:
        ValueError: a number below 1, or options that the model refuses.
    """
    if min(variants, processes) < 1:
        raise ValueError(f"variants and processes must be at least 1, got {variants} and {processes}.")
    config = model.config if isinstance(model, StableMTLModel) else model
    options = {name: value for name, value in config.items() if not name.startswith("_")}
    if task_attention is not None:
        options["task_attention"] = task_attention.to_dict()
    step = dry_step(
        options,
        latent_size,
        loop.batch_size,
        accumulation=loop.accumulation,
        precision=loop.mixed_precision,
        gradient_checkpointing=loop.gradient_checkpointing,
        prepare=prepare,
    )
    speed = memory = cache = None
    if device is not None:
        speed = measure_speed(device, AUTOCAST.get(loop.mixed_precision, torch.float32))
        memory = device_memory(device)
    if samples is not None:
        channels = options["unet"].get("out_channels", 4)
        pairs = options.get("pair_tasks", PAIR_TASKS)
        cache = cache_size(samples, latent_size, channels=channels, pair_tasks=pairs, variants=variants)
    return Estimate(
        stage=1 if options.get("task_attention") is None else 2,
        latent_size=latent_size,
        loop=loop,
        processes=processes,
        step=step,
        speed=speed,
        device_bytes=memory,
        cache=cache,
    )


def _bits(loop: LoopConfig) -> int:
    return 8 if loop.optimizer == "adamw8bit" else 32


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
