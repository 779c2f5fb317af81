"""Surface normals."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.checks import as_image, as_label, as_pair
from stablemtl.tasks.coloring import prepare, to_bytes
from stablemtl.tasks.geometry import resize_smooth, unit_vectors
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.reductions import RunningMeans, angle_deg, masked_map, valid_pixels

_WITHIN_DEG = 11.25


@dataclass(frozen=True)
class Normal(MapTask):
    """Unit vectors, encoded as they are."""

    vectors = True
    spec = TaskSpec(
        name="normal",
        prompt="normal",
        channels=3,
        frames=1,
        unit="unit vector",
        value_range=(-1.0, 1.0),
        headline="mean_angular_error",
        higher_is_better=False,
        convention=(
            "unit vector pointing away from the camera, in camera axes x right, y down, z forward: "
            "a wall seen head-on is (0, 0, 1), a floor (0, 1, 0)."
        ),
        scale_known=True,
        shift_known=True,
    )

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Unit vectors (B, 3, H, W) as they are, clipped; components that are not finite become 0."""
        vectors, _ = as_label(target, valid, self.spec)
        return vectors.float().nan_to_num(0.0, 0.0, 0.0).clamp(-1.0, 1.0)

    def decode(self, image: Tensor) -> Tensor:
        """Clipped, then normalised, shape (B, 3, H, W); a vector of length 0 stays 0."""
        return unit_vectors(as_image(image, self.spec).clamp(-1.0, 1.0))

    def metric(self, *, align: bool = True) -> NormalMetric:
        """Angular errors; there is nothing to align."""
        return NormalMetric(self.spec)

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, then normalised."""
        return unit_vectors(resize_smooth(target, size))

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, then normalised."""
        return unit_vectors(resize_smooth(pred, size))

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Components from [-1, 1] to RGB, uint8 (B, 3, H, W)."""
        vectors, usable = prepare(values, valid, self.spec)
        return to_bytes((vectors + 1) / 2, usable)


class NormalMetric(RunningMeans):
    """Running angular errors: per image, then averaged over images. Lengths do not matter.

    ``mean_angular_error`` and ``median_angular_error`` are in degrees, ``within_11.25`` is the share in
    [0, 1] of pixels less than 11.25 degrees off. A vector of length 0 is 90 degrees off.
    """

    def __init__(self, spec: TaskSpec) -> None:
        """Start empty."""
        super().__init__(("mean_angular_error", "median_angular_error", "within_11.25"))
        self._spec = spec

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch, see :meth:`stablemtl.tasks.base.Metric.update`."""
        for predicted, measured in valid_pixels(*as_pair(pred, target, valid, self._spec)):
            error = angle_deg(predicted, measured)  # (N,)
            self.add(
                {
                    "mean_angular_error": error.mean(),
                    "median_angular_error": error.median(),
                    "within_11.25": (error < _WITHIN_DEG).double().mean(),
                }
            )

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The prediction at unit length; there is nothing to align."""
        return unit_vectors(as_pair(pred, target, valid, self._spec)[0].double())

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Angle at each pixel [deg]."""
        pred, target, valid = as_pair(pred, target, valid, self._spec)
        vectors = (maps.double().transpose(0, 1) for maps in (pred, target))  # (3, B, H, W)
        return masked_map(angle_deg(*vectors)[:, None], valid)


def build() -> Normal:
    """The task; it has no options."""
    return Normal()
