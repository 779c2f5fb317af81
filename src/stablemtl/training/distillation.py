"""Distillation of a codec: a smaller autoencoder learns to give the same latents and the same images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from stablemtl.data import collate
from stablemtl.models.codec import LatentCodec
from stablemtl.optimization.tiny_codec import LARGEST_DISAGREEMENT, disagreement
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.saved_configs import drop_derived_entries
from stablemtl.training.autoencoder import reconstruction_loss
from stablemtl.training.checkpoint import written_beside
from stablemtl.training.codec_images import CodecImages
from stablemtl.training.config import TinyCodecRun
from stablemtl.training.launch import make_accelerator
from stablemtl.training.loop import fit
from stablemtl.training.mixtures import mixture_recipe, training_mixture
from stablemtl.training.step import Loss

logger = logging.getLogger(__name__)


class _Student(nn.Module):
    """Both halves of the tiny codec, each on what the codec gave."""

    def __init__(self, vae: AutoencoderTiny) -> None:
        super().__init__()
        self.vae = vae
        self.codec = LatentCodec(vae)

    def forward(self, images: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and latents (B, C, h, w) to the latents and the images of the tiny codec."""
        return self.codec.encode(images), self.codec.decode(latents)


def tiny_autoencoder(codec: LatentCodec, run: TinyCodecRun) -> AutoencoderTiny:
    """An autoencoder with random weights for the codec's latents, which need no further scaling."""
    levels = codec.downscale.bit_length()
    widths, below = (run.width,) * levels, (run.blocks,) * (levels - 1)
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=(run.full_size_blocks, *below),
        num_decoder_blocks=(*below, run.full_size_blocks),
        latent_channels=codec.latent_channels,
        scaling_factor=1.0,
    )


def distill_codec(run: TinyCodecRun) -> Path:
    """Train a tiny codec and write it to ``run.out/tiny_codec``; returns that folder.

    The encoder learns the codec's latents of frames and label images, by their squared error; the decoder
    learns the images that the codec makes of these latents plus noise, by
    :func:`~stablemtl.training.autoencoder.reconstruction_loss`. Neither sees the other's output: each works
    alone as well.

    Raises:
        FileNotFoundError: no dataset in the data folder, or no such model.
        ValueError: something else than a model, or a checkpoint of a run with other options.
        DivergedError: the loss is not finite.
    """
    accelerator = make_accelerator(run.loop, run.out)
    pipeline = StableMTLPipeline.from_pretrained(run.model)
    tasks, codec = dict(pipeline.tasks), LatentCodec(pipeline.vae)
    del pipeline
    codec.vae.to(accelerator.device).eval().requires_grad_(False)
    torch.manual_seed(run.loop.seed)
    mixture = training_mixture(run.data, run.loop, tasks, world_size=accelerator.num_processes)
    student = _Student(tiny_autoencoder(codec, run).to(memory_format=torch.channels_last))
    draw = CodecImages(mixture, tasks, run, codec.downscale)

    def loss_at(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
        batch, images, weight = draw(step, micro, rank)
        images = images.to(accelerator.device, memory_format=torch.channels_last)
        with torch.no_grad():
            latents = codec.encode(images)
            noisy = latents + run.latent_noise * torch.randn_like(latents)
            decoded = codec.decode(noisy)
        latents_pred, decoded_pred = module(images, noisy)
        value = F.mse_loss(latents_pred, latents)
        value = value + reconstruction_loss(decoded_pred, decoded, weight.to(accelerator.device))
        count = len(images)  # the mean over a step is that over its images
        return Loss(value * count, count, batch.task, {"image": images, "noisy": noisy}, batch.keys)

    def preview(module: nn.Module, step: int) -> dict[str, float]:
        """How far both halves are from the codec on each task's label images, and on frames."""
        found: dict[str, float] = {}
        learnt = LatentCodec(cast(_Student, module).vae)
        for task in mixture.tasks:
            batch = collate(mixture.only([task]).batch(0))
            labels, frames = tasks[task].encode(batch.target, batch.valid), batch.image * 2 - 1
            for name, images in ((task, labels), ("frames", frames)):
                parts = disagreement(codec, learnt, images.to(accelerator.device))
                found |= {f"{name} {part}": round(value, 5) for part, value in parts.items()}
        return found

    fit(
        accelerator,
        student,
        loss_at,
        run.loop,
        run.out,
        run=run,
        data=mixture_recipe(mixture),
        elements=run.loop.batch_size,
        resume=run.resume,
        preview=preview,
    )
    for part, value in disagreement(codec, student.codec).items():
        verdict = "" if value < LARGEST_DISAGREEMENT else f", too much: {LARGEST_DISAGREEMENT} is the limit"
        logger.info("%s: %.3f of the spread from the codec's on a test picture%s", part, value, verdict)
    folder = run.out / "tiny_codec"
    if accelerator.is_main_process:
        with written_beside(folder) as beside:
            student.vae.to("cpu").eval().save_pretrained(beside)
            drop_derived_entries(beside / "config.json", AutoencoderTiny)
    logger.info("tiny codec written to %s", folder)
    return folder
