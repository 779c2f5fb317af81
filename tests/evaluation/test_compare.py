"""Two reports compared: known differences, known intervals, and what is not compared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl import cli
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.bootstrap import quantiles
from stablemtl.evaluation.comparable import check_comparable
from stablemtl.evaluation.compare import Comparison, compare
from stablemtl.evaluation.protocols import PAPER, STANDARD, native_benchmark
from stablemtl.evaluation.records import ImageRecord
from stablemtl.evaluation.report import Report
from stablemtl.evaluation.scores import Score

FLOW = native_benchmark("toys", "optical_flow")
CLASSES = native_benchmark("toys", "semantic")


def flow_score(errors: Sequence[float], own: Sequence[float] = (), **entries: Any) -> Score:
    """One pixel an image, so that EPE is the mean of ``errors``; ``own`` without a fit."""
    states = [[np.array([error, 0.0, 0.0, 1.0, 1.0, 0.0]) for error in some] for some in (errors, own)]
    records = tuple(
        ImageRecord(
            index=i,
            key=f"toy-{i}",
            pixels=1,
            states={"model": states[0][i]},
            unaligned={"model": states[1][i]} if len(own) else {},
        )
        for i in range(len(errors))
    )
    known: dict[str, Any] = {"benchmark": FLOW, "constant": {"epe": 4.0}, "checksum": "0abc1234ff"}
    return _score(records, {**known, "model": {"epe": float(np.mean(errors))}, **entries})


def class_score(hits: Sequence[int], **entries: Any) -> Score:
    """Images of ten pixels of class 0, ``hits`` of which are found; the others are called class 1."""
    records = []
    for i, right in enumerate(hits):
        counts = np.zeros((9, 9))
        counts[0, 0], counts[0, 1] = right, 10 - right
        records.append(ImageRecord(index=i, key=f"toy-{i}", pixels=10, states={"model": counts.flatten()}))
    known: dict[str, Any] = {"benchmark": CLASSES, "constant": {"miou": 0.1}, "checksum": "0abc1234ff"}
    return _score(tuple(records), {**known, "model": {"miou": sum(hits) / 20 / len(hits)}, **entries})


def _score(records: tuple[ImageRecord, ...], entries: dict[str, Any]) -> Score:
    fixed = {"n": len(records), "constant_value": [0.0], "ceiling": {}, "records": records}
    return Score(**{**fixed, **entries})


def report(*scores: Score, **entries: Any) -> Report:
    known = {"model": "nano", "single_stream": False, "split": "test", "limit": 0, "device": "cpu"}
    return Report(**{**known, "dtype": "float32", **entries}, scores=scores)


ERRORS = np.random.default_rng(3).uniform(1, 9, 40)


def test_state_of_the_metric_is_as_assumed_here() -> None:
    score = flow_score([2.0, 6.0])
    found = compare(report(score), report(score), resamples=2)
    assert (found.rows[0].a, found.rows[0].figure) == (4.0, "epe")


def test_differences_by_hand() -> None:
    a, b = report(flow_score([2.0, 6.0]), model="one"), report(flow_score([1.0, 5.0]), model="two")
    found = compare(a, b, resamples=50)
    (row,) = found.rows
    assert (found.a, found.b, row.n) == ("one", "two", 2)
    assert (row.a, row.b, row.difference) == (4.0, 3.0, -1.0)
    assert row.gain == pytest.approx(25.0)
    assert row.interval == pytest.approx((-1.0, -1.0))  # every image is better by one pixel
    assert row.verdict == "better"
    assert found.mean_gain == pytest.approx(25.0)
    assert (found.figures, found.only_in_a, found.only_in_b, found.notes) == (1, (), (), ())
    turned = compare(b, a, resamples=50)
    assert turned.rows[0].verdict == "worse"
    assert turned.mean_gain == pytest.approx(-100 / 3)


def test_pairing_narrows_the_interval() -> None:
    """Images differ a lot, the difference hardly: the interval is that of the paired differences."""
    change = np.random.default_rng(4).normal(-0.1, 0.05, len(ERRORS))
    found = compare(report(flow_score(ERRORS)), report(flow_score(ERRORS + change)), resamples=1000)
    low, high = found.rows[0].interval
    half = 1.96 * change.std() / math.sqrt(len(change))
    assert (low, high) == pytest.approx((change.mean() - half, change.mean() + half), abs=0.004)
    assert found.rows[0].verdict == "better"


def test_mean_gain_of_two_tasks_and_its_interval() -> None:
    """Flow: 4 to 3 px, +25 %. Classes: mIoU 1/4 to 3/10, since a class only called counts 0; +20 %."""
    a = report(flow_score([2.0, 6.0]), class_score([6, 4]))
    b = report(flow_score([1.5, 4.5]), class_score([7, 5]))
    found = compare(a, b, resamples=200)
    assert found.rows[1].a == pytest.approx(0.25)
    assert [row.verdict for row in found.rows] == ["better", "better"]
    assert found.mean_gain == pytest.approx((25 + 20) / 2)
    # Draws of one list of frames: twice the first image, both, or twice the second, at 1/4, 1/2, 1/4.
    low, high = found.mean_gain_interval
    assert (low, high) == pytest.approx(((25 + 100 / 6) / 2, (25 + 25) / 2))


def _paper_scores(factors: Sequence[float]) -> list[Score]:
    """All eight columns, two images each: those of PAPER, every headline 1/2 times its factor."""
    scores = []
    for number, (benchmark, factor) in enumerate(zip(PAPER, factors, strict=True)):
        if benchmark.task == "semantic":
            # Of ten pixels of class 0, the others are called class 1: mIoU is half the share of those found.
            scores.append(class_score([8 * factor] * 2, benchmark=benchmark))
            continue
        figures = len(benchmark.metric().state()) // 2
        state = np.array([0.5 * factor] * figures + [1.0] * figures)
        records = tuple(
            ImageRecord(index=i, key=f"toy-{i}", pixels=1, states={"model": state}) for i in range(2)
        )
        entries = {"benchmark": benchmark, "constant": {benchmark.headline: 4.0}}
        model = {benchmark.headline: 0.5 * factor}
        scores.append(_score(records, {**entries, "model": model, "checksum": f"{number:08x}"}))
    return scores


def test_delta_m_needs_all_eight_columns() -> None:
    """Depth has two columns and counts once; the mean of the gains counts both."""
    before = _paper_scores([1.0] * 8)
    order = [(score.dataset, score.task) for score in before]
    gains = {("kitti_depth", "depth"): 40.0, ("diode", "depth"): 20.0, ("diode", "normal"): 10.0}
    after = _paper_scores([1 - gains.get(place, 0.0) / 100 for place in order])
    found = compare(report(*before), report(*after), resamples=5)
    assert found.figures == 8
    assert found.mean_gain == pytest.approx((40 + 20 + 10) / 8)
    assert found.delta_m == pytest.approx((30 + 10) / 7)
    assert found.delta_m_interval == pytest.approx(((30 + 10) / 7,) * 2)  # all images are alike
    # One more benchmark does not change it; it changes the mean.
    more = [report(*scores, flow_score([e, e])) for scores, e in ((before, 4.0), (after, 2.0))]
    found = compare(*more, resamples=5)
    assert found.delta_m == pytest.approx((30 + 10) / 7)
    assert found.mean_gain == pytest.approx((40 + 20 + 10 + 50) / 9)
    # One less, and there is none.
    found = compare(report(*before[1:]), report(*after), resamples=5)
    assert found.delta_m is None
    assert all(map(math.isnan, found.delta_m_interval))
    assert found.mean_gain == pytest.approx((40 + 20 + 10) / 7)
    # Nor by another protocol.
    native = [
        report(*(replace(s, benchmark=replace(s.benchmark, protocol="native")) for s in scores))
        for scores in (before, after)
    ]
    assert compare(*native, resamples=5).delta_m is None


def test_without_a_fit() -> None:
    a, b = flow_score([1.0, 1.0], own=[3.0, 5.0]), flow_score([1.0, 1.0], own=[2.0, 2.0])
    fitted, own = compare(report(a), report(b), resamples=20).rows
    assert (fitted.aligned, fitted.difference, fitted.verdict) == (True, 0.0, "")
    assert (own.aligned, own.difference, own.verdict) == (False, -2.0, "")
    assert math.isnan(own.gain)


def test_one_image_has_no_interval() -> None:
    found = compare(report(flow_score([2.0])), report(flow_score([1.0])))
    assert all(map(math.isnan, (*found.rows[0].interval, *found.mean_gain_interval)))
    assert found.rows[0].verdict == ""
    assert found.mean_gain == pytest.approx(50.0)


def test_a_perfect_a_has_no_gain() -> None:
    found = compare(report(flow_score([0.0, 0.0])), report(flow_score([1.0, 1.0])), resamples=10)
    assert (found.mean_gain, found.figures) == (None, 0)
    assert found.notes == (
        "the mean of the gains leaves out toys optical_flow: no change relative to 0 has a meaning",
    )
    assert found.rows[0].difference == 1.0


def test_what_only_one_has_is_named() -> None:
    found = compare(report(flow_score([1.0]), class_score([5])), report(flow_score([1.0])))
    assert (found.only_in_a, found.only_in_b) == (("toys semantic",), ())
    assert len(found.rows) == 1


def _other_benchmark(**entries: Any) -> Score:
    return flow_score([1.0, 2.0], benchmark=replace(FLOW, **entries))


@pytest.mark.parametrize(
    ("other", "entries", "message"),
    [
        (
            flow_score([1.0, 2.0], checksum="ffff000011"),
            {},
            "over other frames .2 in a, 2 in b, checksums 0abc",
        ),
        (
            _other_benchmark(protocol="standard"),
            {},
            "toys optical_flow is by the protocol native in a and by st",
        ),
        (_other_benchmark(size=608), {}, "toys optical_flow has size own in a and 608 in b"),
        (_other_benchmark(alignment="none"), {}, "has alignment scale per channel in a and none in b"),
        (
            flow_score([1.0, 2.0], constant={"epe": 5.0}),
            {},
            "other labels .the best constant scores 4 in a, 5",
        ),
        (flow_score([1.0, 2.0], records=()), {}, "b has no records of toys optical_flow"),
        (class_score([1, 2]), {}, "no benchmark in common .a: toys optical_flow; b: toys semantic"),
        (flow_score([1.0, 2.0]), {"seeds": {"synth-x": 1}}, r"other seeds .synth-x: 0 in a, 1 in b"),
    ],
)
def test_refuses_what_was_not_scored_alike(other: Score, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"the reports cannot be compared: .*{message}"):
        check_comparable(report(flow_score([1.0, 2.0]), seeds={"synth-x": 0}), report(other, **entries))


def test_refuses_labels_that_cover_other_pixels() -> None:
    one = flow_score([1.0, 2.0])
    other = replace(one, records=(one.records[0], replace(one.records[1], pixels=2)))
    with pytest.raises(ValueError, match=r"other labels .frame toy-1: 1 pixels in a, 2 in b"):
        check_comparable(report(one), report(other))


def test_benchmarks_survive_json() -> None:
    """Sizes are tuples here and lists there."""
    for benchmark in (*PAPER, *STANDARD):
        entries = json.loads(json.dumps({"size": benchmark.size, "reader": dict(benchmark.reader)}))
        read = replace(benchmark, **entries)
        scores = [_empty(one) for one in (benchmark, read)]
        assert check_comparable(report(scores[0]), report(scores[1])) == []


def _empty(benchmark: Benchmark) -> Score:
    return _score((), {"benchmark": benchmark, "model": {}, "constant": {}})


# --- the command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    one = report(flow_score(ERRORS, own=ERRORS + 1), class_score([5] * 3), model="one")
    other = report(flow_score(0.5 * ERRORS, own=ERRORS), class_score([5] * 3), model="two")
    paths = []
    for name, content in (("a", one), ("b", other)):
        paths.append(str(content.save(tmp_path / f"{name}.json")))
        content.save_records(tmp_path / f"{name}.parquet")
    return paths


def test_prints_a_table(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *files]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for word in (
        "better",
        "+50.0 %",
        "epe, not aligned",
        "miou",
        "a: one (",
        "b: two (",
        "mean relative gain of b over a, 2 figures: +25.00 %, 95%",  # flow 50 %, classes 0 %
    ):
        assert word in captured.out
    assert "Delta_m" not in captured.out


def test_prints_delta_m(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, factor in (("a", 1.0), ("b", 0.5)):
        content = report(*_paper_scores([factor] * 8))
        files.append(str(content.save(tmp_path / f"{name}.json")))
        content.save_records(tmp_path / f"{name}.parquet")
    assert cli.main(["compare", *files, "--resamples", "5"]) == 0
    printed = capsys.readouterr().out
    # Half the error is +50 %, half the mIoU -50 %.
    wanted = 100 * (6 * 0.5 - 0.5) / 7
    assert f"Delta_m of b against a: {wanted:+.2f} %, 95% {wanted:+.2f} .. {wanted:+.2f}" in printed
    assert "mean relative gain" not in printed


def test_prints_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *files, "--json", "--resamples", "20"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(Comparison.__dataclass_fields__)
    assert found["resamples"] == 20
    flow = found["rows"][0]
    assert flow["difference"] == pytest.approx(-0.5 * ERRORS.mean())
    assert flow["verdict"] == "better"
    assert found["rows"][1]["gain"] is None


def test_errors(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([files[0], "none.json"], "no file none.json"),
        ([*files, "--resamples", "0"], "--resamples must be 1 or more, got 0"),
    ):
        assert cli.main(["compare", *arguments]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "b.parquet").unlink()
    assert cli.main(["compare", *files]) == 2
    assert "b.parquet" in capsys.readouterr().err


def test_quantiles_of_few_draws() -> None:
    assert quantiles([1.0, 3.0], level=1.0) == (1.0, 3.0)
