"""The paper's two stages at full size, from Stable Diffusion 2.

Source: StableMTL (arXiv 2506.08013) and its released configuration. What differs on purpose: one task per
optimizer step in every epoch, a seed for everything random, and scene-flow masks that are flipped with their
labels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stablemtl.models.task_attention_config import TaskAttentionConfig
from stablemtl.names import TASK_NAMES, choose
from stablemtl.training.config import DataConfig, LoopConfig, StageRun, TinyCodecRun

BASE = "models/stable-diffusion-2"
"""Where the recipes look for the base model; any Stable Diffusion 2 in diffusers format, or its hub id."""

_LOOP = LoopConfig(
    steps=20_000,
    batch_size=16,
    accumulation=2,
    optimizer="adam",
    betas=(0.9, 0.999),
    learning_rate=1e-4,
    schedule="published",
    gradient_clip=5.0,
    checkpoint_every=500,
    preview_every=1000,
    seed=2024,
)
_DATA = DataConfig(root=Path("data"), size=None, augmentation="published", cache="none", workers=8)


def stage1() -> StageRun:
    """Stage 1 at full size: one UNet for all seven tasks (StableMTL-S); 8 hours on one H100 in the paper."""
    return StageRun(
        stage=1,
        data=_DATA,
        loop=_LOOP,
        out=Path("runs/stage1"),
        base=BASE,
        balance_losses=False,
        save_dtype="float32",
    )


def stage2() -> StageRun:
    """Stage 2 at full size: task attention beside the frozen UNet; 12 hours on one H100 in the paper."""
    return StageRun(
        stage=2,
        data=_DATA,
        loop=replace(_LOOP, steps=11_000),
        out=Path("runs/stage2"),
        init=Path("runs/stage1/pipeline"),
        task_attention=TaskAttentionConfig(),
        balance_losses=False,
        save_dtype="float32",
    )


def single_task(task: str) -> StageRun:
    """Stage 1 at full size for one task alone: a row of the baseline that Delta_m compares with.

    Raises:
        ValueError: unknown task.
    """
    choose("task", task, dict.fromkeys(TASK_NAMES))
    return replace(stage1(), tasks=(task,), out=Path(f"runs/single-{task.replace('_', '-')}"))


def tiny_codec() -> TinyCodecRun:
    """A tiny codec, as wide and deep as TAESD's, for the latents of a full-size model; see its --model."""
    return TinyCodecRun(
        model="runs/stage2/pipeline",
        data=replace(_DATA, size=(288, 384), augmentation="none"),
        loop=LoopConfig(steps=20_000, batch_size=16, learning_rate=5e-4, preview_every=1000),
        out=Path("runs/tiny-codec"),
        crop=256,
    )
