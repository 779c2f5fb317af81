"""Samples at the size of a benchmark."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl.data import Sample
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.evaluation.frames import make_frame
from stablemtl.evaluation.protocols import PAPER, STANDARD, native_benchmark
from stablemtl.tasks import TASKS


def sample(task: str, size: tuple[int, int], *, pair: bool = False) -> Sample:
    """Every pixel has a value of its own."""
    height, width = size
    numbers = torch.arange(height * width, dtype=torch.float32).view(1, height, width)
    target = (numbers % 8).long() if task == "semantic" else numbers.repeat(TASKS[task].spec.channels, 1, 1)
    image = (numbers / numbers.max()).repeat(3, 1, 1)
    return Sample(
        image=image,
        image_next=1 - image if pair else None,
        target=target,
        valid=numbers.long() % 3 != 0,
        task=task,
        dataset="numbers",
        key="0",
    )


def entry(dataset: str, task: str, protocol: tuple[Benchmark, ...] = PAPER) -> Benchmark:
    return next(b for b in protocol if (b.dataset, b.task) == (dataset, task))


def test_cityscapes_takes_row_and_column_4i_plus_3() -> None:
    """Halved as Pillow does it, then by nearest-exact."""
    original = sample("semantic", (1024, 2048))
    frame = make_frame(original, 5, entry("cityscapes", "semantic"), TASKS["semantic"].spec)
    assert frame.index == 5
    assert frame.resolution == 0
    for small, large in (
        (frame.target, original.target),
        (frame.sample.image, original.image),
        (frame.sample.valid, original.valid),
    ):
        assert torch.equal(small, large[:, 3::4, 3::4])
    grey = original.image[0].numpy()
    halved = Image.fromarray(grey).resize((1024, 512), Image.Resampling.NEAREST)
    again = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(halved))[None, None], (256, 512), mode="nearest-exact"
    )
    assert torch.equal(frame.sample.image[:1], again[0])


def test_labels_come_down_by_nearest_exact() -> None:
    original = sample("normal", (768, 1024))
    frame = make_frame(original, 0, entry("diode", "normal"), TASKS["normal"].spec)
    assert torch.equal(frame.target, original.target[:, 1::2, 1::2])
    assert torch.equal(frame.sample.target, frame.target)
    assert frame.in_target_unit(frame.target) is frame.target


def test_flow_keeps_pixels_of_the_full_size_frame() -> None:
    """The network's frame has half of the motion; its prediction is doubled before it is compared."""
    original = sample("optical_flow", (352, 1216), pair=True)
    frame = make_frame(original, 0, entry("kitti_flow", "optical_flow"), TASKS["optical_flow"].spec)
    assert frame.sample.image.shape == (3, 176, 608)
    assert frame.sample.image_next is not None
    assert torch.equal(frame.sample.image_next, 1 - frame.sample.image)
    assert torch.equal(frame.target, original.target[:, 1::2, 1::2])
    assert torch.equal(frame.sample.target, frame.target / 2)
    assert torch.equal(frame.in_target_unit(frame.sample.target), frame.target)


def test_flow_factors_are_those_of_width_and_height() -> None:
    benchmark = Benchmark(protocol="mine", dataset="d", task="optical_flow", headline="epe", size=(8, 20))
    original = sample("optical_flow", (32, 30), pair=True)
    frame = make_frame(original, 0, benchmark, TASKS["optical_flow"].spec)
    assert frame.factor.flatten().tolist() == [1.5, 4.0]
    metres = make_frame(sample("scene_flow", (32, 30)), 0, benchmark, TASKS["scene_flow"].spec)
    assert metres.factor.flatten().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("size", [(96, 200), (96, 700), (300, 128)])
def test_smaller_frames_keep_their_size(size: tuple[int, int]) -> None:
    original = sample("semantic", size)
    frame = make_frame(original, 0, entry("cityscapes", "semantic"), TASKS["semantic"].spec)
    assert frame.sample is original


def test_between_the_two_sizes_there_is_one_step() -> None:
    original = sample("semantic", (256, 1024))
    frame = make_frame(original, 0, entry("cityscapes", "semantic"), TASKS["semantic"].spec)
    assert torch.equal(frame.target, original.target[:, :, 1::2])


@pytest.mark.parametrize(("size", "resolution"), [((375, 1242), 608), ((300, 608), 0), ((40, 60), 0)])
def test_standard_leaves_labels_alone_and_sets_the_networks_edge(
    size: tuple[int, int], resolution: int
) -> None:
    original = sample("optical_flow", size, pair=True)
    benchmark = entry("kitti_flow", "optical_flow", STANDARD)
    frame = make_frame(original, 0, benchmark, TASKS["optical_flow"].spec)
    assert frame.sample is original
    assert frame.target is original.target
    assert frame.resolution == resolution


def test_native_runs_at_the_frames_size_and_the_pair_at_the_models() -> None:
    original = sample("depth", (20, 30))
    for dataset, resolution in (("vkitti2", 0), ("motorcycle", None)):
        frame = make_frame(original, 0, native_benchmark(dataset, "depth"), TASKS["depth"].spec)
        assert (frame.sample, frame.resolution) == (original, resolution)
