"""An estimate of a run for programs; see :mod:`stablemtl.training.estimate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stablemtl.training.estimate import Estimate


def estimate_document(estimate: Estimate) -> dict[str, Any]:
    """Plain values for JSON; None where something was not measured, or is not known.

    ``stage``, ``latent_size``, ``steps``, ``batch_size``, ``accumulation``, ``processes``
        What would run.
    ``parameters``
        ``trainable`` and ``frozen``: how many.
    ``bytes``
        Memory of one process by what it is for; ``peak`` is the most at any moment, ``device`` what there is.
    ``fits``
        Whether the device has the memory.
    ``flops_per_step``, ``seconds_per_step``, ``seconds``
        Of an optimizer step, and of all steps.
    ``speed``
        Of the device, measured: ``product_flops``, ``convolution_flops`` [1/s], ``bandwidth`` [B/s].
    ``cache``
        ``memory_bytes`` and ``disk_bytes`` of the latents of all samples.
    """
    step, loop, seconds = estimate.step, estimate.loop, estimate.seconds_per_step
    counts = step.parameters
    return {
        "stage": estimate.stage,
        "latent_size": list(estimate.latent_size),
        "steps": loop.steps,
        "batch_size": loop.batch_size,
        "accumulation": loop.accumulation,
        "processes": estimate.processes,
        "parameters": {"trainable": counts.trainable, "frozen": counts.frozen},
        "bytes": {
            "weights": counts.weight_bytes,
            "optimizer": estimate.optimizer_bytes,
            "moving_average": estimate.ema_bytes,
            "exchange": estimate.exchange_bytes,
            "gradients": counts.gradient_bytes,
            "activations": step.activation_bytes,
            "micro_batch": step.peak_bytes,
            "peak": estimate.peak_bytes,
            "device": estimate.device_bytes,
        },
        "fits": estimate.fits,
        "flops_per_step": estimate.flops,
        "seconds_per_step": seconds,
        "seconds": None if seconds is None else seconds * loop.steps,
        "speed": None if estimate.speed is None else asdict(estimate.speed),
        "cache": None if estimate.cache is None else asdict(estimate.cache),
    }
