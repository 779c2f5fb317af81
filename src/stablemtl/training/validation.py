"""Figures on held-out samples while training runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch

from stablemtl.models.codec import LatentCodec
from stablemtl.models.model import StableMTLModel
from stablemtl.tasks.base import Task
from stablemtl.training.config import StageRun
from stablemtl.training.latents import Latents
from stablemtl.training.losses import masked_mse
from stablemtl.training.mixtures import training_mixture

logger = logging.getLogger(__name__)

BATCHES = 2
"""Micro-batches of each task that are looked at."""


def held_out_latents(
    run: StageRun, codec: LatentCodec, tasks: Mapping[str, Task], device: torch.device
) -> Latents | None:
    """Held-out samples as latents; None if there are none.

    Of the validation and the test part, the one that labels more of the tasks; of the former if both do.
    """
    found = []
    for split in ("val", "test"):
        try:
            found.append(training_mixture(run.data, run.loop, tasks, split=split))
        except FileNotFoundError as error:  # none at all, or a download that is not complete
            logger.info("no validation figures from the %s part: %s", split, error)
    if not found:
        logger.warning("no validation figures: no held-out samples in %s", run.data.root)
        return None
    return Latents(max(found, key=lambda mixture: len(mixture.tasks)), codec, tasks, device=device)


@torch.no_grad()
def validate(model: StableMTLModel, held_out: Latents, weights: Mapping[str, float]) -> dict[str, float]:
    """Weighted latent loss of each task on held-out samples; with balanced losses, a constant scores 1."""
    found = {}
    for task in held_out.mixture.tasks:
        part = held_out.only([task])
        losses = []
        for step in range(BATCHES):
            batch = part.batch(step)
            pred = model(batch.latent, batch.latent_next, tasks=[task])[task]
            losses.append(float(masked_mse(pred, batch.target, batch.valid)) * weights.get(task, 1.0))
        found[task] = round(sum(losses) / len(losses), 4)
    return found
