"""The benchmarks of each protocol, as data.

- ``paper``: what the published evaluation of StableMTL computes (arXiv 2506.08013 and its released code), its
  quirks included and named. Labels come down to the network's size by nearest-exact resizing.
- ``standard``: what the field reports on the same data. Predictions go up to the size of the labels; usual
  masks and figures; predictions in a unit of their own are scored without a fit as well.
- ``native``: every frame at its own size, for data that were made at the size that a model works at.
"""

from __future__ import annotations

from typing import Any

from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.protocol_tables import DEPTH_RANGE, PAPER, STANDARD
from stablemtl.tasks import TASKS

NAMES = ("paper", "standard", "native")
"""The protocols."""


def _native(dataset: str, task: str, **entries: Any) -> Benchmark:
    return Benchmark(protocol="native", dataset=dataset, task=task, **{**_NATIVE[task], **entries})


_NATIVE: dict[str, dict[str, Any]] = {
    "semantic": {"headline": "miou", "aggregation": "counts"},
    "normal": {"headline": "mean_angular_error"},
    # Rendered and measured depths alike end at 80 m; predictions are clipped there after alignment.
    "depth": {
        "headline": "abs_rel",
        "alignment": "scale and shift",
        "metric_options": DEPTH_RANGE,
        "in_own_unit": True,
    },
    "optical_flow": {
        "headline": "epe",
        "alignment": "scale per channel",
        "aggregation": "pixels",
        "in_own_unit": True,
    },
    "scene_flow": {
        "headline": "epe3d",
        "alignment": "scale per channel",
        "aggregation": "pixels",
        "in_own_unit": True,
    },
    "shading": {"headline": "rmse", "alignment": "scale"},
    "albedo": {"headline": "rmse", "alignment": "scale"},
}

NATIVE: tuple[Benchmark, ...] = (
    _native("hypersim", "albedo"),
    _native("hypersim", "shading"),
    _native("hypersim", "depth"),
    _native("hypersim", "normal"),
    _native("vkitti2", "semantic"),
    _native("vkitti2", "normal"),
    _native("vkitti2", "depth"),
    _native("vkitti2", "optical_flow"),
    _native("vkitti2", "scene_flow"),
    _native("flyingthings3d", "optical_flow"),
    _native("flyingthings3d", "scene_flow"),
    _native("flyingchairs", "optical_flow"),
    _native("motorcycle", "depth", size="default"),
    _native("motorcycle", "optical_flow", size="default"),
)
"""The training sets' held-out parts, and the real stereo pair. Other data are scored alike."""

PROTOCOLS: dict[str, tuple[Benchmark, ...]] = {"paper": PAPER, "standard": STANDARD, "native": NATIVE}
"""The known benchmarks of each protocol."""


def native_benchmark(dataset: str, task: str) -> Benchmark:
    """The benchmark of any dataset and task at the frames' own size.

    Raises:
        KeyError: no such task.
    """
    known = next((b for b in NATIVE if (b.dataset, b.task) == (dataset, task)), None)
    if known is not None:
        return known
    if task in _NATIVE:
        return _native(dataset, task)
    return Benchmark(protocol="native", dataset=dataset, task=task, headline=TASKS[task].spec.headline)


def benchmarks_of(protocol: str, dataset: str, tasks: tuple[str, ...]) -> list[Benchmark]:
    """What a protocol asks of a dataset.

    Args:
        protocol: one of ``NAMES``, or ``auto``: ``paper`` where it has the dataset, ``native`` elsewhere.
        dataset: name of the dataset.
        tasks: that the dataset labels.
    Returns:
        In the order of the protocol; empty if it does not have the dataset.
    Raises:
        ValueError: no such protocol.
    """
    if protocol not in (*NAMES, "auto"):
        raise ValueError(f"unknown protocol {protocol!r}; choose from {', '.join(NAMES)}, auto")
    if protocol == "native":
        return [native_benchmark(dataset, task) for task in tasks]
    known = [b for b in PROTOCOLS["paper" if protocol == "auto" else protocol] if b.dataset == dataset]
    if protocol == "auto" and not known:
        return benchmarks_of("native", dataset, tasks)
    return [b for b in known if b.task in tasks]
