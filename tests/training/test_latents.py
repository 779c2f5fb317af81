"""Samples as latents, with a codec that averages f x f pixels: its latents can be told by hand."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stablemtl.data import Entry, Mixture, Sample
from stablemtl.tasks import TASKS
from stablemtl.training.config import DataConfig, LoopConfig
from stablemtl.training.latents import LatentBatch, Latents
from stablemtl.training.losses import masked_mse, squared_error, valid_cells
from stablemtl.training.mixtures import augmenting, training_mixture

H, W = 6, 10


class Averages:
    """Stands in for ``LatentCodec``: a latent cell is the mean of its 2 x 2 pixels."""

    downscale = 2

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return F.avg_pool2d(images, 2)


class Pictures:
    """Random frames and labels, always the same for an index; pixel (0, 0) is not valid."""

    def __init__(self, name: str, tasks: tuple[str, ...], length: int = 5) -> None:
        self.name, self.tasks, self.length = name, tasks, length

    def __len__(self) -> int:
        return self.length

    def indices(self, task: str) -> Sequence[int]:
        return range(self.length)

    def load(self, index: int, task: str) -> Sample:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.name} {task} {index}".encode()))
        spec = TASKS[task].spec
        frames = torch.rand(2, 3, H, W, generator=generator)
        target = torch.rand(spec.channels, H, W, generator=generator)
        valid = torch.ones(1, H, W, dtype=torch.bool)
        valid[0, 0, 0] = False
        return Sample(
            image=frames[0],
            image_next=frames[1] if spec.frames == 2 else None,
            target=F.normalize(target * 2 - 1, dim=0) if task == "normal" else target,
            valid=valid,
            task=task,
            dataset=self.name,
            key=str(index),
        )


def make(*entries: tuple[Any, str, float], batch_size: int = 2, **options: Any) -> Latents:
    """Over two partly labelled datasets, unless ``entries`` are given."""
    rooms = Pictures("rooms", ("normal", "albedo"))
    pairs = Pictures("pairs", ("normal", "optical_flow"), 4)
    chosen = entries or (
        (rooms, "normal", 1.0),
        (pairs, "normal", 1.0),
        (rooms, "albedo", 1.0),
        (pairs, "optical_flow", 1.0),
    )
    mixing = {name: options.pop(name) for name in ("accumulation", "world_size") if name in options}
    mixture = Mixture([Entry(*entry) for entry in chosen], batch_size=batch_size, seed=3, **mixing)
    transforms = options.pop("transforms", augmenting("colour", TASKS))
    options = {"versions": [transforms] * options.pop("variants", 3), "seed": 3} | options
    return Latents(mixture, Averages(), TASKS, **options)  # type: ignore[arg-type]


def same(a: LatentBatch, b: LatentBatch) -> bool:
    if a.task != b.task or (a.latent_next is None) != (b.latent_next is None):
        return False
    pairs = [(a.latent, b.latent), (a.target, b.target), (a.valid, b.valid)]
    if a.latent_next is not None and b.latent_next is not None:
        pairs.append((a.latent_next, b.latent_next))
    return all(torch.equal(x, y) for x, y in pairs)


def near(a: Tensor, b: Tensor) -> bool:
    """Equal but for the float16 in which latents are kept."""
    return torch.allclose(a, b, rtol=2e-3, atol=2e-3)


# cells, loss ------------------------------------------------------------------------------------------------


def test_a_cell_is_valid_where_all_its_pixels_are() -> None:
    valid = torch.ones(2, 1, 4, 6, dtype=torch.bool)
    valid[0, 0, 1, 2] = False
    valid[1, 0, 2:, :2] = False
    cells = valid_cells(valid, 2)
    assert cells.dtype == torch.bool
    assert cells.int().tolist() == [[[[1, 0, 1], [1, 1, 1]]], [[[1, 1, 1], [0, 1, 1]]]]
    assert torch.equal(valid_cells(valid, 1), valid)


def test_cells_of_sizes_that_the_cell_does_not_divide() -> None:
    valid = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    assert valid_cells(valid, 4).tolist() == [[[[True, True], [True, True]]]]  # padding counts as valid
    valid[0, 0, 4, 0] = False  # alone in its row of cells
    assert valid_cells(valid, 4).tolist() == [[[[True, True], [False, True]]]]
    valid[0, 0, 3, 6] = False
    assert valid_cells(valid, 4).tolist() == [[[[True, False], [False, True]]]]
    assert valid_cells(valid, 8).tolist() == [[[[False]]]]


def test_masked_mse_by_hand() -> None:
    pred = torch.tensor([[[[1.0, 2.0, 9.0]], [[0.0, -1.0, 9.0]]]], requires_grad=True)  # (1, 2, 1, 3)
    target = torch.zeros(1, 2, 1, 3)
    valid = torch.tensor([[[[True, True, False]]]])
    loss = masked_mse(pred, target, valid)
    assert loss.item() == pytest.approx((1 + 4 + 0 + 1) / 4)
    loss.backward()
    assert pred.grad is not None
    assert pred.grad.flatten().tolist() == [0.5, 1.0, 0.0, 0.0, -0.5, 0.0]  # 2 (pred - target) / 4


def test_masked_mse_weighs_cells_alike_over_the_batch() -> None:
    pred = torch.stack([torch.full((4, 2, 3), 1.0), torch.full((4, 2, 3), 3.0)])
    valid = torch.zeros(2, 1, 2, 3, dtype=torch.bool)
    valid[0, 0, 0, :3] = True
    valid[1, 0, 1, 2] = True
    assert masked_mse(pred, torch.zeros_like(pred), valid).item() == pytest.approx((3 * 1 + 1 * 9) / 4)
    assert masked_mse(pred, pred.clone(), valid).item() == 0.0


def test_squared_error_takes_no_part_of_what_is_not_valid() -> None:
    pred = torch.tensor([[[[1.0, 2.0, 9.0]], [[0.0, -1.0, 9.0]]]], requires_grad=True)  # (1, 2, 1, 3)
    target = torch.tensor([[[[0.0, 0.0, math.nan]], [[0.0, 0.0, math.inf]]]])
    total, count = squared_error(pred, target, torch.tensor([[[[True, True, False]]]]))
    assert total.item() == 6.0
    assert count.item() == 4
    total.backward()
    assert pred.grad is not None
    assert pred.grad.flatten().tolist() == [2.0, 4.0, 0.0, 0.0, -2.0, 0.0]
    total, count = squared_error(pred, target, torch.zeros(1, 1, 1, 3, dtype=torch.bool))
    assert (total.item(), count.item()) == (0.0, 0)


def test_masked_mse_of_nothing_is_zero_with_a_gradient_of_zero() -> None:
    pred = torch.ones(2, 4, 2, 3, requires_grad=True)
    loss = masked_mse(pred, torch.zeros(2, 4, 2, 3), torch.zeros(2, 1, 2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert pred.grad is not None
    assert not pred.grad.any()


# batches ----------------------------------------------------------------------------------------------------


def test_a_batch_by_hand() -> None:
    latents = make(transforms=(), variants=1)
    step = next(s for s in range(9) if latents.mixture.task_at(s) == "optical_flow")
    entry, indices = latents.mixture.draw(step)
    samples = [entry.dataset.load(index, "optical_flow") for index in indices]
    batch = latents.batch(step)
    assert batch.task == "optical_flow"
    assert batch.latent.dtype == torch.float32
    assert batch.latent_next is not None
    for i, sample in enumerate(samples):
        assert sample.image_next is not None
        image = TASKS["optical_flow"].encode(sample.target[None], sample.valid[None])
        assert near(batch.latent[i], F.avg_pool2d(sample.image * 2 - 1, 2))
        assert near(batch.latent_next[i], F.avg_pool2d(sample.image_next * 2 - 1, 2))
        assert near(batch.target[i], F.avg_pool2d(image[0], 2))
    expected = torch.ones(2, 1, 3, 5, dtype=torch.bool)
    expected[:, :, 0, 0] = False
    assert torch.equal(batch.valid, expected)


def test_second_frames_are_there_for_tasks_of_two_frames_only() -> None:
    latents = make()
    for step in range(9):
        batch = latents.batch(step)
        assert (batch.latent_next is not None) == (TASKS[batch.task].spec.frames == 2)


def test_batches_do_not_depend_on_what_was_asked_before() -> None:
    forward, backward, alone = make(), make(), [make() for _ in range(12)]
    expected = [forward.batch(step) for step in range(12)]
    for step in reversed(range(12)):
        assert same(backward.batch(step), expected[step])
        assert same(alone[step].batch(step), expected[step])
        assert same(forward.batch(step), expected[step])  # as kept


def test_another_seed_gives_other_versions() -> None:
    a, b = make(), make(seed=4)
    assert not all(same(a.batch(step), b.batch(step)) for step in range(6))


def test_one_task_in_all_micro_batches_of_a_step() -> None:
    latents = make(accumulation=2, world_size=3)
    for step in range(9):
        batches = [latents.batch(step, micro, rank) for micro in range(2) for rank in range(3)]
        assert {batch.task for batch in batches} == {latents.mixture.task_at(step)}
        assert all(len(batch.target) == 2 for batch in batches)
    with pytest.raises(ValueError, match="micro must be at least 0 and below 2, got 2"):
        latents.batch(0, micro=2)


def test_ranks_and_micro_batches_share_out_the_same_samples() -> None:
    spread, joined = make(accumulation=1, world_size=2), make(accumulation=2, world_size=1)
    for step in range(6):
        for i in range(2):
            assert same(spread.batch(step, 0, i), joined.batch(step, i, 0))


@pytest.mark.parametrize("split", [(4, 1, 2), (2, 2, 2), (1, 8, 1), (8, 1, 1)])
def test_a_step_is_the_same_however_it_is_split(split: tuple[int, int, int]) -> None:
    size, accumulation, processes = split
    whole = make(batch_size=8, window=(2, 3))
    parts = make(batch_size=size, accumulation=accumulation, world_size=processes, window=(2, 3))
    for step in range(6):
        expected = whole.batch(step)
        found = [parts.batch(step, micro, rank) for micro in range(accumulation) for rank in range(processes)]
        assert [key for batch in found for key in batch.keys] == list(expected.keys)
        for name, value in expected.tensors().items():
            assert torch.equal(torch.cat([batch.tensors()[name] for batch in found]), value), name


def test_latents_do_not_depend_on_what_is_encoded_beside_them() -> None:
    class Relative(Averages):
        """A codec whose latents depend on how many images it is given."""

        def encode(self, images: Tensor) -> Tensor:
            return super().encode(images) * len(images)

    found = []
    for size in (1, 4):
        latents = make((Pictures("rooms", ("normal",)), "normal", 1.0), batch_size=size, variants=1)
        latents.codec = Relative()  # type: ignore[assignment]
        batches = [latents.batch(step) for step in range(8 // size)]
        found.append(torch.cat([batch.latent for batch in batches]))
    assert torch.equal(*found)


def test_keys_name_the_samples() -> None:
    latents = make(batch_size=3)
    for step in range(4):
        entry, indices = latents.mixture.draw(step)
        assert latents.batch(step).keys == tuple(f"{entry.dataset.name}/{index}" for index in indices)


def test_tensors_of_a_batch() -> None:
    latents = make()
    for step in range(4):
        batch = latents.batch(step)
        names = ["latent", "target", "valid"]
        if batch.latent_next is not None:
            names.insert(1, "latent_next")
        assert list(batch.tensors()) == names


def test_windows_are_cut_alike_from_all_parts_of_a_sample() -> None:
    entry = (Pictures("pairs", ("optical_flow",), 1), "optical_flow", 1.0)
    whole = make(entry, batch_size=1, transforms=(), variants=1).batch(0)
    cut, again = (make(entry, batch_size=1, transforms=(), variants=1, window=(2, 3)) for _ in range(2))
    assert whole.latent_next is not None
    places = set()
    for step in range(40):
        batch = cut.batch(step)
        assert batch.latent_next is not None
        assert batch.latent.shape == batch.target.shape == (1, 3, 2, 3)
        (place,) = [
            (y, x)
            for y in range(2)
            for x in range(3)
            if torch.equal(batch.target, whole.target[..., y : y + 2, x : x + 3])
        ]
        y, x = place
        assert torch.equal(batch.latent, whole.latent[..., y : y + 2, x : x + 3])
        assert torch.equal(batch.latent_next, whole.latent_next[..., y : y + 2, x : x + 3])
        assert torch.equal(batch.valid, whole.valid[..., y : y + 2, x : x + 3])
        places.add(place)
    assert places == {(y, x) for y in range(2) for x in range(3)}
    assert all(same(again.batch(step), cut.batch(step)) for step in reversed(range(9)))


def test_a_window_larger_than_a_sample_takes_all_of_it() -> None:
    whole, cut = make(), make(window=(9, 5))
    assert all(same(whole.batch(step), cut.batch(step)) for step in range(6))


def test_each_version_is_encoded_once() -> None:
    latents = make((Pictures("rooms", ("normal",), 2), "normal", 1.0), variants=3)
    for step in range(60):
        latents.batch(step)
    assert latents.codec.encoded == 2 * 3 * 2  # type: ignore[attr-defined]  # samples, versions, frame and label


def versions(task: str) -> tuple[Sample, list[tuple[Tensor, Tensor, Tensor]]]:
    """The one sample of a dataset, and all eight versions of it."""
    data = Pictures("rooms", (task,), 1)
    latents = make((data, task, 1.0), batch_size=1, variants=8)
    found: dict[bytes, tuple[Tensor, Tensor, Tensor]] = {}
    for step in range(80):
        batch = latents.batch(step)
        key = batch.latent.numpy().tobytes()
        found[key] = (batch.latent[0], batch.target[0], batch.valid[0])
    return data.load(0, task), list(found.values())


def test_versions_of_an_albedo_are_mirrored_but_not_recoloured() -> None:
    sample, found = versions("albedo")
    frame = F.avg_pool2d(sample.image * 2 - 1, 2)
    label = F.avg_pool2d(TASKS["albedo"].encode(sample.target[None], sample.valid[None])[0], 2)
    assert len(found) == 2
    assert {bool(valid[0, 0, 0]) for _, _, valid in found} == {False, True}
    for latent, target, valid in found:
        mirrored = not valid[0, 0, 4]
        assert valid.sum() == 14
        assert near(latent, frame.flip(-1) if mirrored else frame)
        assert near(target, label.flip(-1) if mirrored else label)


def test_versions_of_normals_are_mirrored_and_recoloured() -> None:
    sample, found = versions("normal")
    frame = F.avg_pool2d(sample.image * 2 - 1, 2)
    label = F.avg_pool2d(sample.target, 2)
    negated = label.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    assert len(found) == 8
    assert {bool(valid[0, 0, 0]) for _, _, valid in found} == {False, True}
    for latent, target, valid in found:
        mirrored = not valid[0, 0, 4]
        assert near(target, negated if mirrored else label)
        assert not near(latent, frame.flip(-1) if mirrored else frame)


# parts ------------------------------------------------------------------------------------------------------


def test_only_some_tasks() -> None:
    latents = make()
    for step in range(12):
        latents.batch(step)
    part = latents.only(["albedo"])
    assert part.mixture.tasks == ("albedo",)
    assert latents.mixture.tasks == ("normal", "albedo", "optical_flow")
    encoded = latents.codec.encoded  # type: ignore[attr-defined]
    fresh = make().only(["albedo"])
    for step in range(40):
        assert part.batch(step).task == "albedo"
        assert same(part.batch(step), fresh.batch(step))
    assert fresh.codec.encoded == 5 * 3 * 2  # type: ignore[attr-defined]  # samples, versions, frame and label
    assert part.codec.encoded - encoded < 5 * 3 * 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="depth"):
        latents.only(["depth"])


class Halves(Pictures):
    """Normals that point to the right, and to the front in even samples or to the back in odd ones."""

    def load(self, index: int, task: str) -> Sample:
        sample = super().load(index, task)
        sample.target[:] = 0.0
        sample.target[0] = 0.6
        sample.target[2] = 0.8 if index % 2 else -0.8
        sample.valid[:] = True
        return sample


def test_variances_by_hand() -> None:
    data = Halves("rooms", ("normal",), 2)
    # 30 cells, half of them 0.8 and half -0.8, in one channel of three; unbiased; x is not mirrored.
    assert make((data, "normal", 1.0)).variances(2) == {"normal": pytest.approx(0.64 * 30 / 29 / 3, rel=1e-3)}


def test_variances_count_valid_cells_only() -> None:
    class Spoilt(Halves):
        def load(self, index: int, task: str) -> Sample:
            sample = super().load(index, task)
            sample.target[2, :, :2] = 0.5
            sample.valid[:, :, :2] = False
            return sample

    found = make((Spoilt("rooms", ("normal",), 2), "normal", 1.0)).variances(2)
    assert found == {"normal": pytest.approx(0.64 * 24 / 23 / 3, rel=1e-3)}


def test_variances_leave_the_versions_as_they_are() -> None:
    first, second = make(), make()
    variances = first.variances()
    assert list(variances) == ["normal", "albedo", "optical_flow"]
    assert all(same(first.batch(step), second.batch(step)) for step in range(9))
    assert first.variances() == variances


@pytest.mark.parametrize(("valid", "cells"), [(True, 30), (False, 0)])
def test_variances_of_labels_that_do_not_vary(valid: bool, cells: int) -> None:
    class Flat(Halves):
        def load(self, index: int, task: str) -> Sample:
            sample = super().load(index, task)
            sample.target[2] = 1.0
            sample.valid[:] = valid
            return sample

    message = rf"label latents of normal must vary .* got a variance of 0.0 over {cells} valid cells"
    with pytest.raises(ValueError, match=message):
        make((Flat("rooms", ("normal",), 2), "normal", 1.0)).variances(2)


# mixture ----------------------------------------------------------------------------------------------------

LOOP = LoopConfig(steps=1, batch_size=2, accumulation=2, seed=5)


def mixture(root: Path, known: Sequence[str] = tuple(TASKS), **options: Any) -> Mixture:
    data = DataConfig(root=root, size=(12, 20), **options)
    return training_mixture(data, LOOP, {name: TASKS[name] for name in known}, world_size=3)


def test_training_mixture(data_root: Path) -> None:
    found = mixture(data_root)
    assert (found.batch_size, found.accumulation, found.world_size, found.seed) == (2, 2, 3, 5)
    assert set(found.tasks) == set(TASKS)
    assert {entry.dataset.name for entry in found.entries if entry.task == "optical_flow"} == {
        "vkitti2",
        "flyingthings3d",
        "flyingchairs",
    }
    for step in range(14):
        for sample in found.batch(step):
            assert tuple(sample.image.shape[1:]) == tuple(sample.valid.shape[1:]) == (12, 20)


def test_training_mixture_of_some_pairs(data_root: Path) -> None:
    found = mixture(data_root, ["depth"], pairs=(("vkitti2", "depth", 2.0), ("hypersim", "depth", 1.0)))
    assert [(entry.dataset.name, entry.weight) for entry in found.entries] == [
        ("vkitti2", 2.0),
        ("hypersim", 1.0),
    ]


def test_only_tasks_that_a_present_dataset_is_used_for(data_root: Path) -> None:
    assert mixture(data_root, tasks=("normal", "depth")).tasks == ("depth", "normal")  # in the pairs' order
    pairs = (("vkitti2", "depth", 1.0), ("nowhere", "normal", 1.0))
    assert mixture(data_root, pairs=pairs).tasks == ("depth",)
    with pytest.raises(ValueError, match="unknown task 'flow'; choose from albedo, depth"):
        mixture(data_root, tasks=("flow",))
    message = (
        "no dataset with a train split in .* has labels for normal, albedo; hypersim, .* used for depth$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        mixture(data_root, pairs=pairs, tasks=("normal", "albedo"))


def test_weights_of_tasks_that_are_not_trained_are_left_out(data_root: Path) -> None:
    weights = {"optical_flow": 3.0, "depth": 2.0}
    assert mixture(data_root, ["depth", "normal"], task_weights=weights).task_weights == {"depth": 2.0}
    assert mixture(data_root, task_weights=weights).task_weights == weights


def test_weight_of_an_unknown_task(data_root: Path) -> None:
    with pytest.raises(ValueError, match="unknown task 'flow'; choose from albedo, depth"):
        mixture(data_root, task_weights={"flow": 3.0})


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no dataset with a train split in"):
        mixture(tmp_path)
