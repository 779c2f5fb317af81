"""Small datasets with random labels of every task, and predictors whose figures are known beforehand."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl import StableMTLPipeline
from stablemtl.data import Sample
from stablemtl.data.formats import write_npy
from stablemtl.evaluation.frames import make_frame
from stablemtl.evaluation.predictor import PipelinePredictor
from stablemtl.evaluation.runner import open_benchmarks
from stablemtl.synth.layouts.cityscapes import write_cityscapes
from stablemtl.synth.layouts.diode import write_diode
from stablemtl.synth.layouts.kitti_depth import write_kitti_depth
from stablemtl.synth.layouts.kitti_flow import write_kitti_flow
from stablemtl.synth.layouts.midintrinsics import write_midintrinsics, write_midintrinsics_albedo
from stablemtl.tasks import TASKS, Task

SIZE = (18, 26)


class Toys:
    """Smooth random labels; ``broken`` frames cannot be read, ``unlabelled`` ones have no valid pixel."""

    name = "toys"
    tasks = tuple(TASKS)

    def __init__(self, count: int = 5, *, broken: Collection[int] = (), unlabelled: Collection[int] = ()):
        self.count, self.broken, self.unlabelled = count, broken, unlabelled
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.count

    def indices(self, task: str) -> Sequence[int]:
        return range(self.count)

    def load(self, index: int, task: str) -> Sample:
        self.loaded.append(index)
        if index in self.broken:
            raise FileNotFoundError(f"toys: no file {index}.png")
        generator = torch.Generator().manual_seed(index)
        frames = torch.rand(2, 3, *SIZE, generator=generator)
        channels = TASKS[task].spec.channels
        coarse = torch.randn(1, channels, 3, 4, generator=generator)
        smooth = F.interpolate(coarse, SIZE, mode="bilinear")[0]  # (C, H, W)
        valid = torch.rand(1, *SIZE, generator=generator) > 0.2
        if index in self.unlabelled:
            valid = torch.zeros_like(valid)
        pair = TASKS[task].spec.frames == 2
        return Sample(
            image=frames[0],
            image_next=frames[1] if pair else None,
            target=_label(task, smooth),
            valid=valid,
            task=task,
            dataset=self.name,
            key=f"toy-{index}",
        )


def _label(task: str, smooth: Tensor) -> Tensor:
    """Values in the task's range, none of them at its limits."""
    if task == "semantic":
        return (smooth * 2 + 4).clamp(0, 7).long()
    if task == "normal":
        vectors = smooth + torch.tensor([0.0, 0.0, 2.0])[:, None, None]
        return F.normalize(vectors, dim=0)
    if task == "depth":
        return 3 * smooth.exp()
    if task in ("shading", "albedo"):
        return smooth.sigmoid()
    return 0.5 * smooth + 0.3


class SoftCodec:
    """A codec that only blurs. The tiny one, with random weights, gives one value whatever it is given."""

    def encode(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)

    def decode(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return latents


class Oracle:
    """Predicts the round trip of the ground truth after ``change``; ``seen`` are the frames it was asked."""

    def __init__(self, pipe: StableMTLPipeline, change: Callable[[Tensor], Tensor]) -> None:
        stand_in: Any = SimpleNamespace(
            tasks=pipe.tasks, vae=pipe.vae, codec=SoftCodec(), config={"default_processing_resolution": 0}
        )
        self.codec = PipelinePredictor(stand_in)
        self.change = change
        self.seen: list[Sample] = []

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.codec.tasks

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        self.seen += samples
        return [self.change(self.round_trip(sample, resolution=resolution)) for sample in samples]

    def round_trip(self, sample: Sample, *, resolution: int | None) -> Tensor:
        return self.codec.round_trip(sample, resolution=resolution)


class Threads:
    """Ranks that are threads of one process, each with its own view."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.barrier = threading.Barrier(count, timeout=60)
        self.lists: list[list[Any]] = [[] for _ in range(count)]

    def of(self, rank: int) -> Any:
        outer = self

        class View:
            count = outer.count

            def __init__(self) -> None:
                self.rank = rank

            def gather(self, items: list[Any]) -> list[Any]:
                outer.lists[rank] = items
                outer.barrier.wait()
                together = [item for part in outer.lists for item in part]
                outer.barrier.wait()
                return together

        return View()


def run_on_ranks(count: int, work: Callable[[Any], Any]) -> list[Any]:
    """What ``work`` gives on each rank, or the ValueError that it raises there."""
    threads = Threads(count)
    results: list[Any] = [None] * count

    def run(rank: int) -> None:
        try:
            results[rank] = work(threads.of(rank))
        except ValueError as error:
            results[rank] = error

    running = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return results


@pytest.fixture
def on_ranks() -> Callable[[int, Callable[[Any], Any]], list[Any]]:
    """``on_ranks(count, work)``: what ``work(ranks)`` gives on each rank."""
    return run_on_ranks


@pytest.fixture
def written(tmp_path: Path, bench_root: Path, tiny_pipeline: StableMTLPipeline) -> Path:
    """The tiny model's predictions for the paper's protocol, as files."""
    predictor = PipelinePredictor(tiny_pipeline)
    jobs, _ = open_benchmarks(bench_root, protocol="paper")
    for job in jobs:
        task = predictor.tasks[job.benchmark.task]
        for index in job.dataset.indices(job.benchmark.task):
            frame = make_frame(job.dataset.load(index, job.benchmark.task), index, job.benchmark, task.spec)
            (found,) = predictor.predict([frame.sample], resolution=frame.resolution)
            path = tmp_path / "files" / job.benchmark.dataset / job.benchmark.task / f"{frame.sample.key}.npy"
            write_npy(path, found.permute(1, 2, 0).numpy())
    return tmp_path / "files"


@pytest.fixture
def toys() -> Callable[..., Toys]:
    return Toys


@pytest.fixture
def oracle(tiny_pipeline: StableMTLPipeline) -> Callable[..., Oracle]:
    """``oracle(change)``."""

    def make(change: Callable[[Tensor], Tensor] = lambda values: values) -> Oracle:
        return Oracle(tiny_pipeline, change)

    return make


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the four fakes, large enough for the pipeline (8 px a side)."""
    path = Path(__file__).parents[1] / "data" / "fake_datasets.py"
    spec = importlib.util.spec_from_file_location("fake_datasets_of_evaluation", path)
    assert spec is not None
    assert spec.loader is not None
    fakes: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fakes)
    for number, name in enumerate(("HYPERSIM_SIZE", "VKITTI_SIZE", "THINGS_SIZE", "CHAIRS_SIZE")):
        setattr(fakes, name, (17 + number, 24 + 2 * number))
    root: Path = fakes.write_all(tmp_path_factory.mktemp("data"))
    return root


@pytest.fixture(scope="session")
def bench_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five evaluation sets in their layouts, two frames each, sizes not square and all different."""
    root = tmp_path_factory.mktemp("bench")
    write_bench(root)
    return root


def write_bench(root: Path) -> None:
    """Smooth random pictures and labels."""
    rng = np.random.default_rng(5)
    for number in range(2):
        size = (20, 36)
        ids = rng.choice([7, 11, 23, 26, 4], size=(5, 9)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        write_cityscapes(root / "cityscapes", "ulm", number, image=_picture(rng, size), label_ids=ids)
        size = (24, 34)
        depth = 2 + 8 * _smooth(rng, size, 1)[..., 0]
        normal = _smooth(rng, size, 3) + np.array([-0.5, -0.5, 1.5])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        write_diode(
            root / "diode",
            ("indoors", "outdoor")[number],
            1,
            2,
            f"frame_{number}",
            image=_picture(rng, size),
            depth_m=depth,
            normal=normal,
            valid=rng.random(size) > 0.2,
        )
        size = (28, 60)
        sparse = np.where(rng.random(size) > 0.4, 5 + 40 * _smooth(rng, size, 1)[..., 0], 0.0)
        drive = "2011_09_26_drive_0002_sync"
        write_kitti_depth(root / "kitti_depth", drive, number, image=_picture(rng, size), depth_m=sparse)
        size = (26, 54)
        disparity = 4 + 10 * _smooth(rng, size, 1)[..., 0]
        write_kitti_flow(
            root / "kitti_flow_2015",
            number,
            image=_picture(rng, size),
            image_next=_picture(rng, size),
            flow=8 * _smooth(rng, size, 2) - 3,
            flow_valid=rng.random(size) > 0.3,
            disparity=disparity,
            disparity_next=np.where(rng.random(size) > 0.2, disparity * 1.2, 0.0),
            focal_px=40.0,
            center_px=(27.0, 13.0),
        )
        size = (22, 32)
        write_midintrinsics(root / "midintrinsics", "everett_1", number, color=2 * _smooth(rng, size, 3))
    write_midintrinsics_albedo(root / "midintrinsics", "everett_1", 0.1 + 0.8 * _smooth(rng, size, 3))


def _smooth(rng: np.random.Generator, size: tuple[int, int], channels: int) -> np.ndarray:
    """(H, W, C) in [0, 1]."""
    coarse = torch.from_numpy(rng.random((1, channels, 3, 4)))
    return F.interpolate(coarse, size, mode="bilinear")[0].permute(1, 2, 0).numpy().astype(np.float32)


def _picture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return (255 * _smooth(rng, size, 3)).astype(np.uint8)
