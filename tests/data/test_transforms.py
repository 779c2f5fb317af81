from __future__ import annotations

import colorsys
import math

import pytest
import torch

from stablemtl.data import (
    ColorJitter,
    Compose,
    HorizontalFlip,
    RandomCrop,
    Resize,
    Sample,
    VerticalFlip,
    published_augmentation,
)
from stablemtl.data import transforms as T
from stablemtl.tasks import TASKS


def make_sample(task: str, size: tuple[int, int] = (4, 6), *, seed: int = 0, dataset: str = "fake") -> Sample:
    """Random frames, label of the task's channels, and a mask with some holes."""
    generator = torch.Generator().manual_seed(seed)
    channels = TASKS[task].spec.channels
    if task == "semantic":
        target = torch.randint(8, (1, *size), generator=generator)
    else:
        target = torch.rand(channels, *size, generator=generator)
    return Sample(
        image=torch.rand(3, *size, generator=generator),
        image_next=torch.rand(3, *size, generator=generator) if TASKS[task].spec.frames == 2 else None,
        target=target,
        valid=torch.rand(1, *size, generator=generator) > 0.3,
        task=task,
        dataset=dataset,
        key="0",
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: Sample, b: Sample) -> bool:
    pairs = [(a.image, b.image), (a.target, b.target), (a.valid, b.valid)]
    if a.image_next is not None and b.image_next is not None:
        pairs.append((a.image_next, b.image_next))
    return all(x.shape == y.shape and bool((x == y).all()) for x, y in pairs)


@pytest.mark.parametrize(
    ("kind", "method", "axis"), [(HorizontalFlip, "hflip", -1), (VerticalFlip, "vflip", -2)]
)
@pytest.mark.parametrize("task", list(TASKS))
def test_flip_mirrors_everything_and_asks_the_task(task, kind, method, axis):
    sample = make_sample(task)
    flip = kind(probability=1.0)
    flipped = flip(sample, TASKS[task], generator())
    assert torch.equal(flipped.image, sample.image.flip(axis))
    assert torch.equal(flipped.valid, sample.valid.flip(axis))
    assert torch.equal(flipped.target, getattr(TASKS[task], method)(sample.target))
    if sample.image_next is not None:
        assert torch.equal(flipped.image_next, sample.image_next.flip(axis))
    assert same(flip(flipped, TASKS[task], generator()), sample)
    assert kind(probability=0.0)(sample, TASKS[task], generator()) is sample
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 2"):
        kind(probability=2.0)


def test_flip_negates_u_only():
    sample = make_sample("optical_flow")
    flipped = HorizontalFlip(probability=1.0)(sample, TASKS["optical_flow"], generator())
    assert flipped.target[0, 1, 2] == -sample.target[0, 1, 3]
    assert flipped.target[1, 1, 2] == sample.target[1, 1, 3]


def test_flip_happens_as_often_as_asked():
    sample, task = make_sample("depth", (1, 2)), TASKS["depth"]
    assert HorizontalFlip(probability=0.0)(sample, task, generator()) is sample
    source = generator()
    count = sum(HorizontalFlip(probability=0.25)(sample, task, source) is not sample for _ in range(2000))
    assert 420 < count < 580  # four standard deviations around 500


@pytest.mark.parametrize("task", list(TASKS))
def test_resize_asks_the_task(task):
    sample = make_sample(task)
    resized = Resize(size=(2, 9))(sample, TASKS[task], generator())
    assert resized.image.shape == (3, 2, 9)
    assert resized.valid.shape == (1, 2, 9)
    assert torch.equal(resized.target, TASKS[task].resize(sample.target, (2, 9)))
    if sample.image_next is not None:
        assert resized.image_next.shape == (3, 2, 9)
    assert Resize(size=(4, 6))(sample, TASKS[task], generator()) is sample


def test_resize_takes_the_published_pixels():
    # source index floor((i + 0.5) * source / destination): 375 -> 187 takes rows 1, 3, 5, ...
    sample = make_sample("depth", (375, 8))
    resized = Resize(size=(187, 8), image_mode="nearest")(sample, TASKS["depth"], generator())
    rows = torch.arange(1, 375, 2)
    assert torch.equal(resized.image, sample.image[:, rows])
    assert torch.equal(resized.target, sample.target[:, rows])
    assert torch.equal(resized.valid, sample.valid[:, rows])


def test_resize_scales_flow_per_axis_and_averages_images():
    sample = make_sample("optical_flow", (4, 6))
    resized = Resize(size=(2, 12))(sample, TASKS["optical_flow"], generator())
    assert resized.target[:, 0, 0].tolist() == pytest.approx(
        [2 * sample.target[0, 1, 0].item(), 0.5 * sample.target[1, 1, 0].item()]
    )
    flat = make_sample("depth", (4, 6))
    flat.image.fill_(0.25)
    torch.testing.assert_close(
        Resize(size=(3, 5))(flat, TASKS["depth"], generator()).image, torch.full((3, 3, 5), 0.25)
    )


@pytest.mark.parametrize(
    ("longest", "multiple", "size", "expected"),
    [
        (768, 1, (375, 1242), (232, 768)),
        (128, 8, (375, 1242), (40, 128)),
        (128, 8, (96, 128), (96, 128)),
        (128, 8, (1242, 375), (128, 40)),
        (64, 8, (10, 1000), (8, 64)),
    ],
)
def test_longest_edge(longest, multiple, size, expected):
    assert Resize(longest_edge=longest, multiple_of=multiple).output_size(size) == expected


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "give either size or longest_edge, got size=None, longest_edge=None"),
        ({"size": (2, 3), "longest_edge": 4}, "give either size or longest_edge"),
        ({"size": (2, 0)}, r"must be \(height, width\) and at least 1 px"),
        ({"longest_edge": 8, "multiple_of": 0}, "at least 1 px"),
        (
            {"size": (2, 3), "image_mode": "bicubic"},
            "image_mode must be 'bilinear' or 'nearest', got 'bicubic'",
        ),
    ],
)
def test_resize_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        Resize(**arguments)


@pytest.mark.parametrize("crop", [RandomCrop(size=(2, 3)), RandomCrop(fraction=(0.5, 0.5))])
def test_crop_is_one_window_of_everything(crop):
    sample = make_sample("optical_flow", (4, 6))
    numbers = torch.arange(24.0).reshape(1, 4, 6)
    sample = Sample(
        image=(numbers / 100).repeat(3, 1, 1),
        image_next=(numbers / 50).repeat(3, 1, 1),
        target=numbers.repeat(2, 1, 1),
        valid=numbers % 2 == 0,
        task="optical_flow",
        dataset="fake",
        key="0",
    )
    seen = set()
    for seed in range(200):
        cropped = crop(sample, TASKS["optical_flow"], generator(seed))
        first = int(cropped.target[0, 0, 0])
        seen.add(divmod(first, 6))
        window = first + torch.tensor([[0.0, 1, 2], [6, 7, 8]])
        assert torch.equal(cropped.target, window.repeat(2, 1, 1))
        assert torch.equal(cropped.image[0], window / 100)
        assert torch.equal(cropped.image_next[0], window / 50)
        assert torch.equal(cropped.valid[0], window % 2 == 0)
    assert seen == {(row, column) for row in range(3) for column in range(4)}


def test_crop_errors():
    with pytest.raises(ValueError, match="either size or fraction"):
        RandomCrop()
    with pytest.raises(ValueError, match=r"fraction must be two numbers in \(0, 1\]"):
        RandomCrop(fraction=(0.5, 1.5))
    with pytest.raises(ValueError, match="at least 1 px"):
        RandomCrop(size=(0, 4))
    with pytest.raises(ValueError, match="a crop of 5x3 px does not fit fake 0, which has 4x6"):
        RandomCrop(size=(5, 3))(make_sample("depth"), TASKS["depth"], generator())


@pytest.mark.parametrize(
    "jitter",
    [
        ColorJitter(brightness=0.4),
        ColorJitter(contrast=0.4),
        ColorJitter(saturation=0.4),
        ColorJitter(hue=0.3),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.127),
    ],
)
def test_jitter_changes_both_frames_alike_and_nothing_else(jitter):
    sample = make_sample("optical_flow")
    assert sample.image_next is not None
    sample.image_next.copy_(sample.image.flip(-1))  # the same colours, elsewhere
    changed = jitter(sample, TASKS["optical_flow"], generator(3))
    assert not torch.equal(changed.image, sample.image)
    torch.testing.assert_close(changed.image_next, changed.image.flip(-1), rtol=0, atol=1e-6)
    assert changed.image.min() >= 0
    assert changed.image.max() <= 1
    assert changed.target is sample.target
    assert changed.valid is sample.valid
    assert same(changed, jitter(sample, TASKS["optical_flow"], generator(3)))
    assert not same(changed, jitter(sample, TASKS["optical_flow"], generator(4)))


def test_jitter_without_ranges_does_nothing():
    sample = make_sample("scene_flow")
    assert same(ColorJitter()(sample, TASKS["scene_flow"], generator()), sample)


def test_brightness_contrast_saturation_by_hand():
    image = torch.tensor([[0.2, 0.8], [0.4, 0.8], [0.6, 0.8]])[:, None]  # (3, 1, 2)
    torch.testing.assert_close(T.adjust_brightness(image, 1.5)[:, 0, 0], torch.tensor([0.3, 0.6, 0.9]))
    assert T.adjust_brightness(image, 1.5)[:, 0, 1].tolist() == [1, 1, 1]
    grey = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6  # 0.363
    mean = (grey + 0.8) / 2
    expected = torch.tensor([mean + (c - mean) * 0.5 for c in (0.2, 0.4, 0.6)])
    torch.testing.assert_close(T.adjust_contrast(image, 0.5)[:, 0, 0], expected)
    torch.testing.assert_close(T.adjust_saturation(image, 0.0)[:, 0, 0], torch.full((3,), grey))
    torch.testing.assert_close(T.adjust_saturation(image, 2.0)[:, 0, 1], torch.full((3,), 0.8))


def test_hue():
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    torch.testing.assert_close(T.adjust_hue(red, 1 / 3).flatten(), torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(T.adjust_hue(red, -1 / 3).flatten(), torch.tensor([0.0, 0.0, 1.0]))
    image = torch.rand(3, 5, 7, generator=generator())
    image[:, 0, 0] = 0.5  # grey has no hue
    turned = T.adjust_hue(image, 0.2)
    for row in range(5):
        for column in range(7):
            h, s, v = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            expected = colorsys.hsv_to_rgb((h + 0.2) % 1.0, s, v)
            assert turned[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"brightness": -0.1}, r"brightness must lie in \[0, inf\], got -0.1"),
        ({"hue": 0.6}, r"hue must lie in \[0, 0.5\], got 0.6"),
    ],
)
def test_jitter_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        ColorJitter(**arguments)
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 2"):
        HorizontalFlip(probability=2.0)


def test_compose_finds_the_task():
    compose = Compose([Resize(size=(2, 3)), HorizontalFlip(probability=1.0)], TASKS)
    sample = make_sample("normal")
    expected = TASKS["normal"].hflip(TASKS["normal"].resize(sample.target, (2, 3)))
    assert torch.equal(compose(sample).target, expected)
    with pytest.raises(ValueError, match="unknown task 'normal'; choose from depth"):
        Compose([], {"depth": TASKS["depth"]})(sample)


def test_published_augmentation():
    crop = published_augmentation("vkitti2", "optical_flow")[-1]
    assert isinstance(crop, RandomCrop)
    cropped = crop(make_sample("depth", (375, 1242)), TASKS["depth"], generator())
    assert cropped.image.shape == (3, 256, 1024)
    jitter = published_augmentation("flyingthings3d", "scene_flow")[0]
    assert isinstance(jitter, ColorJitter)
    assert jitter.hue == pytest.approx(0.159, abs=1e-3)
    assert published_augmentation("hypersim", "albedo") == (HorizontalFlip(),)
    compose = Compose(published_augmentation, TASKS)
    sample = make_sample("optical_flow", (75, 248), dataset="vkitti2")
    assert compose(sample, generator()).image.shape == (3, math.floor(75 * 256 / 375), 204)
