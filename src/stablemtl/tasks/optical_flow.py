"""Optical flow: where each pixel of the first frame is in the second."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.coloring import flow_colors, longest_of, prepare, to_bytes
from stablemtl.tasks.flow_encoding import FlowEncoding, PerImageFlow, build_flow_encoding, flow_options
from stablemtl.tasks.flow_metrics import FlowMetric
from stablemtl.tasks.geometry import resize_nearest, resize_smooth
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.reductions import angle_deg, vector_length

_SCALE_PX = 16.0  # of the calibrated encoding unless told otherwise
_FL_ERROR_PX, _FL_SHARE = 3.0, 0.05


@dataclass(frozen=True)
class OpticalFlow(MapTask):
    """Motion in the image plane, relative per image or in pixels."""

    vectors = True
    encoding: FlowEncoding = field(default_factory=PerImageFlow)

    @property
    def spec(self) -> TaskSpec:
        """Description of the task, in accord with the encoding."""
        scale = self.encoding.scale
        unit = "in pixels" if scale else "relative to an unknown scale per channel; targets are in pixels"
        return TaskSpec(
            name="optical_flow",
            prompt="optical flow",
            channels=2,
            frames=2,
            unit="px" if scale else "relative",
            value_range=(-scale, scale) if scale else (-1.0, 1.0),
            headline="epe",
            higher_is_better=False,
            convention=f"(u right, v down) from the first frame to the second, {unit}.",
            scale_known=scale is not None,
            shift_known=True,
            grows_with_frame=True,
            stretched_colors=True,
        )

    @property
    def options(self) -> dict[str, str | float]:
        """``encoding``, and ``scale_px`` and ``knee_px`` of the calibrated one."""
        return flow_options(self.encoding, unit="px")

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Flow [px], shape (B, 2, H, W), to an image (B, 3, H, W) in [-1, 1] whose channels are (u, v, u)."""
        return self.encoding.encode(*as_label(target, valid, self.spec))[:, [0, 1, 0]]

    def decode(self, image: Tensor) -> Tensor:
        """Channels 0 and 1, clipped and mapped back, shape (B, 2, H, W)."""
        return self.encoding.decode(as_image(image, self.spec)[:, :2])

    def metric(self, *, align: bool = True) -> OpticalFlowMetric:
        """``epe`` [px], ``fl_all`` and ``angle`` [deg]."""
        return OpticalFlowMetric(self.spec, align=align)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest; u is multiplied by the ratio of the widths, v by that of the heights."""
        return resize_nearest(target, size) * _ratio(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear; pixel values multiplied as in :meth:`resize`, relative ones kept."""
        resized = resize_smooth(pred, size)
        return resized * _ratio(pred, size) if self.spec.scale_known else resized

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Middlebury colours relative to the image's longest vector, uint8 (B, 3, H, W).

        With ``value_range``, relative to its larger end in magnitude.
        """
        flow, usable = prepare(values, valid, self.spec)
        return to_bytes(flow_colors(flow, longest_of(value_range)), usable)


class OpticalFlowMetric(FlowMetric):
    """Running errors over all valid pixels of all images, after a non-negative scale per image and channel.

    ``epe``: mean end-point error [px]. ``fl_all``: share in [0, 1] of pixels with an error above 3 px and
    above 5 % of the true length (KITTI 2015). ``angle``: mean angle between predicted and true motion [deg],
    over pixels that do move.
    """

    def __init__(self, spec: TaskSpec, *, align: bool = True) -> None:
        """``align=False`` takes the prediction as pixels."""
        super().__init__(spec, ("epe", "fl_all", "angle"), align=align)

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`."""
        for flow, truth in self.fitted_pixels(pred, target, valid):  # (2, N) each
            error, length = vector_length(flow - truth), vector_length(truth)
            outlier = (error > _FL_ERROR_PX) & (error > _FL_SHARE * length)
            self.add({"epe": error.mean(), "fl_all": outlier.double().mean()}, weight=len(error))
            moving = length > 0
            if moving.any():
                angle = angle_deg(flow[:, moving], truth[:, moving])
                self.add({"angle": angle.mean()}, weight=len(angle))


def _ratio(flow: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    return flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]])[:, None, None]


def build(
    *, encoding: str = "per_image", scale_px: float | None = None, knee_px: float | None = None
) -> OpticalFlow:
    """The task with an encoding.

    Args:
        encoding: ``per_image`` (relative, the published one) or ``calibrated`` (in pixels).
        scale_px: the largest motion of the calibrated encoding [px], 16 if not given.
        knee_px: motion above which the calibrated encoding is logarithmic [px]; linear if not given.
    Raises:
        ValueError: unknown encoding, a scale that is not above 0, a negative knee, or either of them for
            ``per_image``.
    """
    return OpticalFlow(build_flow_encoding(encoding, scale_px, knee_px, unit="px", default=_SCALE_PX))
