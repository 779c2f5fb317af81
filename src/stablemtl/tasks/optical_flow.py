"""Optical flow: where each pixel of the first frame is in the second."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_maps, as_pair, as_valid
from stablemtl.tasks.coloring import flow_colors, longest_of, prepare, to_bytes
from stablemtl.tasks.flow_encoding import CalibratedFlow, FlowEncoding, PerImageFlow, build_flow_encoding
from stablemtl.tasks.flow_metrics import end_point_errors, fit_flow
from stablemtl.tasks.geometry import mirror, resize_nearest, resize_smooth, upside_down
from stablemtl.tasks.reductions import RunningMeans, angle_deg, valid_pixels, vector_length

_SCALE_PX = 16.0  # of the calibrated encoding unless told otherwise
_FL_ERROR_PX, _FL_SHARE = 3.0, 0.05


@dataclass(frozen=True)
class OpticalFlow:
    """Motion in the image plane, relative per image or in pixels."""

    encoding: FlowEncoding = field(default_factory=PerImageFlow)

    @property
    def spec(self) -> TaskSpec:
        """Description of the task, in accord with the encoding."""
        scale = self.encoding.scale if isinstance(self.encoding, CalibratedFlow) else None
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
        if isinstance(self.encoding, CalibratedFlow):
            return {"encoding": "calibrated", "scale_px": self.encoding.scale, "knee_px": self.encoding.knee}
        return {"encoding": "per_image"}

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Flow [px], shape (B, 2, H, W), to an image (B, 3, H, W) in [-1, 1] whose channels are (u, v, u).

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        flow = as_maps(target, self.spec, "target")
        return self.encoding.encode(flow, as_valid(valid, flow, self.spec))[:, [0, 1, 0]]

    def decode(self, image: Tensor) -> Tensor:
        """Channels 0 and 1, clipped and mapped back, shape (B, 2, H, W)."""
        return self.encoding.decode(as_image(image, self.spec)[:, :2])

    def metric(self, *, align: bool = True) -> OpticalFlowMetric:
        """``epe`` [px], ``fl_all`` and ``angle`` [deg]."""
        return OpticalFlowMetric(self.spec, align=align)

    def hflip(self, target: Tensor) -> Tensor:
        """Mirrored, u negated."""
        return mirror(target, negate_x=True)

    def vflip(self, target: Tensor) -> Tensor:
        """Turned upside down, v negated."""
        return upside_down(target, negate_y=True)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest; u is multiplied by the ratio of the widths, v by that of the heights."""
        return resize_nearest(target, size) * _ratio(target, size)

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear; pixel values multiplied as in :meth:`resize`, relative ones kept."""
        resized = resize_smooth(pred, size)
        return resized * _ratio(pred, size) if self.spec.scale_known else resized

    def colorize(
        self,
        values: Tensor,
        valid: Tensor | None = None,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Tensor:
        """Middlebury colours relative to the image's longest vector, uint8 (B, 3, H, W).

        With ``value_range``, relative to its larger end in magnitude.
        """
        flow, usable = prepare(values, valid, self.spec)
        return to_bytes(flow_colors(flow, longest_of(value_range)), usable)


class OpticalFlowMetric:
    """Running errors over all valid pixels of all images, after a non-negative scale per image and channel.

    ``epe``: mean end-point error [px]. ``fl_all``: share in [0, 1] of pixels with an error above 3 px and
    above 5 % of the true length (KITTI 2015). ``angle``: mean angle between predicted and true motion [deg],
    over pixels that do move.
    """

    def __init__(self, spec: TaskSpec, *, align: bool = True) -> None:
        """``align=False`` takes the prediction as pixels."""
        self._spec, self._align = spec, align
        self._means = RunningMeans(("epe", "fl_all", "angle"))

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`.

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        fitted = fit_flow(pred, target, valid, align=self._align)
        for flow, truth in valid_pixels(fitted, target, valid):  # (2, N) each
            error, length = vector_length(flow - truth), vector_length(truth)
            outlier = (error > _FL_ERROR_PX) & (error > _FL_SHARE * length)
            self._means.add({"epe": error.mean(), "fl_all": outlier.double().mean()}, weight=len(error))
            moving = length > 0
            if moving.any():
                angle = angle_deg(flow[:, moving], truth[:, moving])
                self._means.add({"angle": angle.mean()}, weight=len(angle))

    def compute(self) -> dict[str, float]:
        """Means over pixels."""
        return self._means.compute()

    def reset(self) -> None:
        """Forget everything added."""
        self._means.reset()

    def state(self) -> Tensor:
        """Sums of the figures, then their weights."""
        return self._means.state()

    def merge(self, state: Tensor) -> None:
        """Add the ``state`` of another metric like this one."""
        self._means.merge(state)

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`stablemtl.tasks.base.Metric.fit`."""
        return fit_flow(*as_pair(pred, target, valid, self._spec), align=self._align)

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """End-point error of each pixel [px]."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        return end_point_errors(fit_flow(pred, target, valid, align=self._align), target, valid)


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
