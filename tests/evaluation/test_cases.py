"""Pictures of the worst and the best images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stablemtl.evaluation.cases import TILE_WIDTH_PX, case_sheet
from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.scoring import score
from stablemtl.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_row_for_each_case(toys: Any, oracle: Any, task: str) -> None:
    dataset, predictor, benchmark = toys(3), oracle(), native_benchmark("toys", task)
    found = score(dataset, benchmark, predictor, resamples=2)
    heights = []
    for count in (1, 2):
        predictor.seen.clear()
        sheet = case_sheet(dataset, benchmark, predictor, found.worst[:count])
        assert [sample.key for sample in predictor.seen] == [case.key for case in found.worst[:count]]
        assert sheet.width > 4 * TILE_WIDTH_PX
        heights.append(sheet.height)
    assert heights[1] > 1.8 * heights[0]
    with pytest.raises(ValueError, match="cases is empty"):
        case_sheet(dataset, benchmark, predictor, ())


def test_tiles_are_frame_truth_prediction_and_error(toys: Any, oracle: Any) -> None:
    """A prediction that is right on the left and wrong on the right has its error there."""
    left = torch.arange(26) < 13
    predictor = oracle(lambda values: torch.where(left, values, (values + 3) % 8))
    dataset, benchmark = toys(1), native_benchmark("toys", "semantic")
    predictor.codec.round_trip = lambda sample, resolution: sample.target.clamp(0, 7)
    found = score(dataset, benchmark, predictor, resamples=2)
    sheet = np.asarray(case_sheet(dataset, benchmark, predictor, found.worst), dtype=float)
    tiles = [sheet[70:-20, 6 + i * (TILE_WIDTH_PX + 6) :][:, :TILE_WIDTH_PX] for i in range(4)]
    truth, prediction, error = tiles[1:]
    grey = (error == 128).all(-1)
    assert 0.1 < grey.mean() < 0.3  # a fifth is not valid
    half = TILE_WIDTH_PX // 2
    assert error[:, :half][~grey[:, :half]].max() < 10
    assert error[:, half + 8 :][~grey[:, half + 8 :]].max() > 200
    same = (truth == prediction).all(-1)
    assert same[:, :half][~grey[:, :half]].all()
    assert not same[:, half + 8 :][~grey[:, half + 8 :]].any()
