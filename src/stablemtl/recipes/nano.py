"""The four steps that make the nano model from random weights and rendered scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stablemtl.models.task_attention_config import nano_task_attention_config
from stablemtl.names import TASK_NAMES, choose
from stablemtl.training.config import CodecRun, DataConfig, LoopConfig, StageRun, TinyCodecRun

NANO_TASK_OPTIONS: dict[str, dict[str, str | float]] = {
    "depth": {"encoding": "log", "near_m": 0.5, "far_m": 80.0},
    "optical_flow": {"encoding": "calibrated", "scale_px": 16.0, "knee_px": 0.5},
    "scene_flow": {"encoding": "calibrated", "scale_m": 1.5, "knee_m": 0.03},
    "shading": {"encoding": "relative"},
}
"""Encodings of the nano model: metres and pixels where the paper's values are relative to each image."""

NANO_PAIRS = (
    ("hypersim", "albedo", 1.0),
    ("hypersim", "shading", 1.0),
    ("hypersim", "depth", 0.6),
    ("vkitti2", "depth", 0.4),
    ("hypersim", "normal", 0.6),
    ("vkitti2", "normal", 0.4),
    ("vkitti2", "semantic", 1.0),
    ("vkitti2", "optical_flow", 0.2),
    ("flyingthings3d", "optical_flow", 0.3),
    ("flyingchairs", "optical_flow", 0.5),
    ("vkitti2", "scene_flow", 0.4),
    ("flyingthings3d", "scene_flow", 0.6),
)
"""What the nano model draws from: the paper's pairs, streets more often, and cut-outs for flow."""


def nano_codec() -> CodecRun:
    """The latent codec of the nano model: 0.24 M parameters, 4 pixels a latent cell."""
    return CodecRun(
        data=DataConfig(root=Path("data/mini"), pairs=NANO_PAIRS),
        loop=LoopConfig(
            steps=2000, batch_size=16, learning_rate=2e-3, checkpoint_every=500, preview_every=500
        ),
        out=Path("runs/nano-codec"),
        task_options=NANO_TASK_OPTIONS,
    )


def nano_tiny_codec() -> TinyCodecRun:
    """A codec of a fifth of the arithmetic for the nano model's latents, learnt from its own."""
    return TinyCodecRun(
        model="nano",
        data=DataConfig(root=Path("data/mini"), pairs=NANO_PAIRS),
        loop=LoopConfig(
            steps=2000, batch_size=16, learning_rate=2e-3, checkpoint_every=500, preview_every=500
        ),
        out=Path("runs/nano-tiny-codec"),
        width=16,
        blocks=1,
        full_size_blocks=0,
    )


def nano_flow() -> StageRun:
    """Warm-up of stage 1: optical flow alone, in small windows, so that it sees many motions."""
    return StageRun(
        stage=1,
        data=DataConfig(
            root=Path("data/mini"), pairs=NANO_PAIRS, tasks=("optical_flow",), window=(8, 12), variants=1
        ),
        loop=LoopConfig(steps=500, batch_size=48, learning_rate=8e-4, weight_decay=0.01, warmup_steps=100),
        out=Path("runs/nano-flow"),
        codec=Path("runs/nano-codec/codec"),
        task_options=NANO_TASK_OPTIONS,
    )


def nano_stage1() -> StageRun:
    """Stage 1 of the nano model, after the warm-up: all tasks; optical flow, the slowest to learn, most."""
    return StageRun(
        stage=1,
        data=DataConfig(
            root=Path("data/mini"), pairs=NANO_PAIRS, task_weights={"optical_flow": 2.0, "scene_flow": 1.5}
        ),
        loop=LoopConfig(steps=1900, batch_size=8, learning_rate=2.5e-4, weight_decay=0.01, warmup_steps=100),
        out=Path("runs/nano-stage1"),
        init=Path("runs/nano-flow/pipeline"),
        task_options=NANO_TASK_OPTIONS,  # of a model made with --codec; with init they are its own
    )


def nano_stage2() -> StageRun:
    """Stage 2 of the nano model: a main stream beside stage 1's, with task attention, masked at 0.4."""
    return StageRun(
        stage=2,
        data=DataConfig(root=Path("data/mini"), pairs=NANO_PAIRS, task_weights={"optical_flow": 2.0}),
        loop=LoopConfig(steps=160, batch_size=8, learning_rate=1e-4, weight_decay=0.01, warmup_steps=50),
        out=Path("runs/nano-stage2"),
        init=Path("runs/nano-stage1/pipeline"),
        task_attention=nano_task_attention_config(),
    )


def nano_stage1_fresh() -> StageRun:
    """Stage 1 of the nano model from random weights, without the warm-up: where its ablations start."""
    return replace(
        nano_stage1(),
        init=None,
        codec=Path("runs/nano-codec/codec"),
        task_options=NANO_TASK_OPTIONS,
        out=Path("runs/nano-stage1-fresh"),
    )


def nano_single_task(task: str) -> StageRun:
    """Stage 1 of the nano model for one task alone, from random weights.

    Raises:
        ValueError: unknown task.
    """
    choose("task", task, dict.fromkeys(TASK_NAMES))
    run = nano_stage1_fresh()
    return replace(
        run,
        tasks=(task,),
        data=replace(run.data, task_weights=None),
        out=Path(f"runs/nano-single-{task.replace('_', '-')}"),
    )
