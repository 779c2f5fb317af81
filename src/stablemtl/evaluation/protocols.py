"""How each (dataset, task) pair is scored, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
"""The known pairs. For a dataset that is not here, a task is scored as in its first row."""


def protocol_for(dataset: str, task: str) -> EvaluationProtocol:
    """The row of a pair; the first row of the task for another dataset; its defaults for another task.

    Raises:
        KeyError: no such task.
    """
    rows = [row for row in PROTOCOLS if row.task == task]
    for row in rows:
        if row.dataset == dataset:
            return row
    if rows:
        return replace(rows[0], dataset=dataset)
    return EvaluationProtocol(dataset=dataset, task=task, headline=TASKS[task].spec.headline)
