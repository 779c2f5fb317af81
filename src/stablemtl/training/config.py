"""Options of a training run. Named runs are functions in ``stablemtl.recipes``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stablemtl.models.task_attention import TaskAttentionConfig


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast; the same for every stage."""

    steps: int
    """Optimizer steps of the whole run."""
    batch_size: int = 16
    """Samples of a micro-batch on one process."""
    accumulation: int = 1
    """Micro-batches of one optimizer step, all of the same task."""
    learning_rate: float = 1e-4
    """Peak of the learning rate (AdamW)."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "exponential"] = "cosine"
    """Decay after the warm-up, towards ``final_ratio`` of the peak at the end of the run."""
    final_ratio: float = 0.02
    """Learning rate at the end of the run divided by the peak."""
    gradient_clip: float = 1.0
    """Largest global norm of the gradient."""
    seed: int = 0
    """Of everything random: initial weights, order of samples, augmentation, masking."""
    log_every: int = 20
    """Steps between lines of ``train.jsonl``."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is written at the end as well."""
    preview_every: int = 1000
    """Steps between validation figures and pictures; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or not 0 < self.final_ratio <= 1:
            raise ValueError(
                "learning_rate must be positive and final_ratio in (0, 1], "
                f"got {self.learning_rate} and {self.final_ratio}"
            )

    def rate_at(self, step: int) -> float:
        """Learning rate of optimizer step ``step``, from 0.

        With the peak p, W steps of warm-up, the final ratio r and the share t of the steps after the warm-up
        that are done: p (step + 1) / W in the warm-up, then p (r + (1 - r) (1 + cos(pi t)) / 2) for the
        cosine and p r^t for the exponential.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        if self.schedule == "exponential":
            return self.learning_rate * self.final_ratio**done
        return self.learning_rate * (
            self.final_ratio + (1 - self.final_ratio) * (1 + math.cos(math.pi * done)) / 2
        )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on."""

    root: Path
    """Folder that holds the datasets in their official layouts; see ``stablemtl.data.FOLDERS``."""
    size: tuple[int, int] = (96, 128)
    """Height and width of the training samples [px]."""
    variants: int = 2
    """Differently mirrored and coloured versions of each sample; each is encoded once, then kept."""
    tasks: tuple[str, ...] | None = None
    """Tasks to train; ``None`` for all that the model has and the data labels."""
    window: tuple[int, int] | None = None
    """Height and width of the random windows trained on [latent cells]; ``None`` for whole samples."""
    task_weights: Mapping[str, float] | None = None
    """How often a task is trained, relative to 1 of those not named; ``None`` takes them in turn."""
    pairs: tuple[tuple[str, str, float], ...] | None = None
    """(dataset, task, weight) to draw from; ``None``: the published ones, and FlyingChairs if present."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ValueError(f"variants must be at least 1, got {self.variants}")


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
    codec: Path | None = None
    """Stage 1 from random weights: folder of the trained codec."""
    init: Path | None = None
    """Stage 2: folder of stage 1's pipeline. Stage 1: folder of a pipeline to go on from, with its codec."""
    tasks: tuple[str, ...] = (
        "semantic",
        "normal",
        "depth",
        "optical_flow",
        "scene_flow",
        "shading",
        "albedo",
    )
    """Tasks of a new model; with ``init`` they are its own."""
    task_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Encoding of each task of a new model, the published one if not named; ``init`` keeps its own."""
    task_attention: TaskAttentionConfig | None = None
    """Stage 2: sizes and masking of the task attention."""
    balance_losses: bool = True
    """Divide each task's loss by its label latents' variance, so that faint labels (motion) count as much."""
    save_dtype: Literal["float32", "float16"] = "float16"
    """Type of the weights of the finished pipeline."""
    resume: bool = True
    """Continue from the run's checkpoint where there is one."""

    def __post_init__(self) -> None:
        if self.stage == 1 and (self.codec is None) == (self.init is None):
            raise ValueError("stage 1 needs either codec (a new model) or init (a pipeline to go on from)")
        if self.stage == 2 and (self.init is None or self.codec is not None):
            raise ValueError("stage 2 needs init, the pipeline written by stage 1, and no codec: init has it")
