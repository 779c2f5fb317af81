"""Options of a training run. Named runs are functions in ``stablemtl.recipes``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from stablemtl.models.task_attention_config import TaskAttentionConfig
from stablemtl.names import TASK_NAMES
from stablemtl.training.adaptive import AdaptiveConfig
from stablemtl.training.lora import LoraOptions
from stablemtl.training.schedule import published_factor


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long, how fast and in which numbers; the same for every stage."""

    steps: int
    """Optimizer steps of the whole run."""
    batch_size: int = 16
    """Samples of a micro-batch on one process."""
    accumulation: int = 1
    """Micro-batches of one optimizer step, all of the same task."""
    optimizer: Literal["adamw", "adam", "adamw8bit"] = "adamw"
    """``adamw8bit`` keeps its averages in 8 bits: a quarter of the memory; needs bitsandbytes."""
    learning_rate: float = 1e-4
    """Peak of the learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the optimizer's averages of the gradient and of its square."""
    eps: float = 1e-8
    """Added to the root of the averaged square."""
    weight_decay: float = 0.0
    """Weight decay: decoupled for ``adamw``, added to the gradient for ``adam``."""
    warmup_steps: int = 100
    """Steps of linear warm-up; ``published`` has its own 100."""
    schedule: Literal["cosine", "exponential", "published"] = "cosine"
    """Decay after the warm-up, towards ``final_ratio`` of the peak in the last step of the run.
    ``published``: that of the released code, whatever the run's length; see
    ``stablemtl.training.schedule``."""
    final_ratio: float = 0.02
    """Learning rate of the last step divided by the peak; ``published`` has its own 0.01 at step 25,000."""
    gradient_clip: float = 1.0
    """Largest global norm of the gradient."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Numbers of the forward and backward pass; weights and optimizer keep 32 bits. ``fp16`` needs a GPU."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: about a third slower, far less memory."""
    ema: float = 0.0
    """Decay of a moving average of the weights, which then is what is validated and written at the end.
    Lower in the first steps: at most (1 + n) / (10 + n) in step n. 0 for none."""
    seed: int = 0
    """Of everything random: initial weights, order of samples, augmentation, masking."""
    log_every: int = 20
    """Steps between lines of ``train.jsonl``."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is written at the end as well."""
    keep_last: int = 2
    """How many of the latest checkpoints are kept."""
    keep_best: bool = True
    """Keep the checkpoint with the lowest mean of the validation figures as well."""
    preview_every: int = 1000
    """Steps between validation figures and pictures; 0 for none."""
    trackers: tuple[str, ...] | None = None
    """Where figures go beside ``train.jsonl``: accelerate's trackers by name (tensorboard, wandb, ...).
    ``None``: TensorBoard if it is installed."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "log_every", "checkpoint_every", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("warmup_steps", "preview_every", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.learning_rate <= 0 or not 0 < self.final_ratio <= 1:
            raise ValueError(
                "learning_rate must be positive and final_ratio in (0, 1], "
                f"got {self.learning_rate} and {self.final_ratio}"
            )
        if not all(0 <= beta < 1 for beta in self.betas) or self.eps <= 0:
            raise ValueError(f"betas must be in [0, 1) and eps positive, got {self.betas} and {self.eps}")
        if not 0 <= self.ema < 1:
            raise ValueError(
                f"ema must be in [0, 1), got {self.ema}; 0.9999 averages over about 10,000 steps"
            )
        for name, choices in (
            ("optimizer", ("adamw", "adam", "adamw8bit")),
            ("schedule", ("cosine", "exponential", "published")),
            ("mixed_precision", ("no", "bf16", "fp16")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")

    def rate_at(self, step: int) -> float:
        """Learning rate of optimizer step ``step``, from 0.

        With the peak p, W steps of warm-up, the final ratio r and the share t of the way from step W to the
        last step: p (step + 1) / W in the warm-up, then p (r + (1 - r) (1 + cos(pi t)) / 2) for the cosine
        and p r^t for the exponential. For ``published`` see
        :func:`stablemtl.training.schedule.published_factor`.
        """
        if self.schedule == "published":
            return self.learning_rate * published_factor(step, self.accumulation)
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.steps - 1 - self.warmup_steps))
        if self.schedule == "exponential":
            return self.learning_rate * self.final_ratio**done
        return self.learning_rate * (
            self.final_ratio + (1 - self.final_ratio) * (1 + math.cos(math.pi * done)) / 2
        )


Augmentation = Literal["none", "flip", "colour", "published"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on."""

    root: Path
    """Folder that holds the datasets in their official layouts; see ``stablemtl.data.CATALOG``."""
    size: tuple[int, int] | None = (96, 128)
    """Height and width of the training samples [px]; ``None`` for the published size of each dataset."""
    augmentation: Augmentation = "colour"
    """``flip``: mirrored with probability 1/2. ``colour``: other colours as well, where the label allows it.
    ``published``: StableMTL's."""
    cache: Literal["memory", "disk", "none"] = "memory"
    """Where encoded samples are kept, so that each version of a sample is encoded once. ``none`` reads,
    augments and encodes every sample whenever it is drawn."""
    cache_folder: Path | None = None
    """With ``disk``: where; runs of the same codec, data and encodings can share it. ``None``: in --out."""
    variants: int = 2
    """With a cache and ``colour``: differently mirrored and coloured versions of each sample."""
    workers: int = 0
    """Without a cache: processes that read samples ahead; 0 reads when asked."""
    on_error: Literal["raise", "skip"] = "raise"
    """A sample that cannot be read stops the run, or is counted and replaced by the next one."""
    tasks: tuple[str, ...] | None = None
    """Tasks to train; ``None`` for all that the model has and the data labels."""
    window: tuple[int, int] | None = None
    """Height and width of the random windows trained on [latent cells]; ``None`` for whole samples."""
    task_weights: Mapping[str, float] | None = None
    """How often a task is trained, relative to 1 of those not named; ``None`` takes them in turn."""
    pairs: tuple[tuple[str, str, float], ...] | None = None
    """(dataset, task, weight) to draw from; ``None``: the published ones, FlyingChairs if present, and every
    task of your own datasets with weight 1."""
    isolated: bool = True
    """One task in each optimizer step; otherwise one in each micro-batch (an ablation)."""

    def __post_init__(self) -> None:
        problems = []
        if self.variants < 1:
            problems.append(f"variants must be at least 1, got {self.variants}")
        if self.workers < 0:
            problems.append(f"workers must not be negative, got {self.workers}")
        for name, choices in (
            ("augmentation", get_args(Augmentation)),
            ("cache", ("memory", "disk", "none")),
            ("on_error", ("raise", "skip")),
        ):
            if getattr(self, name) not in choices:
                problems.append(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.augmentation == "published" and self.cache != "none":
            problems.append("augmentation published changes every sample anew: it needs cache none")
        if self.cache == "disk" and self.augmentation == "colour":
            problems.append("cache disk shares frames between tasks: augmentation must be none or flip")
        if self.cache == "none" and self.window is not None:
            problems.append("window needs a cache (memory or disk)")
        if problems:
            raise ValueError("data: " + "; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class CodecRun:
    """Training of the small latent codec on frames and label images."""

    data: DataConfig
    """What is trained on."""
    loop: LoopConfig
    """How long and how fast."""
    out: Path
    """Folder of the run; the codec is written to ``out/codec``."""
    task_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Encoding of each task; those not named have the published one."""
    crop: int = 64
    """Side of the square windows trained on [px], or the whole sample where that is smaller."""
    frame_share: float = 0.3
    """Share of frames among the images; the rest are label images."""
    latent_noise: float = 0.1
    """Standard deviation of the noise added to latents in training: the decoder must stand small errors."""
    latent_penalty: float = 1e-3
    """Weight of the mean squared latent, which keeps the noise from being outgrown."""
    resume: bool = True
    """Continue from the run's checkpoint where there is one."""


@dataclass(frozen=True, kw_only=True)
class TinyCodecRun:
    """Distillation of a model's codec into a smaller one for the same latents."""

    model: str = "nano"
    """Pipeline whose codec is distilled: a name, a folder or a hub id."""
    data: DataConfig
    """Frames and labels to learn from; the model's own encodings make images of the labels."""
    loop: LoopConfig
    """How long and how fast."""
    out: Path
    """Folder of the run; the tiny codec is written to ``out/tiny_codec``."""
    width: int = 64
    """Channels of its convolutions."""
    blocks: int = 3
    """Residual blocks at each resolution below the image's own."""
    full_size_blocks: int = 1
    """Residual blocks at the image's own resolution, where each costs the most."""
    crop: int = 64
    """Side of the square windows trained on [px], or the whole sample where that is smaller."""
    frame_share: float = 0.3
    """Share of frames among the images; the rest are label images."""
    latent_noise: float = 0.1
    """Standard deviation of the noise added to latents, whose own is about 1, before both decode them."""
    resume: bool = True
    """Continue from the run's checkpoint where there is one."""

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("blocks", 1), ("full_size_blocks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """Training of stage 1 or 2 on latents."""

    stage: Literal[1, 2]
    """1: one UNet for all tasks. 2: a main stream beside the frozen UNet of stage 1."""
    data: DataConfig
    """What is trained on."""
    loop: LoopConfig
    """How long and how fast."""
    out: Path
    """Folder of the run; the finished pipeline is written to ``out/pipeline``."""
    base: str | None = None
    """Stage 1 at full size: Stable Diffusion 2 in diffusers format, a folder or a hub id."""
    codec: Path | None = None
    """Stage 1 of a small model from random weights: folder of the trained codec."""
    init: Path | None = None
    """Stage 2: folder of stage 1's pipeline. Stage 1: folder of a pipeline whose single stream it goes on
    with, or ``nano``."""
    tasks: tuple[str, ...] = TASK_NAMES
    """Tasks of a new model; with ``init`` they are its own."""
    task_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Encoding of each task of a new model, the published one if not named; ``init`` keeps its own."""
    second_frame: Literal["duplicate", "zero", "average"] = "duplicate"
    """What tasks of one frame see as the second one; with ``init`` it is that model's."""
    task_attention: TaskAttentionConfig | None = None
    """Stage 2: sizes and masking of the task attention."""
    main_from: Literal["single_stream", "start"] = "single_stream"
    """Stage 2: the main UNet starts as a copy of stage 1's, or where stage 1 started (an ablation)."""
    lora: LoraOptions | None = None
    """Train low-rank adapters instead of all weights of the UNet; needs peft."""
    adaptive: AdaptiveConfig | None = None
    """Give tasks that learn slowly more steps."""
    pixel_loss: float = 0.0
    """Weight of the squared error of decoded images, beside 1 of the latents; needs ``data.cache`` none."""
    balance_losses: bool = True
    """Divide each task's loss by its label latents' variance, so that faint labels (motion) count as much."""
    save_dtype: Literal["float32", "float16"] = "float16"
    """Type of the weights of the finished pipeline."""
    resume: bool = True
    """Continue from the run's checkpoint where there is one."""
    dry_run: bool = False
    """Print the memory and time that the run would take, and stop."""
    json: bool = False
    """With dry_run: print JSON instead of a table."""

    def __post_init__(self) -> None:
        starts = [name for name in ("base", "codec", "init") if getattr(self, name) is not None]
        if self.stage == 1 and len(starts) != 1:
            raise ValueError(
                "stage 1 needs either codec (a new small model), base (a full-size one) or init (a pipeline "
                f"to go on from), got {' and '.join(starts) or 'none'}"
            )
        if self.stage == 2 and (self.init is None or self.codec is not None):
            raise ValueError("stage 2 needs init, the pipeline written by stage 1, and no codec: init has it")
        if self.stage == 2 and self.base is not None and self.main_from != "start":
            raise ValueError("stage 2 needs base only for main_from start: its UNet comes from init")
        if self.pixel_loss < 0 or (self.pixel_loss > 0 and self.data.cache != "none"):
            raise ValueError(
                "pixel_loss must not be negative, and needs data.cache none: a cache keeps latents only; "
                f"got {self.pixel_loss} and {self.data.cache}"
            )
        if self.lora is not None and self.codec is not None:
            raise ValueError("lora adapts a trained UNet: it needs base or init, not codec (random weights)")
        if self.json and not self.dry_run:
            raise ValueError("json is the form of a dry run's estimate: give dry_run as well.")
        if self.adaptive is not None and not self.data.isolated:
            raise ValueError("adaptive needs data.isolated: it follows the loss of one task in each step")
