"""Stage 1 and stage 2: one latent regression loss, one task per optimizer step.

The two stages differ in what trains: all of the single-stream UNet, or a main UNet with its task attention
beside the frozen single stream.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from stablemtl import __version__
from stablemtl.data import PUBLISHED_SIZES
from stablemtl.models.codec import LatentCodec
from stablemtl.models.model import StableMTLModel
from stablemtl.tasks.base import Task
from stablemtl.training.adaptive import AdaptiveTasks
from stablemtl.training.attention_maps import write_attention_maps
from stablemtl.training.checkpoint import written_beside
from stablemtl.training.config import StageRun
from stablemtl.training.latent_store import DiskStore
from stablemtl.training.latents import (
    AS_IT_IS_AND_MIRRORED,
    LatentBatch,
    Latents,
    LatentSource,
    LiveLatents,
)
from stablemtl.training.launch import make_accelerator
from stablemtl.training.loop import fit
from stablemtl.training.lora import merge_lora
from stablemtl.training.losses import squared_error
from stablemtl.training.mixtures import augmenting, listing, mixture_recipe, training_mixture
from stablemtl.training.options import plain
from stablemtl.training.preview import write_preview
from stablemtl.training.report import write_report
from stablemtl.training.start import Start, start_of
from stablemtl.training.state import digest
from stablemtl.training.step import Loss
from stablemtl.training.validation import held_out_latents, validate

logger = logging.getLogger(__name__)


def train_stage(run: StageRun) -> Path:
    """Train a stage and write the finished pipeline to ``run.out/pipeline``; returns that folder.

    Raises:
        FileNotFoundError: no dataset in the data folder, or no codec, base or pipeline to start from.
        ValueError: an unknown task; a checkpoint of a run with other options; or, in stage 2, ``init`` is no
            pipeline, or has a main stream already.
        ImportError: an option needs a package that is not installed.
        SampleError: a sample cannot be read, and ``data.on_error`` is "raise".
        DivergedError: the loss is not finite.
    """
    accelerator = make_accelerator(run.loop, run.out)
    torch.manual_seed(run.loop.seed)
    start = start_of(run)
    tasks = start.tasks
    start.vae.to(accelerator.device)
    codec = LatentCodec(start.vae)
    source = latent_source(run, codec, tasks, accelerator)
    weights = _loss_weights(run, codec, tasks, accelerator)
    logger.info("loss weights: %s", {task: round(weight, 3) for task, weight in weights.items()})
    held_out = held_out_latents(run, codec, tasks, accelerator.device)
    watcher = None
    if run.adaptive is not None:
        watcher = AdaptiveTasks(source.mixture, run.adaptive, run.data.task_weights, on_change=source.restart)

    def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        batch = source.batch(step, micro, rank)
        return stage_loss(module, batch, codec, weights[batch.task], run.pixel_loss)

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(module, StableMTLModel)
        if accelerator.is_main_process:
            _write_pictures(run, start, module, held_out, step)
        return {} if held_out is None else validate(module, held_out, weights)

    if run.loop.gradient_checkpointing:
        start.model.enable_gradient_checkpointing()
    fit(
        accelerator,
        start.model.train(),
        loss_at,
        run.loop,
        run.out,
        run=run,
        data=mixture_recipe(source.mixture),
        elements=run.loop.batch_size * start.model.latent_channels * _cells(run, codec),
        isolated=run.data.isolated,
        watcher=watcher,
        resume=run.resume,
        preview=preview,
    )
    if source.mixture.skipped:
        logger.warning("%d samples could not be read and were skipped", len(source.mixture.skipped))
    return _write_result(run, start, accelerator)


def latent_source(
    run: StageRun, codec: LatentCodec, tasks: Mapping[str, Task], accelerator: Accelerator
) -> LatentSource:
    """Micro-batches as ``run.data`` wants them: encoded as they are drawn, or kept in memory or on disk."""
    data = run.data
    live = data.cache == "none"
    mixture = training_mixture(
        data,
        run.loop,
        tasks,
        world_size=accelerator.num_processes,
        reweight_every=None if run.adaptive is None else run.adaptive.every,
        live=live,
    )
    if live:
        return LiveLatents(
            mixture,
            codec,
            tasks,
            rank=accelerator.process_index,
            workers=data.workers,
            pixels=run.pixel_loss > 0,
            device=accelerator.device,
        )
    versions: Any = AS_IT_IS_AND_MIRRORED
    if data.augmentation != "flip":
        count = 1 if data.augmentation == "none" else data.variants
        versions = [augmenting(data.augmentation, tasks)] * count
    store = None
    if data.cache == "disk":
        facts = {
            "codec": digest(codec.vae.state_dict(), set(codec.vae.state_dict())),
            "size": data.size,
            "augmentation": data.augmentation,
            "encodings": {name: task.options for name, task in tasks.items()},
            "frames": listing(mixture),
        }
        folder = run.out / "latents" if data.cache_folder is None else data.cache_folder
        lengths = {entry.dataset.name: len(entry.dataset) for entry in mixture.entries}
        store = DiskStore(folder, facts=facts, lengths=lengths, versions=len(versions))
    return Latents(
        mixture,
        codec,
        tasks,
        versions=versions,
        store=store,
        window=data.window,
        seed=run.loop.seed,
        device=accelerator.device,
    )


def stage_loss(
    module: nn.Module, batch: LatentBatch, codec: LatentCodec, weight: float, pixel_loss: float
) -> Loss:
    """Squared error of the predicted latents, and behind the decoder, of the images that they decode to.

    The error in pixels is added with its own mean, scaled to the latents' count, so that ``pixel_loss`` is
    its weight against the latent loss.
    """
    pred = module(batch.latent, batch.latent_next, tasks=[batch.task])[batch.task]
    total, count = squared_error(pred, batch.target, batch.valid)
    if pixel_loss > 0:
        assert batch.label is not None, "kept where pixels are asked for"
        assert batch.label_valid is not None, "kept with the label"
        size = (batch.label.shape[-2], batch.label.shape[-1])
        image = codec.decode(pred, size)
        pixels, pixel_count = squared_error(image, batch.label, batch.label_valid)
        total = total + pixel_loss * pixels * (count / pixel_count.clamp(min=1))
    return Loss(weight * total, count, batch.task, batch.tensors(), batch.keys)


def _loss_weights(
    run: StageRun, codec: LatentCodec, tasks: Mapping[str, Task], accelerator: Accelerator
) -> dict[str, float]:
    if not run.balance_losses:
        return dict.fromkeys(tasks, 1.0)
    mixture = training_mixture(run.data, run.loop, tasks)
    latents = Latents(mixture, codec, tasks, seed=run.loop.seed, device=accelerator.device)
    return {task: 1 / variance for task, variance in latents.variances().items()}


def _cells(run: StageRun, codec: LatentCodec) -> int:
    """About how many latent cells a sample has."""
    if run.data.window is not None:
        return run.data.window[0] * run.data.window[1]
    height, width = run.data.size or PUBLISHED_SIZES["hypersim"]
    return (height // codec.downscale) * (width // codec.downscale)


def _write_pictures(
    run: StageRun, start: Start, model: StableMTLModel, held_out: Latents | None, step: int
) -> None:
    """A contact sheet and, in stage 2, who attends to whom."""
    write_preview(start.pipeline(model, run.data.size), run.out / "previews" / f"step_{step:06d}.png")
    if model.main is not None and held_out is not None:
        batches = [held_out.only([task]).batch(0) for task in held_out.mixture.tasks]
        write_attention_maps(model, batches, run.out / "attention" / f"step_{step:06d}.png")


def _write_result(run: StageRun, start: Start, accelerator: Accelerator) -> Path:
    """The finished pipeline, and the run's report; every process returns when they are there."""
    folder = run.out / "pipeline"
    if accelerator.is_main_process:
        model = start.model.to("cpu").eval()
        if run.lora is not None:
            trained = model.auxiliary if run.stage == 1 else model.main
            assert trained is not None, "stage 2 has one"
            merge_lora(trained)
        start.vae.to("cpu")
        pipeline = start.pipeline(model, run.data.size)
        pipeline.to(dtype=getattr(torch, run.save_dtype))
        with written_beside(folder) as beside:
            pipeline.save_pretrained(beside)
            (beside / "training.json").write_text(
                json.dumps({"code_version": __version__, "run": plain(run)}, indent=2) + "\n"
            )
        if (run.out / "train.jsonl").is_file():
            write_report(run.out, plain(run))
    accelerator.wait_for_everyone()
    logger.info("pipeline written to %s", folder)
    return folder
