"""The real stereo pair: the sign of its flow, its depth, and how it is scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stablemtl import StableMTLPipeline
from stablemtl.data import Sample
from stablemtl.evaluation.motorcycle import Motorcycle, depth_m, flow_px
from stablemtl.evaluation.predictor import PipelinePredictor
from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.scoring import score


def test_depth_and_flow_by_hand() -> None:
    disparity = np.array([[8.914, 68.914]])  # 40 and 100 px with the offset of 31.086
    assert depth_m(disparity) == pytest.approx(
        np.array([[994.978 * 0.193001 / 40, 994.978 * 0.193001 / 100]])
    )
    assert flow_px(disparity) == pytest.approx(np.array([[[-8.914, 0.0], [-68.914, 0.0]]]))


def test_flow_leads_from_the_left_view_to_the_right_one() -> None:
    """Colours agree along the flow, and do not against it."""
    sample = Motorcycle().load(0, "optical_flow")
    assert sample.image_next is not None
    assert sample.image.shape == (3, 500, 741)
    rows, columns = sample.valid[0].nonzero(as_tuple=True)
    difference = {}
    for sign in (1, -1):
        there = columns + (sign * sample.target[0, rows, columns]).round().long()
        inside = (there >= 0) & (there < 741)
        seen = sample.image_next[:, rows[inside], there[inside]]
        difference[sign] = (sample.image[:, rows[inside], columns[inside]] - seen).abs().mean().item()
    assert difference[1] < 0.05 < 0.15 < difference[-1]
    assert not sample.target[1].any()


def test_unknown_disparity_is_not_valid() -> None:
    sample = Motorcycle().load(0, "depth")
    assert 0.9 < sample.valid.float().mean() < 0.95
    assert sample.target.isfinite().all()
    assert not sample.target[~sample.valid].any()
    measured = sample.target[sample.valid]
    assert 2.0 < measured.min() < 2.2
    assert 4.9 < measured.max() < 5.1


def test_one_pair_with_two_labels() -> None:
    dataset = Motorcycle()
    assert len(dataset) == 1
    assert list(dataset.indices("depth")) == [0]
    with pytest.raises(ValueError, match="no labels for task 'albedo'"):
        dataset.load(0, "albedo")
    with pytest.raises(IndexError, match="one pair"):
        dataset.load(1, "depth")


def test_a_missing_pair_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError("no network")

    monkeypatch.setattr("skimage.data.stereo_motorcycle", missing)
    with pytest.raises(FileNotFoundError, match=r"cannot be read \(no network\)"):
        Motorcycle().load(0, "depth")


def test_scored_as_users_predict(tiny_pipeline: StableMTLPipeline) -> None:
    """At the model's resolution, with figures at the size of the pair."""
    pipe = StableMTLPipeline(
        model=tiny_pipeline.model,
        vae=tiny_pipeline.vae,
        task_options=tiny_pipeline.config["task_options"],
        default_processing_resolution=48,
    )
    predictor = PipelinePredictor(pipe)
    sample = Motorcycle().load(0, "optical_flow")
    assert predictor.round_trip(sample, resolution=None).shape == (2, 500, 741)
    expected = pipe(sample.image, sample.image_next, tasks="optical_flow")["optical_flow"].values
    predicted = predictor.predict([sample], resolution=None)[0]
    assert torch.equal(predicted, torch.from_numpy(expected).permute(2, 0, 1))
    for task, headline in (("depth", "abs_rel"), ("optical_flow", "epe")):
        found = score(Motorcycle(), native_benchmark("motorcycle", task), predictor)
        assert found.n == 1
        assert found.headline == headline
        assert np.isfinite([found.model[headline], found.constant[headline], found.ceiling[headline]]).all()
        assert set(found.unaligned) == {"model", "constant", "ceiling"}
        assert not found.intervals  # one image tells nothing of the spread


def test_ceiling_keeps_pixels_through_the_resize(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a codec that changes nothing, flow of the pair comes back in its own pixels."""

    class Same:
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def decode(self, latents: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            return latents

    monkeypatch.setattr(StableMTLPipeline, "codec", Same())
    target = torch.tensor([6.0, -4.0])[:, None, None].expand(2, 16, 26)
    sample = Sample(
        image=torch.zeros(3, 16, 26),
        target=target,
        valid=torch.ones(1, 16, 26, dtype=torch.bool),
        task="optical_flow",
        dataset="flat",
        key="0",
    )
    decoded = PipelinePredictor(tiny_pipeline).round_trip(sample, resolution=13)
    assert decoded == pytest.approx(target, abs=1e-4)
