from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stablemtl.data import STABLEMTL_PAIRS, Entry, Mixture, Sample, SampleError, collate, mixture_entries

ORDER = ("albedo", "shading", "depth", "normal", "semantic", "optical_flow", "scene_flow")


class Numbers:
    """A dataset whose images say which frame they are; optical flow leaves out the odd frames."""

    def __init__(self, name: str, tasks: tuple[str, ...], length: int) -> None:
        self.name, self.tasks, self.length = name, tasks, length

    def __len__(self) -> int:
        return self.length

    def indices(self, task: str) -> range:
        return range(0, self.length, 2 if task == "optical_flow" else 1)

    def load(self, index: int, task: str) -> Sample:
        return Sample(
            image=torch.full((3, 2, 3), float(index)),
            target=torch.zeros(1, 2, 3),
            valid=torch.ones(1, 2, 3, dtype=torch.bool),
            task=task,
            dataset=self.name,
            key=str(index),
        )


def published(**lengths: int) -> dict[str, Numbers]:
    tasks = {
        name: tuple(task for pair, task, _ in STABLEMTL_PAIRS if pair == name)
        for name in ("hypersim", "vkitti2", "flyingthings3d", "flyingchairs")
    }
    return {
        name: Numbers(name, tasks[name], lengths.get(name, 50)) for name in tasks if lengths.get(name) != 0
    }


def make(**changes):
    arguments = {"batch_size": 4, "seed": 7} | changes
    return Mixture(mixture_entries(published(flyingchairs=0)), **arguments)


def drawn(mixture: Mixture, steps: range) -> list:
    return [
        mixture.draw(step, micro, rank)
        for step in steps
        for micro in range(mixture.accumulation)
        for rank in range(mixture.world_size)
    ]


def test_published_pairs():
    paper = STABLEMTL_PAIRS[:11]
    assert tuple(dict.fromkeys(task for _, task, _ in paper)) == ORDER
    assert all(
        sum(weight for _, other, weight in paper if other == task) == pytest.approx(1.0) for task in ORDER
    )
    assert STABLEMTL_PAIRS[11][:2] == ("flyingchairs", "optical_flow")


def test_round_robin_in_the_published_order():
    mixture = make()
    assert mixture.tasks == ORDER
    assert [mixture.task_at(step) for step in range(15)] == [*ORDER, *ORDER, "albedo"]


@pytest.mark.parametrize("accumulation", [1, 2, 3, 5])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("task_weights", [None, {"depth": 3.0}])
def test_one_task_per_step_on_every_rank(accumulation, world_size, task_weights):
    mixture = make(accumulation=accumulation, world_size=world_size, task_weights=task_weights)
    for step in (0, 1, 6, 7, 9_924, 9_925, 19_999):  # beyond the step where the published sampler mixes tasks
        tasks = {draw.entry.task for draw in drawn(mixture, range(step, step + 1))}
        assert tasks == {mixture.task_at(step)}
        samples = mixture.batch(step, accumulation - 1, world_size - 1)
        assert {sample.task for sample in samples} == tasks
        assert len({sample.dataset for sample in samples}) == 1
        assert len(samples) == 4


def test_datasets_come_as_often_as_their_weights():
    mixture = make(batch_size=1)
    counts = Counter((draw.entry.dataset.name, draw.entry.task) for draw in drawn(mixture, range(14_000)))
    assert sum(counts[name, "depth"] for name in ("hypersim", "vkitti2")) == 2000
    assert counts["hypersim", "albedo"] == 2000
    assert counts["vkitti2", "depth"] == pytest.approx(200, abs=54)  # four standard deviations
    assert counts["vkitti2", "normal"] == pytest.approx(200, abs=54)
    assert counts["flyingthings3d", "optical_flow"] == pytest.approx(1000, abs=90)
    assert counts["vkitti2", "scene_flow"] == pytest.approx(1000, abs=90)


def test_weights_are_relative_to_the_task():
    datasets = published()
    mixture = Mixture(
        [(datasets["hypersim"], "depth", 30.0), (datasets["vkitti2"], "depth", 10.0)], batch_size=1
    )
    counts = Counter(draw.entry.dataset.name for draw in drawn(mixture, range(2000)))
    assert counts["vkitti2"] == pytest.approx(500, abs=78)


def test_task_weights_draw_tasks():
    mixture = make(task_weights={"depth": 3.0, "normal": 1.0})  # the five others: 1
    counts = Counter(mixture.task_at(step) for step in range(9000))
    assert counts["depth"] == pytest.approx(3000, abs=180)
    assert counts["normal"] == pytest.approx(1000, abs=120)
    assert set(counts) == set(ORDER)
    assert len({mixture.task_at(step) for step in range(7)}) < 7  # no round robin


def test_weights_can_change_along_the_way():
    mixture = make(reweight_every=100)
    before = [mixture.task_at(step) for step in range(1000)]
    assert set(Counter(before)) == set(ORDER)  # all have weight 1
    mixture.draw(900)  # draws beyond the change are made, and must be forgotten
    mixture.reweight(500, {"depth": 1e9})
    after = [mixture.task_at(step) for step in range(1000)]
    assert after[:500] == before[:500]
    assert set(after[500:]) == {"depth"}
    stream = [i for step in range(500, 600) for i in mixture.draw(step).indices]
    assert len(set(stream)) == 50  # the datasets' own streams go on
    again = make(reweight_every=100)
    again.reweight(500, {"depth": 1e9})
    assert [again.draw(step).indices for step in range(480, 520)] == [
        mixture.draw(step).indices for step in range(480, 520)
    ]
    mixture.reweight(300, {"albedo": 1e9})  # going back: what was said for later is forgotten
    assert {mixture.task_at(step) for step in range(300, 1000)} == {"albedo"}
    with pytest.raises(ValueError, match="position must be a multiple of 100, got 450"):
        mixture.reweight(450, {})
    with pytest.raises(ValueError, match="weights names colour, not in the mixture"):
        mixture.reweight(500, {"colour": 1.0})
    with pytest.raises(ValueError, match=r"weights\['depth'\] must be positive, got 0.0"):
        mixture.reweight(500, {"depth": 0.0})
    with pytest.raises(ValueError, match="reweight needs a mixture made with reweight_every"):
        make().reweight(0, {})


def test_without_isolation_micro_batches_take_turns():
    mixture = make(accumulation=3, isolated=False, world_size=2)
    tasks = [mixture.task_at(step, micro) for step in range(5) for micro in range(3)]
    assert tasks == [ORDER[turn % 7] for turn in range(15)]
    for step in range(4):
        for micro in range(3):
            draws = [mixture.draw(step, micro, rank) for rank in range(2)]
            assert {draw.entry.task for draw in draws} == {mixture.task_at(step, micro)}
            assert len({draw.entry for draw in draws}) == 1
            assert not set(draws[0].indices) & set(draws[1].indices)
    dataset = Numbers("some", ("depth",), 12)
    alone = Mixture([(dataset, "depth", 1.0)], batch_size=2, accumulation=3, isolated=False)
    stream = [i for draw in drawn(alone, range(2)) for i in draw.indices]
    assert sorted(stream) == list(range(12))  # no gap, no overlap


def test_any_step_can_be_replayed():
    steps = range(4090, 4110)  # across two blocks of draws, and many epochs
    arguments = {"accumulation": 2, "world_size": 2, "task_weights": {"depth": 2.0}}
    mixture = make(**arguments)
    expected = drawn(mixture, steps)

    def content(draws):
        return [(draw.entry.dataset.name, draw.entry.task, draw.indices) for draw in draws]

    drawn(mixture, range(50))
    assert content(drawn(mixture, steps)) == content(expected)  # after other steps
    fresh = make(**arguments)
    backwards = [drawn(fresh, range(step, step + 1)) for step in reversed(steps)]
    assert content([draw for group in reversed(backwards) for draw in group]) == content(expected)
    with ThreadPoolExecutor(4) as pool:
        groups = list(pool.map(lambda step: drawn(fresh, range(step, step + 1)), steps))
    assert content([draw for group in groups for draw in group]) == content(expected)
    assert content(drawn(make(seed=8, **arguments), steps)) != content(expected)


@pytest.mark.parametrize(("task", "expected"), [("depth", set(range(10))), ("optical_flow", {0, 2, 4, 6, 8})])
def test_every_epoch_has_every_frame_once_in_a_new_order(task, expected):
    dataset = Numbers("some", (task,), 10)
    mixture = Mixture([(dataset, task, 1.0)], batch_size=4, accumulation=2, world_size=3)
    stream = [index for draw in drawn(mixture, range(20)) for index in draw.indices]
    length = len(expected)
    epochs = [tuple(stream[start : start + length]) for start in range(0, len(stream) - length, length)]
    assert all(set(epoch) == expected for epoch in epochs)
    assert len(set(epochs)) > 10


def test_spreading_over_ranks_does_not_change_a_step():
    def steps(**split):
        mixture = make(task_weights={"depth": 3.0}, **split)
        groups = [drawn(mixture, range(step, step + 1)) for step in range(60)]
        assert all(len({draw.entry for draw in group}) == 1 for group in groups)
        return [(group[0].entry[:2], [i for draw in group for i in draw.indices]) for group in groups]

    def names(groups):
        return [(dataset.name, task, indices) for (dataset, task), indices in groups]

    whole = names(steps(batch_size=8))
    assert whole == names(steps(batch_size=2, accumulation=4))
    assert whole == names(steps(batch_size=2, world_size=4))
    assert whole == names(steps(batch_size=2, accumulation=2, world_size=2))
    assert len({name for name, task, _ in whole if task == "optical_flow"}) == 2


def test_spreading_over_ranks_does_not_change_augmentation():
    def noise(sample, generator):
        return Sample(**{**sample.__dict__, "image": torch.rand(3, 2, 3, generator=generator)})

    def images(**split):
        mixture = make(transform=noise, **split)
        return [
            sample.image
            for step in range(3)
            for micro in range(mixture.accumulation)
            for rank in range(mixture.world_size)
            for sample in mixture.batch(step, micro, rank)
        ]

    expected = images(batch_size=8)
    for split in ({"batch_size": 4, "world_size": 2}, {"batch_size": 2, "accumulation": 2, "world_size": 2}):
        assert all(torch.equal(a, b) for a, b in zip(expected, images(**split), strict=True))


def test_a_subset_keeps_weights_and_order():
    mixture = make(batch_size=2)
    subset = mixture.only(["scene_flow", "depth"])
    assert subset.tasks == ("depth", "scene_flow")
    assert [subset.task_at(step) for step in range(4)] == ["depth", "scene_flow"] * 2
    for visit in range(60):
        whole = mixture.draw(visit * 7 + ORDER.index("depth"))
        part = subset.draw(visit * 2)
        assert (whole.entry, whole.indices) == (part.entry, part.indices)
    with pytest.raises(
        ValueError, match=r"tasks names colour, not in the mixture; choose from albedo, shading"
    ):
        mixture.only(["colour"])
    assert make(task_weights={"depth": 2.0, "albedo": 3.0}).only(["depth"]).task_weights == {"depth": 2.0}


def test_transform_has_a_generator_of_its_own():
    def noise(sample, generator):
        image = torch.rand(3, 2, 3, generator=generator)
        return Sample(**{**sample.__dict__, "image": image})

    mixture = make(transform=noise, accumulation=2)
    images = [
        sample.image for step in range(3) for micro in range(2) for sample in mixture.batch(step, micro)
    ]
    assert len({tuple(image.flatten().tolist()) for image in images}) == 24
    again = make(transform=noise, accumulation=2).batch(2, 1)
    assert all(torch.equal(a.image, b) for a, b in zip(again, images[-4:], strict=True))


@pytest.mark.parametrize(
    ("entries", "changes", "match"),
    [
        ([], {}, "entries must hold at least one"),
        ([("depth", 0.0)], {}, r"weight of \(some, depth\) must be positive, got 0.0"),
        ([("albedo", 1.0)], {}, "some has no labels for task 'albedo'; it has depth"),
        ([("depth", 1.0)], {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ([("depth", 1.0)], {"world_size": 0}, "world_size must be at least 1, got 0"),
        ([("depth", 1.0)], {"seed": -1}, "seed must not be negative"),
        (
            [("depth", 1.0)],
            {"task_weights": {"albedo": 1.0}},
            "task_weights names albedo, not in the mixture",
        ),
        ([("depth", 1.0)], {"task_weights": {"depth": -1.0}}, r"task_weights\['depth'\] must be positive"),
        ([("depth", 1.0)], {"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
    ],
)
def test_errors_when_made(entries, changes, match):
    dataset = Numbers("some", ("depth",), 3)
    with pytest.raises(ValueError, match=match):
        Mixture([Entry(dataset, *entry) for entry in entries], **({"batch_size": 2} | changes))


def test_errors_when_used():
    with pytest.raises(ValueError, match="some has no sample of task 'depth'"):
        Mixture([(Numbers("some", ("depth",), 0), "depth", 1.0)], batch_size=1)
    mixture = make(accumulation=2, world_size=3)
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        mixture.task_at(-1)
    with pytest.raises(ValueError, match="micro must be at least 0 and below 2, got 2"):
        mixture.batch(0, 2, 0)
    with pytest.raises(ValueError, match="rank must be at least 0 and below 3, got 3"):
        mixture.batch(0, 0, 3)


class Damaged(Numbers):
    """Some frames cannot be read."""

    def __init__(self, *arguments, damaged: set[int]) -> None:
        super().__init__(*arguments)
        self.damaged = damaged

    def load(self, index: int, task: str) -> Sample:
        if index in self.damaged:
            raise ValueError(f"frame_{index}.png is truncated")
        return super().load(index, task)


def test_a_damaged_sample_stops_with_its_place():
    mixture = Mixture([(Damaged("some", ("depth",), 6, damaged={4}), "depth", 1.0)], batch_size=6)
    with pytest.raises(SampleError, match=r"^some depth, sample 4: frame_4.png is truncated$"):
        mixture.batch(0)
    assert mixture.skipped == {}


def test_a_damaged_sample_is_skipped_counted_and_replaced(caplog):
    dataset = Damaged("some", ("depth",), 6, damaged={3, 4})
    mixture = Mixture([(dataset, "depth", 1.0)], batch_size=6, on_error="skip")
    keys = sorted(sample.key for sample in mixture.batch(0))
    assert keys == ["0", "1", "2", "5", "5", "5"]
    assert mixture.skipped == {
        ("some", "depth", 3): "some depth, sample 3: frame_3.png is truncated",
        ("some", "depth", 4): "some depth, sample 4: frame_4.png is truncated",
    }
    assert caplog.text.count("is truncated") == 2
    mixture.batch(1)
    assert caplog.text.count("is truncated") == 2  # told once
    dataset.damaged = set(range(6))
    with pytest.raises(SampleError, match="some depth: none of its 6 samples can be read"):
        mixture.batch(2)


def test_entries_of_the_datasets_that_are_there():
    datasets = published(hypersim=0)
    entries = mixture_entries(datasets, tasks=["depth", "optical_flow"])
    assert [(entry.dataset.name, entry.task) for entry in entries] == [
        ("vkitti2", "depth"),
        ("vkitti2", "optical_flow"),
        ("flyingthings3d", "optical_flow"),
        ("flyingchairs", "optical_flow"),
    ]
    with pytest.raises(
        ValueError, match=r"no dataset among vkitti2, .* has labels for albedo; they have depth, "
    ):
        mixture_entries(datasets, tasks=["albedo", "depth"])


def test_collate():
    dataset = Numbers("some", ("depth", "normal"), 5)
    batch = collate([dataset.load(2, "depth"), dataset.load(4, "depth")])
    assert batch.image.shape == (2, 3, 2, 3)
    assert batch.image_next is None
    assert batch.target.shape == batch.valid.shape == (2, 1, 2, 3)
    assert (batch.task, batch.datasets, batch.keys, len(batch)) == ("depth", ("some", "some"), ("2", "4"), 2)
    assert batch.to("cpu").image[1, 0, 0, 0] == 4
    pair = Sample(**{**dataset.load(0, "depth").__dict__, "image_next": torch.ones(3, 2, 3)})
    assert collate([pair, pair]).to("cpu").image_next.shape == (2, 3, 2, 3)
    with pytest.raises(ValueError, match="agree in number of frames, got 1, 2"):
        collate([pair, dataset.load(0, "depth")])
    with pytest.raises(ValueError, match="agree in task, got depth, normal"):
        collate([dataset.load(0, "depth"), dataset.load(0, "normal")])
    with pytest.raises(ValueError, match="at least one sample"):
        collate([])
    large = Sample(
        image=torch.zeros(3, 4, 3),
        target=torch.zeros(1, 4, 3),
        valid=torch.ones(1, 4, 3, dtype=torch.bool),
        task="depth",
        dataset="other",
        key="0",
    )
    with pytest.raises(ValueError, match=r"agree in size, got 2x3, 4x3\. Put a Resize"):
        collate([dataset.load(0, "depth"), large])
