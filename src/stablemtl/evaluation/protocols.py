"""How each (dataset, task) pair is scored, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stablemtl.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """One row of the table."""

    dataset: str
    """Name of the dataset."""
    task: str
    """Name of the task."""
    headline: str
    """The figure that goes into tables and is compared."""
    metric_options: Mapping[str, float] = field(default_factory=dict)
    """Arguments of the task's ``metric``."""
    aligned: bool = True
    """Whether the metric fits predictions to each image's ground truth (scale, or scale and shift)."""


# Rendered and measured depths alike end at 80 m; predictions are clipped to the same range after alignment.
_DEPTH_RANGE = {"min_depth_m": 1e-3, "max_depth_m": 80.0}

PROTOCOLS: tuple[EvaluationProtocol, ...] = (
    EvaluationProtocol(dataset="hypersim", task="albedo", headline="rmse"),
    EvaluationProtocol(dataset="hypersim", task="shading", headline="rmse"),
    EvaluationProtocol(dataset="hypersim", task="depth", headline="abs_rel", metric_options=_DEPTH_RANGE),
    EvaluationProtocol(dataset="hypersim", task="normal", headline="mean_angular_error", aligned=False),
    EvaluationProtocol(dataset="vkitti2", task="semantic", headline="miou", aligned=False),
    EvaluationProtocol(dataset="vkitti2", task="normal", headline="mean_angular_error", aligned=False),
    EvaluationProtocol(dataset="vkitti2", task="depth", headline="abs_rel", metric_options=_DEPTH_RANGE),
    EvaluationProtocol(dataset="vkitti2", task="optical_flow", headline="epe"),
    EvaluationProtocol(dataset="vkitti2", task="scene_flow", headline="epe3d"),
    EvaluationProtocol(dataset="flyingthings3d", task="optical_flow", headline="epe"),
    EvaluationProtocol(dataset="flyingthings3d", task="scene_flow", headline="epe3d"),
    EvaluationProtocol(dataset="flyingchairs", task="optical_flow", headline="epe"),
    EvaluationProtocol(dataset="motorcycle", task="depth", headline="abs_rel", metric_options=_DEPTH_RANGE),
    EvaluationProtocol(dataset="motorcycle", task="optical_flow", headline="epe"),
)
"""The known pairs. One that is not here is scored with the task's own headline and defaults."""


def protocol_for(dataset: str, task: str) -> EvaluationProtocol:
    """The row of a pair, or the task's defaults for a dataset that has none.

    Raises:
        KeyError: no such task.
    """
    for protocol in PROTOCOLS:
        if (protocol.dataset, protocol.task) == (dataset, task):
            return protocol
    return EvaluationProtocol(dataset=dataset, task=task, headline=TASKS[task].spec.headline)
