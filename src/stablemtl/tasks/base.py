"""What a task is: the description, the operations and the metric that every task file provides.

Dimensions: B batch, C channels of the target, H and W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """The facts about a task that other parts of the package ask for."""

    name: str
    """Key of the task, as used in configs, checkpoints and result tables."""
    prompt: str
    """Text whose encoding tells the network which task to solve."""
    channels: int
    """Channels of the target and of the decoded prediction."""
    frames: int
    """Frames the task looks at: 1, or 2 for motion."""
    unit: str
    """Unit of decoded values: ``px``, ``m``, ``class id``, ``unit vector`` or ``relative``."""
    value_range: tuple[float, float]
    """Smallest and largest value that decoding can give [unit]."""
    headline: str
    """The figure of the task's metric that goes into tables and into Delta_m."""
    higher_is_better: bool
    """Direction of the headline figure."""
    convention: str
    """One sentence: axes, colour space, and what a number means."""
    scale_known: bool
    """False when decoded values are right only up to an unknown factor."""
    shift_known: bool
    """False when decoded values are right only up to an unknown offset."""
    grows_with_frame: bool = False
    """True when the target counts pixels of the frame: twice the frame's size, twice the values."""
    photometric: bool = False
    """True when the label depends on the frame's colours, so that a change of colours makes it wrong."""
    stretched_colors: bool = False
    """True when ``colorize`` stretches its colours over the values it is given, unless told a range."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of their ids, for a task whose values are class ids."""


class Metric(Protocol):
    """Running evaluation figures of one task.

    What it keeps is a vector of sums, so that parts scored in different places add up to the whole.
    """

    def update(self, pred: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch.

        Args:
            pred: what the task decodes to, shape (B, C, H, W), or (B, H, W) where C is 1.
            target: ground truth in physical units, shape of ``pred``.
            valid: True where ``target`` was measured, bool, shape (B, 1, H, W) or (B, H, W). An image without
                a valid pixel adds nothing.
        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        ...

    def compute(self) -> dict[str, float]:
        """The figures over everything added since the last reset; ``nan`` where nothing was added."""
        ...

    def reset(self) -> None:
        """Forget everything added."""
        ...

    def state(self) -> Tensor:
        """Everything added, as sums: (K,) float64, the same K for metrics built alike; a copy."""
        ...

    def merge(self, state: Tensor) -> None:
        """Add what another metric, built alike, has in its ``state``.

        Raises:
            ValueError: it is of another length.
        """
        ...

    def fit(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The prediction as it is compared: aligned to each image's target and clipped, if the metric does.

        Args:
            pred, target, valid: as in :meth:`update`.
        Returns:
            In the unit of ``target``, shape (B, C, H, W), all pixels.
        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        ...

    def errors(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The error of each pixel after :meth:`fit`, shape (B, 1, H, W) float64; nan where not valid.

        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        ...


class Task(Protocol):
    """The operations of one task. Implementations are immutable; two equal ones have equal options.

    What most implementations do alike is in :class:`stablemtl.tasks.map_task.MapTask`.
    """

    @property
    def spec(self) -> TaskSpec:
        """Description of the task, in accord with its encoding."""
        ...

    @property
    def options(self) -> dict[str, str | float]:
        """Parameters of the encoding, ready for JSON: ``build_task(name, **options)`` rebuilds the task."""
        ...

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        """Label to an image for the latent codec.

        Args:
            target: label in physical units, shape (B, C, H, W); invalid pixels may hold anything, NaN
                included.
            valid: True where ``target`` was measured, bool, shape (B, 1, H, W).
        Returns:
            Image in [-1, 1], shape (B, 3, H, W), finite everywhere.
        Raises:
            ValueError: shapes disagree, or ``valid`` is not bool.
        """
        ...

    def decode(self, image: Tensor) -> Tensor:
        """Image of the latent codec, shape (B, 3, H, W), to a prediction [unit], shape (B, C, H, W).

        Raises:
            ValueError: the image has another shape, or is not floating point.
        """
        ...

    def metric(self, *args: Any, **kwargs: Any) -> Metric:
        """A fresh metric. Every task takes ``align``: False leaves out the fit to the target."""
        ...

    def hflip(self, target: Tensor) -> Tensor:
        """The target, or the prediction, that belongs to the mirrored image. Shape (..., C, H, W)."""
        ...

    def vflip(self, target: Tensor) -> Tensor:
        """The target, or the prediction, of the image turned upside down. Shape (..., C, H, W)."""
        ...

    def resize(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """The target at another (height, width). Shape (..., C, H, W).

        Raises:
            ValueError: a side of ``size`` is below 1.
        """
        ...

    def resize_prediction(self, pred: Tensor, size: tuple[int, int]) -> Tensor:
        """The prediction at another (height, width), smooth where it is continuous. Shape (..., C, H, W)."""
        ...

    def colorize(
        self, values: Tensor, valid: Tensor | None = None, *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Prediction or target as uint8 colours, shape (B, 3, H, W); unusable pixels are black.

        Args:
            values: shape (B, C, H, W).
            valid: bool, shape (B, 1, H, W); all pixels by default.
            value_range: lowest and highest value that the colours span [unit], so that several images can be
                compared; each image's own by default. Without effect where ``spec.stretched_colors`` is
                False: such colours mean the same in every image anyway.
        Raises:
            ValueError: shapes disagree, ``valid`` is not bool, or ``value_range`` is empty or not finite.
        """
        ...
