"""A sample at the size of a benchmark: what the network sees, and what its prediction is compared with.

Letters: C channels of the target; H, W size of the sample as read; h, w that of the benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stablemtl.data.sample import Sample
from stablemtl.evaluation.benchmark import Benchmark
from stablemtl.tasks.base import TaskSpec
from stablemtl.tasks.geometry import resize_nearest


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One sample, ready to be predicted and scored."""

    index: int
    """Number in the dataset."""
    sample: Sample
    """What the network sees, (3, h, w), with the label in the unit of that size."""
    target: Tensor
    """What predictions are compared with, (C, h, w)."""
    factor: Tensor
    """From values at size (h, w) to the unit of ``target``, (C, 1, 1)."""
    resolution: int | None
    """Longest edge at which the network runs [px]; 0 for the sample's own size, None for its default."""

    def in_target_unit(self, pred: Tensor) -> Tensor:
        """A prediction (C, h, w) for ``sample`` in the unit of ``target``; classes stay integers."""
        return pred if bool((self.factor == 1).all()) else pred * self.factor


def make_frame(sample: Sample, index: int, benchmark: Benchmark, spec: TaskSpec) -> Frame:
    """``sample`` at the size of ``benchmark``; one that is smaller keeps its own."""
    size = benchmark.size
    if not isinstance(size, tuple):
        if size == "default":
            resolution = None
        else:
            resolution = size if isinstance(size, int) and max(sample.image.shape[-2:]) > size else 0
        one = torch.ones(sample.target.shape[0], 1, 1)
        return Frame(index=index, sample=sample, target=sample.target, factor=one, resolution=resolution)
    small = sample
    for step in (benchmark.via, size):
        if step is not None and _covers(small, step):
            small = _nearest(small, step)
    factor = torch.ones(small.target.shape[0], 1, 1)
    if spec.grows_with_frame:  # channels: x, y
        height, width = small.image.shape[-2:]
        factor[:, 0, 0] = torch.tensor([sample.image.shape[-1] / width, sample.image.shape[-2] / height])
    target = small.target
    if bool((factor != 1).any()):
        small = replace(small, target=target / factor)
    return Frame(index=index, sample=small, target=target, factor=factor, resolution=0)


def _covers(sample: Sample, size: tuple[int, int]) -> bool:
    return sample.image.shape[-2] >= size[0] and sample.image.shape[-1] >= size[1]


def _nearest(sample: Sample, size: tuple[int, int]) -> Sample:
    following = None if sample.image_next is None else resize_nearest(sample.image_next, size)
    return replace(
        sample,
        image=resize_nearest(sample.image, size),
        image_next=following,
        target=resize_nearest(sample.target, size),
        valid=resize_nearest(sample.valid, size),
    )
