"""The learning rate of the released code, which follows no option but the accumulation."""

from __future__ import annotations

WARMUP = 100
"""Optimizer steps of linear warm-up."""
TOTAL = 25_000
"""Optimizer steps after which the final ratio is reached; both published runs end before."""
FINAL = 0.01
"""Ratio at the end."""


def published_factor(step: int, accumulation: int = 1) -> float:
    """Learning rate of optimizer step ``step``, divided by its peak.

    The released scheduler advances with every micro-batch. Optimizer step k, counted from 1, is done after
    n = k a - 1 of its advances, a being the accumulation. With 100 a advances of warm-up, 25,000 a in all and
    r = 0.01 the factor is n / (100 a) in the warm-up, then r^((n - 100 a) / (24,900 a)), and r from 25,000 a
    on. Without accumulation the first step has a rate of 0.

    Source: "IterExponential" of the released code of StableMTL (arXiv 2506.08013).

    Args:
        step: optimizer step, from 0.
        accumulation: micro-batches of an optimizer step on one process.
    """
    advances = (step + 1) * accumulation - 1
    warmup, total = WARMUP * accumulation, TOTAL * accumulation
    if advances < warmup:
        return advances / warmup
    return float(FINAL ** min(1.0, (advances - warmup) / (total - warmup)))
