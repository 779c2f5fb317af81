"""The Middlebury motorcycle: one real pair with measured disparity, which comes with scikit-image.

The left view is the frame, the right view the next one: a camera that moves to the right by the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.data.sample import Sample, check_task, image_tensor, label_tensor, mask_tensor

FOCAL_PX = 994.978
BASELINE_M = 0.193001
PRINCIPAL_POINT_OFFSET_PX = 31.086
"""Principal point of the right view minus that of the left one, along x."""


class Motorcycle:
    """A data set of one pair, 500x741 px, with depth and optical flow.

    With disparity d, a point at (x, y) of the left view is at (x - d, y) of the right one. Hence the flow is
    (-d, 0) px, and depth is focal * baseline / (d + offset of the principal points) m. Labels are zero where
    the disparity is not known.

    Source: Scharstein et al., GCPR 2014 (Middlebury 2014), as scikit-image ships it: a quarter of the
    original size, with the calibration for that size in the docstring of ``stereo_motorcycle``.
    """

    name = "motorcycle"
    tasks = ("depth", "optical_flow")

    def __len__(self) -> int:
        return 1

    def indices(self, task: str) -> Sequence[int]:
        check_task(self.name, task, self.tasks)
        return range(1)

    def load(self, index: int, task: str) -> Sample:
        """The pair with one label.

        Raises:
            ValueError: no such task here.
            IndexError: ``index`` is not 0.
            FileNotFoundError: the pair is not in this installation of scikit-image and cannot be fetched.
        """
        check_task(self.name, task, self.tasks)
        if index != 0:
            raise IndexError(f"the motorcycle is one pair, index 0; got {index}.")
        from skimage.data import stereo_motorcycle  # slow import

        try:
            left, right, disparity = stereo_motorcycle()
        except (ImportError, OSError, ValueError) as error:
            raise FileNotFoundError(
                f"the motorcycle pair of scikit-image cannot be read ({error}). Install scikit-image again."
            ) from error
        known = np.isfinite(disparity)  # infinite, or NaN, where not measured
        disparity = np.where(known, disparity, 0.0)
        label = flow_px(disparity) if task == "optical_flow" else depth_m(disparity)
        known_label = known if label.ndim == 2 else known[:, :, None]
        return Sample(
            image=image_tensor(left),
            image_next=image_tensor(right),
            target=label_tensor(np.where(known_label, label, 0.0)),
            valid=mask_tensor(known),
            task=task,
            dataset=self.name,
            key="motorcycle",
        )


def depth_m(disparity_px: NDArray[Any]) -> NDArray[Any]:
    """Planar depth [m] from finite disparity [px], shape (H, W)."""
    return FOCAL_PX * BASELINE_M / (disparity_px + PRINCIPAL_POINT_OFFSET_PX)


def flow_px(disparity_px: NDArray[Any]) -> NDArray[Any]:
    """Flow from the left view to the right one [px], (H, W, 2), from disparity (H, W)."""
    return np.stack([-disparity_px, np.zeros_like(disparity_px)], axis=-1)
