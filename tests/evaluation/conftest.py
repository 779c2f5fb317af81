"""A small dataset with random labels of every task, and predictors whose figures are known beforehand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl import StableMTLPipeline
from stablemtl.data import Sample
from stablemtl.evaluation.predictor import PipelinePredictor
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
    """Predicts the round trip of the ground truth, which it knows by its image, after ``change``."""

    def __init__(self, pipe: StableMTLPipeline, dataset: Toys, change: Callable[[Tensor], Tensor]) -> None:
        stand_in: Any = SimpleNamespace(tasks=pipe.tasks, vae=pipe.vae, codec=SoftCodec())
        self.codec = PipelinePredictor(stand_in)
        self.dataset, self.change = dataset, change

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.codec.tasks

    def predict(
        self, task: str, images: Sequence[Tensor], images_next: Sequence[Tensor | None]
    ) -> list[Tensor]:
        readable = [i for i in range(len(self.dataset)) if i not in self.dataset.broken]
        samples = [self.dataset.load(index, task) for index in readable]
        known = [next(s for s in samples if torch.equal(s.image, image)) for image in images]
        return [self.change(self.round_trip(task, sample.target, sample.valid)) for sample in known]

    def round_trip(self, task: str, target: Tensor, valid: Tensor) -> Tensor:
        return self.codec.round_trip(task, target, valid)


@pytest.fixture
def toys() -> Callable[..., Toys]:
    return Toys


@pytest.fixture
def oracle(tiny_pipeline: StableMTLPipeline) -> Callable[..., Oracle]:
    """``oracle(dataset, change)``."""

    def make(dataset: Toys, change: Callable[[Tensor], Tensor] = lambda values: values) -> Oracle:
        return Oracle(tiny_pipeline, dataset, change)

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
