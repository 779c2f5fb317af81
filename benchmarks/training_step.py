"""Forward and backward of a stage-2 micro-batch: the published scheme, ours, and ours with cached latents.

    python benchmarks/training_step.py --size nano --batch 4
    python benchmarks/training_step.py --size sd2 --height 128 --width 128 --repeats 2      (14 GB in float32)

All three train the same modules on the same frames and masks. The published scheme runs the frozen UNet once
for each of the six other tasks, and encodes prompt and frames anew for every pass; ours encodes each frame
once and runs the six as one batch. Without the optimizer's update, which is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro
from measure import Options, Report, load, make_frames, time_call
from published import PublishedSchedule
from torch import Tensor

from stablemtl import StableMTLPipeline
from stablemtl.models.task_attention import AuxiliaryFeatures, FeatureStream, MainStream
from stablemtl.training.losses import masked_mse


@dataclass(kw_only=True)
class StepOptions(Options):
    """A stage-2 training step, published and ours."""

    height: int = 96
    """Height of the frames [px]."""
    width: int = 128
    """Width of the frames [px]."""
    batch: int = 1
    """Samples of a micro-batch."""
    tasks: tuple[Literal["depth", "optical_flow"], ...] = ("depth", "optical_flow")
    """What is trained: a task of one frame, a task of two."""


def main(options: StepOptions) -> Report:
    device = options.start()
    pipe = load(options.size, device, options.dtype)
    model = pipe.model
    model.auxiliary.requires_grad_(False)
    for part in (model.main, model.task_attention_blocks):
        assert part is not None, "the multi-stream model"
        part.requires_grad_(True)
    pipe.vae.requires_grad_(False)
    frame, following, label = make_frames(pipe, (options.height, options.width), options.batch, 3)
    report = Report(
        f"training_step_{options.size}_{options.height}x{options.width}_{device.type}_{options.dtype}",
        f"Stage-2 step without optimizer: {options.size}, {options.dtype}, {options.batch} x "
        f"{options.height}x{options.width}",
        options,
    )
    for task in options.tasks:
        second = following if task in model.pair_tasks else None
        report.rows.append(compare(options, device, pipe, task, frame, second, label))
    report.notes.append("gradient: largest difference of any gradient, relative to the largest gradient.")
    report.write()
    report.picture(lambda axes: draw(axes, report))
    return report


def compare(
    options: StepOptions,
    device: torch.device,
    pipe: StableMTLPipeline,
    task: str,
    frame: Tensor,
    second: Tensor | None,
    label: Tensor,
) -> dict[str, Any]:
    """Seconds of the three, and how far their gradients are apart."""
    model, codec = pipe.model, pipe.codec
    with torch.no_grad():
        kept = [None if image is None else codec.encode(image) for image in (frame, second, label)]
    everywhere = torch.ones_like(kept[2][:, :1], dtype=torch.bool)
    schedule = PublishedSchedule(pipe)

    def update(predict: Callable[[], Tensor], target: Callable[[], Tensor]) -> float:
        for parameter in model.trainable_parameters():
            parameter.grad = None
        with torch.no_grad():
            goal = target()
        loss = masked_mse(predict(), goal, everywhere)
        loss.backward()
        return float(loss.detach())

    def encode(image: Tensor | None) -> Tensor | None:
        with torch.no_grad():
            return None if image is None else codec.encode(image)

    steps: dict[str, Callable[[], float]] = {
        "published": lambda: update(
            lambda: published_prediction(schedule, task, frame, second), lambda: codec.encode(label)
        ),
        "ours": lambda: update(
            lambda: model(encode(frame), encode(second), tasks=[task])[task], lambda: codec.encode(label)
        ),
        "cached": lambda: update(lambda: model(kept[0], kept[1], tasks=[task])[task], lambda: kept[2]),
    }
    # Eval mode: training mode would hide tasks at random. The networks have no dropout.
    model.eval()
    row: dict[str, Any] = {"task": task}
    gradients: dict[str, list[Tensor]] = {}
    for name, step in steps.items():
        row[f"{name}_s"] = time_call(step, options.repeats, device).median
        if options.size == "nano":
            gradients[name] = [p.grad.clone() for p in model.trainable_parameters() if p.grad is not None]
    row["ours_ratio"] = row["published_s"] / row["ours_s"]
    row["cached_ratio"] = row["published_s"] / row["cached_s"]
    if gradients:
        largest = max(float(g.abs().max()) for g in gradients["published"])
        row["gradient"] = max(
            float((a - b).abs().max()) / largest
            for a, b in zip(gradients["published"], gradients["ours"], strict=True)
        )
    return row


def published_prediction(
    schedule: PublishedSchedule, task: str, frame: Tensor, second: Tensor | None
) -> Tensor:
    """The main stream's latent with a gradient; every pass encodes its frames anew."""
    model = schedule.model
    others = [other for other in model.tasks if other != task]
    kept = FeatureStream(model.attending_blocks)
    with torch.no_grad():
        for other in others:
            schedule._stream(model.auxiliary, other, frame, second, kept)
    features = AuxiliaryFeatures(others, kept.features(len(others)), differentiable=True)
    attention: Any = dict(zip(model.attending_blocks, model.task_attention_blocks, strict=True))
    stream = MainStream([task], features, attention, device=frame.device)
    return schedule._stream(model.main, task, frame, second, stream)


def draw(axes: Any, report: Report) -> None:
    names = ("published", "ours", "cached")
    for i, row in enumerate(report.rows):
        heights = [row[f"{name}_s"] for name in names]
        axes.bar([3.5 * i + j for j in range(3)], heights, color=["C7", "C0", "C2"])
    axes.set_xticks([3.5 * i + j for i in range(len(report.rows)) for j in range(3)])
    axes.set_xticklabels([f"{name}\n{row['task']}" for row in report.rows for name in names], fontsize=7)
    axes.set_ylabel("seconds per micro-batch")
    axes.set_title(report.title, fontsize=8)


if __name__ == "__main__":
    main(tyro.cli(StepOptions, description=(__doc__ or "").split("\n\n")[0]))
