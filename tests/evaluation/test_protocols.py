"""The entries of the protocols: complete, and true of what is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl.data.catalog import CATALOG
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.protocols import NATIVE, PAPER, PROTOCOLS, STANDARD, benchmarks_of, native_benchmark
from stablemtl.evaluation.published import COLUMNS
from stablemtl.tasks import TASKS

ALL = [*PAPER, *STANDARD, *NATIVE]


def identify(benchmark: Benchmark) -> str:
    return f"{benchmark.protocol}-{benchmark.name}"


def headline(benchmark: Benchmark, pred: Tensor, target: Tensor, valid: Tensor) -> float:
    metric = benchmark.metric()
    metric.update(pred, target, valid)
    return metric.compute()[benchmark.headline]


def two_frames(toys: Any, benchmark: Benchmark) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and validity, all of them below the benchmark's clip even after a scale of 1/2."""
    samples = [toys().load(i, benchmark.task) for i in (0, 1, 2)]
    target = torch.stack([samples[0].target, samples[1].target])
    pred = torch.stack([samples[1].target, samples[2].target])
    if benchmark.task == "depth":
        target, pred = target.clamp(1, 20), pred.clamp(1, 20)
    return pred, target, torch.stack([samples[0].valid, samples[1].valid])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_entries_differ_and_belong_to_their_protocol(name: str) -> None:
    entries = PROTOCOLS[name]
    assert len({entry.name for entry in entries}) == len(entries)
    assert {entry.protocol for entry in entries} == {name}


@pytest.mark.parametrize("benchmark", ALL, ids=identify)
def test_entries_name_figures_of_their_metric(benchmark: Benchmark) -> None:
    figures = benchmark.metric().compute()
    assert {benchmark.headline, *benchmark.also} <= set(figures)
    assert benchmark.headline == TASKS[benchmark.task].spec.headline


@pytest.mark.parametrize("benchmark", [*PAPER, *STANDARD], ids=identify)
def test_entries_open_their_dataset(benchmark: Benchmark, bench_root: Any) -> None:
    info = CATALOG[benchmark.dataset]
    build: Any = info.build
    dataset = build(bench_root / info.folder, info.splits["test"], **benchmark.reader)
    for option, value in benchmark.reader.items():
        assert getattr(dataset, option) == value
    assert dataset.load(0, benchmark.task).valid.any()


@pytest.mark.parametrize("benchmark", ALL, ids=identify)
def test_alignment_is_what_the_metric_does(benchmark: Benchmark, toys: Any) -> None:
    """Scale, shift and a scale of each channel change a score exactly where the entry does not fit them."""
    pred, target, valid = two_frames(toys, benchmark)
    if benchmark.task == "semantic":
        assert benchmark.alignment == "none"
        return
    plain = headline(benchmark, pred, target, valid)
    channels = torch.linspace(0.5, 0.9, pred.shape[1]).view(-1, 1, 1)
    turned = torch.ones(pred.shape[1]).view(-1, 1, 1)
    turned[0] = 2.0  # a direction changes with it, a length alone does not
    changes = {
        "scale": 0.5 * pred,
        "shift": pred + 0.7,
        "channels": channels * pred,
        "turn": turned * pred,
    }
    kept = {
        "none": {"scale"} if benchmark.task == "normal" else set(),
        "scale": {"scale"},
        "scale and shift": {"scale", "shift"},
        "scale per channel": {"scale", "channels", "turn"},
    }[benchmark.alignment]
    if pred.shape[1] == 1 and "scale" in kept:
        kept |= {"channels", "turn"}
    for name, changed in changes.items():
        same = headline(benchmark, changed, target, valid) == pytest.approx(plain, rel=1e-5)
        assert same == (name in kept), name


@pytest.mark.parametrize("benchmark", ALL, ids=identify)
def test_aggregation_is_what_the_metric_does(benchmark: Benchmark, toys: Any) -> None:
    """One frame counts with all of its pixels, the other with a few."""
    pred, target, valid = two_frames(toys, benchmark)
    valid = torch.ones_like(valid)
    valid[1, :, 3:] = False
    single = [headline(benchmark, *(part[i : i + 1] for part in (pred, target, valid))) for i in (0, 1)]
    together = headline(benchmark, pred, target, valid)
    pixels = valid.sum(dim=(1, 2, 3)).double()
    by_images = sum(single) / 2
    by_pixels = (pixels @ torch.tensor(single, dtype=torch.float64) / pixels.sum()).item()
    assert by_images != pytest.approx(by_pixels, rel=1e-3)
    expected = {"images": by_images, "pixels": by_pixels}.get(benchmark.aggregation)
    if expected is not None:
        assert together == pytest.approx(expected)
    else:
        assert together != pytest.approx(by_images, rel=1e-3)


def test_paper_is_the_eight_columns_with_their_sizes() -> None:
    assert [(b.task, b.dataset, b.headline) for b in PAPER] == [
        (c.task, c.dataset, c.headline) for c in COLUMNS
    ]
    assert [b.size for b in PAPER] == [
        (256, 512), (384, 512), (176, 608), (384, 512), (176, 608), (176, 608), (256, 384), (256, 384),
    ]  # fmt: skip
    assert not any(b.in_own_unit for b in PAPER)
    assert all(b.quirks for b in PAPER)
    assert {b.dataset: b.metric_options for b in PAPER if b.task == "depth"} == {
        "kitti_depth": {"min_depth_m": 1e-5, "max_depth_m": 80.0},
        "diode": {"min_depth_m": 0.6, "max_depth_m": 350.0},
    }


def test_standard_has_what_the_paper_leaves_out() -> None:
    depths = {b.variant: b for b in STANDARD if b.dataset == "kitti_depth"}
    assert {name: b.reader for name, b in depths.items()} == {
        "eigen": {"crop": "benchmark", "mask": "eigen"},
        "garg": {"crop": None, "mask": "garg"},
    }
    also = {(b.dataset, b.task): b.also for b in STANDARD}
    assert "fl_all" in also["kitti_flow", "optical_flow"]
    assert also["midintrinsics", "albedo"] == also["midintrinsics", "shading"] == ("ssim", "lmse")
    assert len(also["diode", "depth"]) == 9
    assert all(b.in_own_unit for b in STANDARD if "flow" in b.task or b.task == "depth")


def test_lookup() -> None:
    tasks = ("depth", "normal")
    assert [b.name for b in benchmarks_of("paper", "diode", tasks)] == ["diode normal", "diode depth"]
    assert [b.name for b in benchmarks_of("paper", "diode", ("depth",))] == ["diode depth"]
    assert benchmarks_of("auto", "diode", tasks) == benchmarks_of("paper", "diode", tasks)
    assert benchmarks_of("paper", "hypersim", tasks) == []
    assert {b.protocol for b in benchmarks_of("auto", "hypersim", tasks)} == {"native"}
    assert [b.name for b in benchmarks_of("native", "diode", tasks)] == ["diode depth", "diode normal"]
    with pytest.raises(ValueError, match="unknown protocol 'field'; choose from paper, standard, native, au"):
        benchmarks_of("field", "diode", tasks)


def test_native_benchmarks_of_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = native_benchmark("mine", "normal")
    assert (mine.dataset, mine.headline, mine.aligned, mine.size) == (
        "mine",
        "mean_angular_error",
        False,
        "own",
    )
    assert native_benchmark("hypersim", "depth").metric_options["max_depth_m"] == 80.0
    assert native_benchmark("motorcycle", "optical_flow").size == "default"
    monkeypatch.setattr("stablemtl.evaluation.protocols._NATIVE", {})
    assert native_benchmark("mine", "optical_flow").headline == "epe"
