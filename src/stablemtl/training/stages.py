"""Stage 1 and stage 2: one latent regression loss, one task per optimizer step.

The two stages differ in what trains: all of the single-stream UNet, or a main UNet with its task attention
beside the frozen single stream.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import nn

from stablemtl import __version__
from stablemtl.models.builders import nano_model, nano_task_attention_config
from stablemtl.models.codec import LatentCodec
from stablemtl.models.model import StableMTLModel
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.tasks import build_tasks
from stablemtl.tasks.base import Task, choose
from stablemtl.training.checkpoint import plain, written_beside
from stablemtl.training.config import StageRun
from stablemtl.training.latents import Latents, masked_mse, small_augmentation, training_mixture
from stablemtl.training.loop import Loss, fit, make_accelerator
from stablemtl.training.preview import write_preview

logger = logging.getLogger(__name__)

_VALIDATION_BATCHES = 2


def train_stage(run: StageRun) -> Path:
    """Train a stage and write the finished pipeline to ``run.out/pipeline``; returns that folder.

    Raises:
        FileNotFoundError: no dataset in the data folder, or no codec or pipeline to start from.
        ValueError: an unknown task; a checkpoint of a run with other options; or, in stage 2, ``init`` is no
            pipeline, or has a main stream already.
        DivergedError: the loss is not finite.
    """
    accelerator = make_accelerator()
    torch.manual_seed(run.loop.seed)
    model, vae, options = _start(run)
    every = build_tasks(options)
    tasks = {name: choose("task", name, every) for name in model.tasks}
    vae = vae.to(accelerator.device).eval().requires_grad_(False)
    codec = LatentCodec(vae)
    mixture = training_mixture(run.data, run.loop, tasks, world_size=accelerator.num_processes)
    latents = Latents(
        mixture,
        codec,
        tasks,
        transforms=small_augmentation(tasks),
        variants=run.data.variants,
        window=run.data.window,
        seed=run.loop.seed,
        device=accelerator.device,
    )
    weights = (
        {task: 1 / variance for task, variance in latents.variances().items()}
        if run.balance_losses
        else dict.fromkeys(tasks, 1.0)
    )
    logger.info("loss weights: %s", {task: round(weight, 3) for task, weight in weights.items()})

    def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        batch = latents.batch(step, micro, rank)
        pred = module(batch.latent, batch.latent_next, tasks=[batch.task])[batch.task]
        return Loss(weights[batch.task] * masked_mse(pred, batch.target, batch.valid), batch.task)

    held_out = _held_out(run, codec, tasks, accelerator.device)

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(module, StableMTLModel)
        if accelerator.is_main_process:
            write_preview(_pipeline(run, module, vae, options), run.out / "previews" / f"step_{step:06d}.png")
        return {} if held_out is None else _validate(module, held_out, weights)

    fit(accelerator, model.train(), loss_at, run.loop, run.out, run=run, resume=run.resume, preview=preview)
    folder = run.out / "pipeline"
    if accelerator.is_main_process:
        pipeline = _pipeline(run, model.to("cpu").eval(), vae.to("cpu"), options)
        pipeline.to(dtype=getattr(torch, run.save_dtype))
        with written_beside(folder) as beside:
            pipeline.save_pretrained(beside)
            (beside / "training.json").write_text(
                json.dumps({"code_version": __version__, "run": plain(run)}, indent=2) + "\n"
            )
    logger.info("pipeline written to %s", folder)
    return folder


def _start(run: StageRun) -> tuple[StableMTLModel, AutoencoderTiny, dict[str, dict]]:
    """The model to train, the codec, and the encodings of the tasks."""
    if run.codec is not None:
        if not (run.codec / "config.json").is_file():
            raise FileNotFoundError(
                f"codec: no config.json in {run.codec}; train one with `stablemtl train nano-codec`"
            )
        options = {name: dict(values) for name, values in run.task_options.items()}
        model = nano_model(run.tasks, seed=run.loop.seed)
        # Random output weights give values far larger than latents: start from zero instead.
        for parameter in model.auxiliary.conv_out.parameters():
            torch.nn.init.zeros_(parameter)
        return model, AutoencoderTiny.from_pretrained(run.codec), options
    assert run.init is not None, "checked by the config"
    if not run.init.is_dir():
        recipe = {1: "nano-flow", 2: "nano-stage1"}[run.stage]
        raise FileNotFoundError(
            f"init: there is no folder {run.init}; train it with `stablemtl train {recipe}`"
        )
    start = StableMTLPipeline.from_pretrained(run.init)
    if start.model.main is not None:
        raise ValueError(f"init: {run.init} has a main stream already; give the pipeline of stage 1")
    if run.stage == 2:
        start.model.add_main_stream(run.task_attention or nano_task_attention_config())
    return (
        start.model,
        start.vae,
        {name: dict(values) for name, values in start.config["task_options"].items()},
    )


def _pipeline(
    run: StageRun, model: StableMTLModel, vae: AutoencoderTiny, options: dict[str, dict]
) -> StableMTLPipeline:
    return StableMTLPipeline(
        model=model, vae=vae, task_options=options, default_processing_resolution=max(run.data.size)
    )


def _held_out(
    run: StageRun, codec: LatentCodec, tasks: dict[str, Task], device: torch.device
) -> Latents | None:
    """Held-out samples as latents, where the data folder has any."""
    try:
        mixture = training_mixture(run.data, run.loop, tasks, split="test")
    except FileNotFoundError as error:  # none at all, or a download that is not complete
        logger.warning("no validation figures: %s", error)
        return None
    return Latents(mixture, codec, tasks, device=device)


@torch.no_grad()
def _validate(model: StableMTLModel, held_out: Latents, weights: dict[str, float]) -> dict[str, float]:
    """Balanced loss of each task on held-out samples: 1 is a constant prediction."""
    found = {}
    for task in held_out.mixture.tasks:
        part = held_out.only([task])
        losses = []
        for step in range(_VALIDATION_BATCHES):
            batch = part.batch(step)
            pred = model(batch.latent, batch.latent_next, tasks=[task])[task]
            losses.append(float(masked_mse(pred, batch.target, batch.valid)) * weights.get(task, 1.0))
        found[task] = round(sum(losses) / len(losses), 4)
    return found
