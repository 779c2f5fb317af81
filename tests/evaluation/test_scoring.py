"""One benchmark: rows known beforehand, samples left out, and the same figures however the work is shared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch

from stablemtl import TASKS, StableMTLPipeline
from stablemtl.data.catalog import CATALOG
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.predictor import PipelinePredictor
from stablemtl.evaluation.protocols import PAPER, STANDARD, native_benchmark
from stablemtl.evaluation.scores import Score
from stablemtl.evaluation.scoring import score as score_fully

score = partial(score_fully, resamples=25)


def native(task: str) -> Benchmark:
    return native_benchmark("toys", task)


def same(figures: Any, rel: float = 1e-6) -> Any:
    return pytest.approx(dict(figures), rel=rel, nan_ok=True)


def opened(benchmark: Benchmark, bench_root: Any) -> Any:
    info = CATALOG[benchmark.dataset]
    build: Any = info.build
    return build(bench_root / info.folder, info.splits["test"], **benchmark.reader)


def constant_oracle(oracle: Any, found: Score) -> Any:
    value = torch.tensor(found.constant_value)[:, None, None]
    return oracle(lambda values: value.to(values).expand_as(values))


# rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_round_trip_of_the_ground_truth_scores_as_the_ceiling(toys: Any, oracle: Any, task: str) -> None:
    found = score(toys(), native(task), oracle(), batch_size=2)
    assert found.n == 5
    assert found.complete
    assert dict(found.model) == same(found.ceiling)
    assert found.improvement > (1.5 if found.higher_is_better else 20)
    assert dict(found.unaligned.get("model", {})) == same(found.unaligned.get("ceiling", {}))


@pytest.mark.parametrize("task", TASKS)
def test_constant_prediction_scores_as_the_constant_row(toys: Any, oracle: Any, task: str) -> None:
    known = score(toys(), native(task), oracle())
    assert len(known.constant_value) == TASKS[task].spec.channels
    found = score(toys(), native(task), constant_oracle(oracle, known))
    assert dict(found.model) == same(known.constant)
    assert found.improvement == pytest.approx(1.0 if found.higher_is_better else 0.0, abs=1e-4)


@pytest.mark.parametrize("benchmark", [*PAPER, *STANDARD], ids=lambda b: f"{b.protocol}-{b.name}")
def test_oracle_and_constant_on_every_column(benchmark: Benchmark, bench_root: Any, oracle: Any) -> None:
    dataset = opened(benchmark, bench_root)
    known = score(dataset, benchmark, oracle())
    assert known.n == 2
    assert dict(known.model) == same(known.ceiling)
    found = score(dataset, benchmark, constant_oracle(oracle, known))
    assert dict(found.model) == same(known.constant)
    assert known.model[known.headline] != pytest.approx(known.constant[known.headline], rel=1e-2)


@pytest.mark.parametrize("task", ["depth", "optical_flow", "scene_flow", "shading", "albedo"])
def test_aligned_figures_ignore_the_scale(toys: Any, oracle: Any, task: str) -> None:
    """And the shift of depth; figures in the task's own unit do not."""
    shift = 1.0 if task == "depth" else 0.0
    found = score(toys(), native(task), oracle(lambda values: 0.25 * values + shift))
    assert dict(found.model) == same(found.ceiling, rel=1e-5)
    if found.unaligned:
        name = found.headline
        assert found.unaligned["model"][name] != pytest.approx(found.unaligned["ceiling"][name], rel=1e-3)


def test_own_unit_is_scored_where_the_scale_is_known(toys: Any, oracle: Any) -> None:
    """In the tiny pipeline: depth and optical flow. Normals and classes have no other figures."""
    found = {task: score(toys(2), native(task), oracle()) for task in TASKS}
    assert [task for task in TASKS if found[task].unaligned] == ["depth", "optical_flow"]
    for task in ("depth", "optical_flow"):
        rows = found[task].unaligned
        assert list(rows) == ["model", "constant", "ceiling"]
        figures = {role: row[found[task].headline] for role, row in rows.items()}
        assert figures["ceiling"] < figures["constant"]


def test_improvement_over_the_constant(toys: Any, oracle: Any) -> None:
    found = score(toys(), native("normal"), oracle())
    model, constant = found.model["mean_angular_error"], found.constant["mean_angular_error"]
    assert found.improvement == pytest.approx(100 * (constant - model) / constant)
    found = score(toys(), native("semantic"), oracle())
    assert found.improvement == pytest.approx(found.model["miou"] / found.constant["miou"])


def test_cases_intervals_and_records(toys: Any, oracle: Any) -> None:
    found = score(toys(12), native("depth"), oracle())
    own = {case.index: case.value for case in (*found.worst, *found.best)}
    assert [case.value for case in found.worst] == sorted(own.values(), reverse=True)[:8]
    assert [case.value for case in found.best] == sorted(own.values())[:8]
    assert found.worst[0].key == f"toy-{found.worst[0].index}"
    assert found.model["abs_rel"] == pytest.approx(sum(own.values()) / 12)
    low, high = found.intervals["abs_rel"]
    assert low < found.model["abs_rel"] < high
    assert [record.index for record in found.records] == list(range(12))
    assert set(found.records[0].states) == set(found.records[0].unaligned) == {"model", "constant", "ceiling"}
    assert found.profile is not None
    assert sum(found.profile.pixels) == sum(record.pixels for record in found.records)
    classes = score(toys(3), native("semantic"), oracle())
    assert classes.profile is None
    assert [case.value for case in classes.worst] == sorted(case.value for case in classes.best)


# the same figures -------------------------------------------------------------------------------------------


class Shuffled:
    """A dataset whose samples come in another order."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.name, self.tasks = dataset, dataset.name, dataset.tasks

    def __len__(self) -> int:
        return len(self.dataset)

    def indices(self, task: str) -> Sequence[int]:
        return [3, 0, 6, 2, 5, 1, 4]

    def load(self, index: int, task: str) -> Any:
        return self.dataset.load(index, task)


def flat(found: Score) -> dict[str, Any]:
    """Everything but the time."""
    content = found.to_dict()
    del content["seconds"]
    return content


@pytest.mark.parametrize("task", TASKS)
def test_ranks_batches_and_order_change_nothing(toys: Any, oracle: Any, on_ranks: Any, task: str) -> None:
    def noisy(values: torch.Tensor) -> torch.Tensor:
        return values.flip(-1) if task == "semantic" else values + 0.1 * values.flip(-1)

    reference = flat(score(toys(7, broken={4}), native(task), oracle(noisy), batch_size=1))
    others = [
        score(toys(7, broken={4}), native(task), oracle(noisy), batch_size=4),
        score(Shuffled(toys(7, broken={4})), native(task), oracle(noisy), batch_size=4),
        *on_ranks(
            3,
            lambda ranks: score(toys(7, broken={4}), native(task), oracle(noisy), batch_size=2, ranks=ranks),
        ),
    ]
    for other in others:
        assert isinstance(other, Score)
        assert _close(flat(other), reference)


def _close(one: Any, other: Any) -> bool:
    """Equal to 1e-6, whatever the nesting."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-12, nan_ok=True)
    return bool(one == other)


def test_more_ranks_than_samples(toys: Any, oracle: Any, on_ranks: Any) -> None:
    results = on_ranks(3, lambda ranks: score(toys(2), native("normal"), oracle(), ranks=ranks))
    reference = flat(score(toys(2), native("normal"), oracle()))
    for found in results:
        assert isinstance(found, Score)
        assert _close(flat(found), reference)


def test_network_figures_do_not_depend_on_the_batch(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    predictor = PipelinePredictor(tiny_pipeline)
    rows = [
        score(toys(), native(task), predictor, batch_size=size).model
        for task in ("optical_flow", "normal")
        for size in (1, 4)
    ]
    assert dict(rows[0]) == same(rows[1])
    assert dict(rows[2]) == same(rows[3])


# samples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "readings"), [("shading", 1), ("albedo", 2)])  # a mean is read first
def test_limit_reads_no_more(toys: Any, oracle: Any, task: str, readings: int) -> None:
    dataset = toys(9)
    seen: list[Any] = []
    found = score(dataset, native(task), oracle(), limit=3, on_progress=lambda *state: seen.append(state))
    assert dataset.loaded == readings * [0, 3, 6]
    assert found.n == 3
    assert seen == [(f"toys {task}", done, 3) for done in (1, 2, 3)]


@pytest.mark.parametrize("task", ["shading", "normal"])  # normal reads twice
def test_unreadable_samples_are_left_out_and_counted(
    toys: Any, oracle: Any, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    with caplog.at_level(logging.WARNING):
        found = score(toys(4, broken={1}), native(task), oracle())
    assert found.n == 3
    assert not found.complete
    assert [(sample.index, sample.error) for sample in found.unreadable] == [(1, "toys: no file 1.png")]
    assert caplog.text.count("left out: toys") == 1


def test_samples_without_a_label_do_not_count(toys: Any, oracle: Any) -> None:
    found = score(toys(3, unlabelled={0}), native("normal"), oracle())
    assert (found.n, found.unlabelled) == (2, 1)
    assert found.complete


@pytest.mark.parametrize("task", ["albedo", "semantic", "depth"])
def test_nothing_readable_gives_no_figures(toys: Any, oracle: Any, task: str) -> None:
    found = score(toys(2, broken={0, 1}), native(task), oracle())
    assert found.n == 0
    assert found.constant_value == []
    assert not found.complete
    assert found.improvement != found.improvement  # nan
    assert found.model[found.headline] != found.model[found.headline]
    assert not found.intervals


def test_predictions_that_are_not_finite_are_an_error(toys: Any, oracle: Any) -> None:
    left = torch.arange(26) < 13
    nan = oracle(lambda values: torch.where(left, torch.nan, values))
    with pytest.raises(
        ValueError, match=r"toys depth, frame toy-0: the model's prediction is not finite \(50 %"
    ):
        score(toys(2), native("depth"), nan)


def test_an_error_on_one_rank_stops_all(toys: Any, oracle: Any, on_ranks: Any) -> None:
    """The second process meets the bad frame; none is left waiting."""

    def work(ranks: Any) -> Score:
        bad = oracle(lambda values: values * torch.nan if ranks.rank == 1 else values)
        return score(toys(6), native("depth"), bad, ranks=ranks)

    errors = [str(error) for error in on_ranks(3, work)]
    assert all("frame toy-1: the model's prediction is not finite" in error for error in errors)
    assert errors[0].startswith("process 1: ValueError: toys depth")
    assert errors[1].startswith("toys depth")


def test_predictions_of_another_size_are_an_error(toys: Any, oracle: Any) -> None:
    cut = oracle(lambda values: values[..., 1:])
    with pytest.raises(ValueError, match=r"frame toy-0: .* must be \(1, 18, 26\) .* got \(1, 18, 25\)"):
        score(toys(1), native("depth"), cut)


def test_damaged_codec_is_an_error(toys: Any, make_tiny_model: Any, make_tiny_vae: Any) -> None:
    vae = make_tiny_vae()
    torch.nn.init.constant_(next(vae.decoder.parameters()), torch.nan)
    pipe = StableMTLPipeline(model=make_tiny_model(), vae=vae)
    with pytest.raises(ValueError, match="toys albedo, frame toy-0"):
        score(toys(1), native("albedo"), PipelinePredictor(pipe))


# predictor --------------------------------------------------------------------------------------------------


def test_pipeline_predicts_at_the_frame_s_own_size(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    sample = toys().load(0, "depth")
    prediction = PipelinePredictor(tiny_pipeline).predict([sample], resolution=0)[0]
    expected = tiny_pipeline(sample.image, tasks="depth", processing_resolution=0)["depth"].values
    assert prediction.shape == (1, 18, 26)
    assert prediction[0].numpy() == pytest.approx(expected)


def test_pipeline_predicts_at_a_resolution(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    sample = toys().load(0, "optical_flow")
    predictor = PipelinePredictor(tiny_pipeline)
    prediction = predictor.predict([sample], resolution=16)[0]
    expected = tiny_pipeline(sample.image, sample.image_next, tasks="optical_flow", processing_resolution=16)
    assert prediction.permute(1, 2, 0).numpy() == pytest.approx(expected["optical_flow"].values)
    assert predictor.round_trip(sample, resolution=16).shape == (2, 18, 26)


def test_single_stream_is_another_prediction(toys: Any, tiny_pipeline: StableMTLPipeline) -> None:
    sample = toys().load(0, "normal")
    multi, single = (
        PipelinePredictor(tiny_pipeline, single_stream=flag).predict([sample], resolution=0)[0]
        for flag in (False, True)
    )
    assert multi.shape == single.shape == (3, 18, 26)
    assert not torch.equal(multi, single)
