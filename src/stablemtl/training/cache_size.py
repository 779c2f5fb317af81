"""How much room the latents of a data set take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stablemtl.models.builders import PAIR_TASKS


@dataclass(frozen=True, kw_only=True)
class CacheSize:
    """Room for the latents of all samples."""

    memory_bytes: int
    """Kept in memory [B]: frames once for each task."""
    disk_bytes: int
    """Kept on disk [B]: frames once for all tasks."""


def cache_size(
    samples: Mapping[tuple[str, str], int],
    latent_size: tuple[int, int],
    *,
    channels: int = 4,
    pair_tasks: Collection[str] = PAIR_TASKS,
    variants: int = 1,
) -> CacheSize:
    """Room for latents in 16 bits, with a byte per cell for its validity.

    Args:
        samples: (dataset, task) -> number of samples; those of ``pair_tasks`` have two frames.
        latent_size: height and width [cells].
        channels: of a latent.
        pair_tasks: tasks that look at two frames.
        variants: versions of each sample.
    """
    cells = variants * latent_size[0] * latent_size[1]
    latent = 2 * channels * cells
    labels = sum(samples.values()) * (latent + cells)
    every = sum(count * (2 if task in pair_tasks else 1) for (_, task), count in samples.items())
    shared: dict[tuple[str, bool], int] = {}  # the most samples that a task of the dataset has: first, second
    for (dataset, task), count in samples.items():
        for second in (False, True)[: 2 if task in pair_tasks else 1]:
            shared[dataset, second] = max(count, shared.get((dataset, second), 0))
    return CacheSize(memory_bytes=labels + every * latent, disk_bytes=labels + sum(shared.values()) * latent)
