"""Scene flow: how far, and where to, each visible point moves relative to the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.coloring import hsv_to_rgb, longest_of, prepare, stretch, to_bytes
from stablemtl.tasks.flow_encoding import FlowEncoding, PerImageFlow, build_flow_encoding, flow_options
from stablemtl.tasks.flow_metrics import FlowMetric
from stablemtl.tasks.geometry import resize_nearest
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.reductions import vector_length

_SCALE_M = 2.0  # of the calibrated encoding unless told otherwise
_LEAST_LENGTH_M = 1e-4  # added to the true length before an error is related to it


@dataclass(frozen=True)
class SceneFlow(MapTask):
    """Motion in camera space, relative per image or in metres."""

    vectors = True
    encoding: FlowEncoding = field(default_factory=PerImageFlow)

    @property
    def spec(self) -> TaskSpec:
        """Description of the task, in accord with the encoding."""
        scale = self.encoding.scale
        unit = "in metres" if scale else "relative to an unknown scale per channel; targets are in metres"
        return TaskSpec(
            name="scene_flow",
            prompt="scene flow",
            channels=3,
            frames=2,
            unit="m" if scale else "relative",
            value_range=(-scale, scale) if scale else (-1.0, 1.0),
            headline="epe3d",
            higher_is_better=False,
            convention=(
                "(X right, Y down, Z forward): the point in the second camera's frame minus the same point "
                f"in the first camera's frame, the camera's own motion included, {unit}."
            ),
            scale_known=scale is not None,
            shift_known=True,
            stretched_colors=True,
        )

    @property
    def options(self) -> dict[str, str | float]:
        """``encoding``, and ``scale_m`` and ``knee_m`` of the calibrated one."""
        return flow_options(self.encoding, unit="m")

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Scene flow [m], shape (B, 3, H, W), to an image in [-1, 1] whose channels are (X, Y, Z)."""
        return self.encoding.encode(*as_label(target, valid, self.spec))

    def decode(self, image: Tensor) -> Tensor:
        """Clipped and mapped back, shape (B, 3, H, W)."""
        return self.encoding.decode(as_image(image, self.spec))

    def metric(self, *, align: bool = True) -> SceneFlowMetric:
        """``epe3d`` [m], ``acc_strict``, ``acc_relax`` and ``outliers``."""
        return SceneFlowMetric(self.spec, align=align)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest; metres do not change with the image's size."""
        return resize_nearest(target, size)

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Hue for the lateral direction, saturation for its length, brightness for motion to the camera.

        Length and approach are stretched over each image. With ``value_range``, saturation runs from 0 to
        its larger end in magnitude m, brightness from receding by m to approaching by m, so that no motion is
        mid-grey. uint8 (B, 3, H, W).
        """
        flow, usable = prepare(values, valid, self.spec)
        hue = (torch.atan2(-flow[:, 1:2], -flow[:, :1]) + math.pi) / (2 * math.pi)
        lateral = flow[:, :2].norm(dim=1, keepdim=True)
        longest = longest_of(value_range)
        length = stretch(lateral, usable, None if longest is None else (0.0, longest))
        approach = stretch(-flow[:, 2:], usable, None if longest is None else (-longest, longest))
        return to_bytes(hsv_to_rgb(hue, length, approach), usable)


class SceneFlowMetric(FlowMetric):
    """Running errors over all valid pixels of all images, after a non-negative scale per image and channel.

    ``epe3d``: mean end-point error [m]. Shares in [0, 1], with e the error and r = e / (true length + 1e-4):
    ``acc_strict`` (e < 0.05 m and r < 5 %), ``acc_relax`` (e < 0.1 m and r < 10 %), ``outliers`` (e > 0.3 m
    and r > 10 %).

    Source: names after FlowNet3D, arXiv 1806.01411; the published protocol has "and" where others have "or".
    """

    def __init__(self, spec: TaskSpec, *, align: bool = True) -> None:
        """``align=False`` takes the prediction as metres."""
        super().__init__(spec, ("epe3d", "acc_strict", "acc_relax", "outliers"), align=align)

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`."""
        for flow, truth in self.fitted_pixels(pred, target, valid):  # (3, N) each
            error = vector_length(flow - truth)
            relative = error / (vector_length(truth) + _LEAST_LENGTH_M)
            shares = {
                "acc_strict": (error < 0.05) & (relative < 0.05),
                "acc_relax": (error < 0.1) & (relative < 0.1),
                "outliers": (error > 0.3) & (relative > 0.1),
            }
            means = {name: share.double().mean() for name, share in shares.items()}
            self.add({"epe3d": error.mean(), **means}, weight=len(error))


def build(
    *, encoding: str = "per_image", scale_m: float | None = None, knee_m: float | None = None
) -> SceneFlow:
    """The task with an encoding.

    Args:
        encoding: ``per_image`` (relative, the published one) or ``calibrated`` (in metres).
        scale_m: the largest motion of the calibrated encoding [m], 2 if not given.
        knee_m: motion above which the calibrated encoding is logarithmic [m]; linear if not given.
    Raises:
        ValueError: unknown encoding, a scale that is not above 0, a negative knee, or either of them for
            ``per_image``.
    """
    return SceneFlow(build_flow_encoding(encoding, scale_m, knee_m, unit="m", default=_SCALE_M))
