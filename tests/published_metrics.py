"""Maps, and the figures that the published metric functions give on them.

``fixtures/metrics_io.npz`` holds random maps, ``fixtures/metrics_expected.json`` the figures of the published
code, alignment included (astra-vision/StableMTL at commit f44e254).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stablemtl.tasks.semantic import CLASSES

FIXTURES = Path(__file__).parent / "fixtures"
_OUR_NAMES = {
    "abs_relative_difference": "abs_rel",
    "squared_relative_difference": "sq_rel",
    "rmse_linear": "rmse",
    "delta1_acc": "delta1",
    "delta2_acc": "delta2",
    "delta3_acc": "delta3",
    "silog_rmse": "silog",
    "EPE2d": "epe",
    "Fl": "fl_all",
    "optical_flow_MAE": "angle",
    "EPE3d": "epe3d",
    "Acc": "accuracy",
    "mIoU": "miou",
} | {f"cls_{index:02d}": f"iou/{name}" for index, name in enumerate(CLASSES)}


@dataclass(frozen=True, kw_only=True)
class PublishedCase:
    """One task on one test set."""

    name: str
    """Such as ``depth.kitti``."""
    pred: Tensor
    """(B, C, H, W)."""
    target: Tensor
    """(B, C, H, W)."""
    valid: Tensor
    """(B, 1, H, W)."""
    expected: dict[str, float]
    """The published figures, by our names."""

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.name.split(".")[0]


def published_case(name: str) -> PublishedCase:
    """One of them."""
    task = name.split(".")[0]
    with np.load(FIXTURES / "metrics_io.npz") as archive:
        maps = [torch.from_numpy(archive[key]) for key in (f"{task}.pred", f"{task}.target", "valid")]
    pred, target, valid = (one[:, None] if one.ndim == 3 else one for one in maps)
    figures = json.loads((FIXTURES / "metrics_expected.json").read_text())[name]
    expected = {_OUR_NAMES.get(key, key): value for key, value in figures.items()}
    return PublishedCase(name=name, pred=pred, target=target, valid=valid, expected=expected)
