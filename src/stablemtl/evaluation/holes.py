"""Fills what is not labelled, so that a codec can be asked how well it keeps what is.

A network predicts everywhere. The ground truth of a laser scanner has single points in the void, and a codec
that blurs them with it would look far worse than it is.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def filled(target: Tensor, valid: Tensor) -> Tensor:
    """Every pixel without a label takes that of a nearest pixel with one; the others stay.

    Args:
        target: shape (C, H, W), any type.
        valid: bool, shape (1, H, W); with no True, ``target`` is returned as it is.
    """
    known = valid[0].numpy()
    if known.all() or not known.any():
        return target
    # Numbers of the nearest zeros, which are the known pixels.
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    position = np.zeros(nearest.max() + 1, np.int64)
    position[nearest[known]] = np.flatnonzero(known)
    return target.flatten(1)[:, torch.from_numpy(position[nearest])]
