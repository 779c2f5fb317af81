from __future__ import annotations

import pickle

import pytest
import torch

from stablemtl.data import Compose, Hypersim, InMemory, Resize, Sample, VirtualKITTI2
from stablemtl.data.sample import DatasetWrapper
from stablemtl.tasks import TASKS


class Counting(DatasetWrapper):
    """Passes through, and counts what is read."""

    reads = 0

    def load(self, index, task):
        self.reads += 1
        return self.dataset.load(index, task)


@pytest.fixture
def vkitti(data_root):
    return Counting(VirtualKITTI2(data_root / "vkitti2"))


@pytest.mark.parametrize("task", VirtualKITTI2.tasks)
def test_the_second_load_reads_nothing_and_gives_the_same(vkitti, task):
    memory = InMemory(vkitti)
    assert (memory.name, memory.tasks, len(memory)) == ("vkitti2", vkitti.tasks, 6)
    index = memory.indices(task)[1]
    memory.load(index, task)
    kept, direct = memory.load(index, task), vkitti.dataset.load(index, task)
    assert vkitti.reads == 1
    assert torch.equal(kept.image, direct.image)  # exact: the files have 8 bits
    assert (kept.image_next is None) == (direct.image_next is None)
    if direct.image_next is not None:
        assert torch.equal(kept.image_next, direct.image_next)
    assert kept.target.dtype == direct.target.dtype
    torch.testing.assert_close(kept.target, direct.target, rtol=1e-3, atol=1e-6)
    assert torch.equal(kept.valid, direct.valid)
    assert (kept.task, kept.dataset, kept.key) == (direct.task, direct.dataset, direct.key)


def test_hypersim_is_kept_exactly(data_root):
    hypersim = Hypersim(data_root / "hypersim")
    memory = InMemory(hypersim, label_dtype=torch.float32)
    for task in hypersim.tasks:
        assert torch.equal(memory.load(0, task).image, hypersim.load(0, task).image)
        assert torch.equal(memory.load(0, task).target, hypersim.load(0, task).target)


def test_writing_into_a_sample_does_not_reach_the_memory(vkitti):
    for dtype in (torch.float16, torch.float32):
        memory = InMemory(vkitti, label_dtype=dtype)
        sample = memory.load(0, "optical_flow")
        for tensor in (sample.image, sample.image_next, sample.target):
            tensor.fill_(9.0)
        sample.valid.fill_(False)
        again = memory.load(0, "optical_flow")
        assert again.image.max() <= 1
        assert again.target.max() < 9
        assert again.valid.any()


def test_frames_are_kept_once(vkitti):
    memory = InMemory(vkitti)
    for index, task in ((0, "depth"), (0, "normal"), (0, "optical_flow"), (1, "depth")):
        memory.load(index, task)
    frames, labels = 2 * 3 * 35, (1 + 3 + 2 + 1) * 35 * 2
    assert memory.nbytes == frames + labels + 4 * 35


def test_fill_and_threads(vkitti):
    memory = InMemory(vkitti)
    memory.fill(["depth"], workers=4)
    assert vkitti.reads == 6
    memory.fill(workers=4)
    assert vkitti.reads == 3 * 6 + 2 * 3
    memory.fill()
    assert vkitti.reads == 24
    assert pickle.loads(pickle.dumps(memory)).load(3, "normal").key == "Scene02/clone/Camera_1/00001"


def test_prepare_runs_once(vkitti):
    memory = InMemory(vkitti, prepare=Compose([Resize(size=(2, 3))], TASKS))
    for _ in range(2):
        assert memory.load(0, "semantic").target.shape == (1, 2, 3)
    assert vkitti.reads == 1


class One:
    """One sample, as given."""

    name, tasks = "one", ("depth",)

    def __init__(self, target) -> None:
        self.target = target

    def __len__(self) -> int:
        return 1

    def indices(self, task):
        return [0]

    def load(self, index, task):
        return Sample(
            image=torch.zeros(3, 1, 2),
            target=self.target,
            valid=torch.ones(1, 1, 2, dtype=torch.bool),
            task=task,
            dataset=self.name,
            key="0",
        )


def test_labels_beyond_half_floats_stay_float32():
    target = torch.tensor([[[1e5, 2.0]]])
    assert torch.equal(InMemory(One(target)).load(0, "depth").target, target)


def test_errors(vkitti):
    with pytest.raises(
        ValueError, match=r"label_dtype must be torch\.float16 or torch\.float32, got torch\.int8"
    ):
        InMemory(vkitti, label_dtype=torch.int8)
    with pytest.raises(ValueError, match="vkitti2 has no labels for task 'albedo'"):
        InMemory(vkitti).load(0, "albedo")
    with pytest.raises(ValueError, match=r"class ids of 0 must lie in 0\.\.255, got 3\.\.300"):
        InMemory(One(torch.tensor([[[3, 300]]]))).load(0, "depth")
