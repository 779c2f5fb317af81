"""What every task promises, over all tasks and over the encodings in physical units."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl.tasks import TASKS, Task, build_task, build_tasks

B, H, W = 2, 24, 34
NAMES = ["semantic", "normal", "depth", "optical_flow", "scene_flow", "shading", "albedo"]
VARIANTS: dict[str, Task] = {
    **TASKS,
    "depth log": build_task("depth", encoding="log", near_m=0.5, far_m=80.0),
    "optical_flow calibrated": build_task("optical_flow", encoding="calibrated", scale_px=16.0),
    "scene_flow calibrated": build_task("scene_flow", encoding="calibrated", scale_m=2.0),
    "optical_flow with a knee": build_task("optical_flow", encoding="calibrated", scale_px=16.0, knee_px=0.5),
    "scene_flow with a knee": build_task("scene_flow", encoding="calibrated", scale_m=2.0, knee_m=0.03),
}
PERFECT = {
    "miou": 1, "accuracy": 1, "mean_angular_error": 0, "median_angular_error": 0, "within_11.25": 1,
    "abs_rel": 0, "sq_rel": 0, "rmse": 0, "rmse_log": 0, "log10": 0, "delta1": 1, "delta2": 1, "delta3": 1,
    "i_rmse": 0, "silog": 0, "epe": 0, "fl_all": 0, "angle": 0, "epe3d": 0, "acc_strict": 1, "acc_relax": 1,
    "outliers": 0, "ssim": 1, "lmse": 0,
}  # fmt: skip


@pytest.fixture(params=VARIANTS)
def task(request: pytest.FixtureRequest) -> Task:
    return VARIANTS[request.param]


def make_target(task: Task, seed: int = 0) -> Tensor:
    """A random target in physical units that each encoding keeps."""
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(B, task.spec.channels, H, W, generator=random)
    match task.spec.name:
        case "semantic":
            return torch.randint(0, 8, (B, 1, H, W), generator=random)
        case "normal":
            return torch.nn.functional.normalize(values * 2 - 1 + 1e-3, dim=1)
        case "depth":
            # more than 2 % of the pixels at either end, so that the quantiles are the extremes
            depth = 1 + 40 * values
            depth[..., :2], depth[..., -2:] = 1.0, 41.0
            return depth
        case "optical_flow":
            return values * 30 - 15
        case "scene_flow":
            return values * 3 - 1.5
        case _:
            return values


def make_valid(seed: int = 1) -> Tensor:
    valid = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(seed)) > 0.2
    valid[..., :3], valid[..., -3:] = True, True
    return valid


def figures(task: Task, pred: Tensor, target: Tensor, valid: Tensor, **options: Any) -> dict[str, float]:
    metric = task.metric(**options)
    metric.update(pred, target, valid)
    return metric.compute()


def without_ssim(values: dict[str, float]) -> dict[str, float]:
    """By its protocol SSIM sees the whole image, invalid pixels too."""
    return {name: value for name, value in values.items() if name != "ssim"}


def perfect(values: dict[str, float]) -> dict[str, float]:
    return {
        name: PERFECT[name.split("/")[0].replace("iou", "miou") if "/" in name else name] for name in values
    }


def test_names_and_order() -> None:
    assert list(TASKS) == NAMES
    assert [task.spec.name for task in TASKS.values()] == NAMES


def test_spec_is_complete_and_true(task: Task) -> None:
    spec = task.spec
    assert spec.prompt == spec.name.replace("_", " ")
    assert spec.frames == (2 if "flow" in spec.name else 1)
    assert spec.value_range[0] < spec.value_range[1]
    assert spec.headline in task.metric().compute()
    assert spec.convention.endswith(".")
    assert (spec.unit in ("m", "px")) == (spec.scale_known and spec.name not in ("semantic", "normal"))
    pred = task.decode(torch.randn(B, 3, H, W, generator=torch.Generator().manual_seed(0)) * 2)
    assert pred.shape == (B, spec.channels, H, W)
    assert spec.value_range[0] <= pred.min()
    assert pred.max() <= spec.value_range[1]


def test_task_is_immutable_and_rebuilt_from_its_options(task: Task) -> None:
    options = json.loads(json.dumps(task.options))
    assert build_task(task.spec.name, **options) == task
    assert build_tasks({task.spec.name: options})[task.spec.name] == task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.anything = 1  # type: ignore[attr-defined]


def test_decode_inverts_encode(task: Task) -> None:
    target, valid = make_target(task), make_valid()
    image = task.encode(target, valid)
    assert image.shape == (B, 3, H, W)
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1
    pred = task.decode(image)
    assert pred.dtype == (torch.int64 if task.spec.name == "semantic" else torch.float32)
    if task.spec.scale_known:
        torch.testing.assert_close(pred, target, rtol=1e-4, atol=1e-4)
    result = figures(task, pred, target, valid)
    assert result == pytest.approx(perfect(result), abs=2e-3)  # 1e-3 degrees is what single precision gives


def test_decode_takes_half_precision(task: Task) -> None:
    image = torch.rand(1, 3, 4, 6, dtype=torch.float16) * 2 - 1
    pred = task.decode(image)
    assert pred.dtype in (torch.float32, torch.int64)
    torch.testing.assert_close(pred, task.decode(image.float()))


def test_decode_passes_gradients(task: Task) -> None:
    if task.spec.name == "semantic":
        pytest.skip("a class has no gradient")
    image = (torch.rand(1, 3, 4, 6) - 0.5).requires_grad_()
    task.decode(image).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.any()


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf])
def test_encode_keeps_rubbish_at_invalid_pixels_there(task: Task, rubbish: float) -> None:
    target, valid = make_target(task), make_valid()
    clean = task.encode(target, valid)
    bad: float = 250 if task.spec.name == "semantic" else rubbish
    dirty = task.encode(torch.where(valid, target, bad), valid)
    assert dirty.isfinite().all()
    assert dirty.abs().max() <= 1
    where = valid.expand_as(clean)
    torch.testing.assert_close(dirty[where], clean[where], rtol=0, atol=0)


def test_encode_without_a_valid_pixel_is_finite(task: Task) -> None:
    image = task.encode(make_target(task), torch.zeros(B, 1, H, W, dtype=torch.bool))
    assert image.isfinite().all()
    assert image.abs().max() <= 1


@pytest.mark.parametrize("direction", ["hflip", "vflip"])
def test_flipping_twice_is_the_identity(task: Task, direction: str) -> None:
    flip = getattr(task, direction)
    target = make_target(task)
    before = target.clone()
    flipped = flip(target)
    torch.testing.assert_close(target, before, rtol=0, atol=0)
    assert not torch.equal(flipped, target)
    torch.testing.assert_close(flip(flipped), target, rtol=0, atol=0)


@pytest.mark.parametrize(("direction", "axis"), [("hflip", -1), ("vflip", -2)])
def test_flips_commute_with_coding(task: Task, direction: str, axis: int) -> None:
    flip = getattr(task, direction)
    target, valid = make_target(task), make_valid()
    of_flipped = task.decode(task.encode(flip(target), valid.flip(axis)))
    torch.testing.assert_close(of_flipped, flip(task.decode(task.encode(target, valid))))


def test_flips_and_resize_take_single_samples(task: Task) -> None:
    target = make_target(task)
    torch.testing.assert_close(task.hflip(target[0]), task.hflip(target)[0])
    torch.testing.assert_close(task.vflip(target[0]), task.vflip(target)[0])
    for resize in (task.resize, task.resize_prediction):
        torch.testing.assert_close(resize(target[0], (9, 15)), resize(target, (9, 15))[0])


@pytest.mark.parametrize("size", [(12, 17), (31, 40), (24, 34), (48, 20)])
def test_resize_gives_the_size_and_keeps_type_and_meaning(task: Task, size: tuple[int, int]) -> None:
    target = make_target(task)
    before = target.clone()
    for resized in (task.resize(target, size), task.resize_prediction(target, size)):
        assert resized.shape == (B, task.spec.channels, *size)
        assert resized.dtype == target.dtype
        if task.spec.name == "normal":
            torch.testing.assert_close(resized.norm(dim=1), torch.ones(B, *size))
        if size == (H, W):
            torch.testing.assert_close(resized, target)
    torch.testing.assert_close(target, before, rtol=0, atol=0)


def test_resize_does_not_spread_nan(task: Task) -> None:
    if task.spec.name == "semantic":
        pytest.skip("ids are integers")
    target = make_target(task)
    target[:, :, 5, 7] = math.nan
    assert not task.resize(target, (48, 68))[:, :, 20:].isnan().any()
    assert not task.resize_prediction(target, (12, 17)).isnan().any()


@pytest.mark.parametrize("size", [(0, 4), (4,)])
def test_resize_rejects_bad_sizes(task: Task, size: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
        task.resize(make_target(task), size)


def test_metric_is_perfect_on_its_own_target(task: Task) -> None:
    target, valid = make_target(task), make_valid()
    for align in (True, False):
        result = figures(task, target, target, valid, align=align)
        assert result == pytest.approx(perfect(result), abs=1e-5)


def test_metric_ignores_invalid_pixels(task: Task) -> None:
    target, pred, valid = (
        make_target(task),
        task.decode(task.encode(make_target(task, 5), make_valid())),
        make_valid(),
    )
    clean = figures(task, pred, target, valid)
    integer = task.spec.name == "semantic"
    for bad in (3, 250) if integer else (0.3, math.nan, math.inf):
        dirty = figures(task, torch.where(valid, pred, bad), torch.where(valid, target, bad), valid)
        assert without_ssim(dirty) == pytest.approx(without_ssim(clean))
        assert all(math.isfinite(value) for value in dirty.values())


def test_metric_forgets_on_reset_and_adds_up(task: Task) -> None:
    target, pred, valid = (
        make_target(task),
        task.decode(task.encode(make_target(task, 5), make_valid())),
        make_valid(),
    )
    once = figures(task, pred, target, valid)
    metric = task.metric()
    metric.update(target, target, valid)
    metric.reset()
    metric.update(pred[:1], target[:1], valid[:1])
    metric.update(pred[1:], target[1:], valid[1:])
    assert metric.compute() == pytest.approx(once)
    assert metric.compute() == pytest.approx(once)  # computing changes nothing


def test_metric_leaves_its_inputs_alone(task: Task) -> None:
    inputs = make_target(task, 3), make_target(task), make_valid()
    copies = [tensor.clone() for tensor in inputs]
    figures(task, *inputs)
    for tensor, copy in zip(inputs, copies, strict=True):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0)


def test_metric_without_anything_valid_is_nan(task: Task) -> None:
    assert all(math.isnan(value) for value in task.metric().compute().values())
    nothing = torch.zeros(B, 1, H, W, dtype=torch.bool)
    result = figures(task, make_target(task, 3), make_target(task), nothing)
    assert result
    assert all(math.isnan(value) for value in result.values())


def test_an_image_without_valid_pixels_adds_nothing(task: Task) -> None:
    target, pred, valid = make_target(task), make_target(task, 3), make_valid()
    valid[1] = False
    assert figures(task, pred, target, valid) == pytest.approx(figures(task, pred[:1], target[:1], valid[:1]))


def test_metric_takes_masks_and_single_channels_without_a_channel_axis(task: Task) -> None:
    target, pred, valid = make_target(task), make_target(task, 3), make_valid()
    expected = figures(task, pred, target, valid)
    if task.spec.channels == 1:
        target, pred = target[:, 0], pred[:, 0]
    assert figures(task, pred, target, valid[:, 0]) == pytest.approx(expected)


def test_metric_figures_are_finite_for_a_constant_prediction(task: Task) -> None:
    target, valid = make_target(task), make_valid()
    for value in (0, 1):
        result = figures(task, torch.full_like(target, value), target, valid)
        assert all(math.isfinite(figure) for figure in result.values())


def test_metric_errors(task: Task) -> None:
    target, valid, name = make_target(task), make_valid(), task.spec.name
    metric = task.metric()
    with pytest.raises(ValueError, match=rf"{name} valid must be bool, got torch.float32"):
        metric.update(target, target, valid.float())
    with pytest.raises(
        ValueError, match=rf"{name} pred and target must have one shape, got .*34\) and .*33\)"
    ):
        metric.update(target, target[..., :-1], valid)
    with pytest.raises(
        ValueError, match=rf"{name} valid must be \(2, 1, 24, 34\) or .* got \(2, 1, 24, 33\)"
    ):
        metric.update(target, target, valid[..., :-1])
    with pytest.raises(ValueError, match=rf"{name} pred must be \(B, {task.spec.channels}, H, W\)"):
        metric.update(target.repeat(1, 4, 1, 1), target, valid)
    with pytest.raises(ValueError, match=rf"{name} target must be \(B, {task.spec.channels}, H, W\)"):
        metric.update(target, target[0, 0], valid)


def test_coding_errors(task: Task) -> None:
    target, valid, name = make_target(task), make_valid(), task.spec.name
    with pytest.raises(ValueError, match=rf"{name} target must be \(B, {task.spec.channels}, H, W\)"):
        task.encode(target.repeat(1, 4, 1, 1), valid)
    with pytest.raises(ValueError, match=rf"{name} valid must be bool"):
        task.encode(target, valid.int())
    with pytest.raises(ValueError, match=rf"{name} image must be floating point \(B, 3, H, W\)"):
        task.decode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=rf"{name} image must be floating point \(B, 3, H, W\)"):
        task.decode(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_colorize_is_uint8_and_black_where_invalid(task: Task) -> None:
    target, valid = make_target(task), make_valid()
    bad = 250 if task.spec.name == "semantic" else math.nan
    dirty = torch.where(valid, target, bad)
    picture = task.colorize(dirty)
    assert picture.shape == (B, 3, H, W)
    assert picture.dtype == torch.uint8
    assert not picture[(~valid).expand_as(picture)].any()
    assert picture[valid.expand_as(picture)].any()
    torch.testing.assert_close(task.colorize(target, valid), picture)
    torch.testing.assert_close(task.colorize(target, valid[:, 0]), picture)


def test_colorize_without_a_valid_pixel_is_black(task: Task) -> None:
    assert not task.colorize(make_target(task), torch.zeros(B, H, W, dtype=torch.bool)).any()


def test_colorize_of_a_constant_is_fine(task: Task) -> None:
    picture = task.colorize(torch.ones_like(make_target(task)))
    assert (picture == picture[:, :, :1, :1]).all()


def test_build_task_errors() -> None:
    with pytest.raises(
        ValueError, match=r"unknown task 'normals'; choose from albedo, depth, normal, optical_flow"
    ):
        build_task("normals")
    with pytest.raises(ValueError, match="unknown task 'pose'; choose from"):
        build_tasks({"pose": {}})
    with pytest.raises(
        ValueError, match="unknown option 'scale' of task 'depth'; choose from encoding, near_m, far_m"
    ):
        build_task("depth", scale=2)
    with pytest.raises(ValueError, match="unknown option 'encoding' of task 'albedo'; it has none"):
        build_task("albedo", encoding="log")


def test_build_tasks_overrides_only_what_it_is_told() -> None:
    tasks = build_tasks({"depth": {"encoding": "log"}})
    assert list(tasks) == NAMES
    assert tasks["depth"].spec.unit == "m"
    assert {name: task for name, task in tasks.items() if name != "depth"} == {
        name: task for name, task in TASKS.items() if name != "depth"
    }
    assert build_tasks() == TASKS


# The flip contract: what a flipped label says is true of the flipped images.


def moving_scene() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two frames (1, 3, H, W), whole-pixel flow (1, 2, H, W), each point's depth in both (1, 1, H, W)."""
    random = torch.Generator().manual_seed(4)
    image = torch.rand(1, 3, H, W, generator=random)
    u, v = 3, -2
    image_next = torch.roll(image, (v, u), dims=(-2, -1))  # a torus, so that no pixel leaves
    flow = torch.tensor([u, v], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, H, W)
    depth = 2 + torch.rand(1, 1, H, W, generator=random)
    return image, image_next, flow, depth, depth + 0.3 * torch.rand(1, 1, H, W, generator=random)


def warp(image_next: Tensor, flow: Tensor) -> Tensor:
    """The first frame, fetched from the next one along the flow."""
    rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    u, v = flow[0].round().long()
    return image_next[:, :, (rows + v) % H, (columns + u) % W]


def lift(depth: Tensor, flow: Tensor | None = None) -> Tensor:
    """Camera-space points (1, 3, H, W) of the pixels, moved by the flow, at their depths."""
    rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    x, y = columns - (W - 1) / 2, rows - (H - 1) / 2
    if flow is not None:
        x, y = x + flow[0, 0], y + flow[0, 1]
    focal_px = 40.0
    return torch.stack([x / focal_px * depth[0, 0], y / focal_px * depth[0, 0], depth[0, 0]])[None]


FLIPS = pytest.mark.parametrize(("direction", "axis"), [("hflip", -1), ("vflip", -2)])


@FLIPS
@pytest.mark.parametrize("variant", ["optical_flow", "optical_flow calibrated"])
def test_flipped_optical_flow_warps_the_flipped_pair(variant: str, direction: str, axis: int) -> None:
    image, image_next, flow, _, _ = moving_scene()
    assert torch.equal(warp(image_next, flow), image)
    flipped = getattr(VARIANTS[variant], direction)(flow)
    assert torch.equal(warp(image_next.flip(axis), flipped), image.flip(axis))
    mirrored_alone = warp(image_next.flip(axis), flow.flip(axis))
    assert not torch.equal(mirrored_alone, image.flip(axis))


@FLIPS
@pytest.mark.parametrize("variant", ["scene_flow", "scene_flow calibrated"])
def test_flipped_scene_flow_moves_the_flipped_points(variant: str, direction: str, axis: int) -> None:
    _, _, flow, depth, depth_next = moving_scene()
    scene_flow = lift(depth_next, flow) - lift(depth)
    flip_flow, flip_depth = getattr(TASKS["optical_flow"], direction), getattr(TASKS["depth"], direction)
    expected = lift(flip_depth(depth_next), flip_flow(flow)) - lift(flip_depth(depth))
    torch.testing.assert_close(getattr(VARIANTS[variant], direction)(scene_flow), expected)


@FLIPS
def test_flipped_normals_are_those_of_the_flipped_surface(direction: str, axis: int) -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.4, 0.2, 0.9]), dim=0).view(1, 3, 1, 1)
    rays = lift(torch.ones(1, 1, H, W))
    depth = 3.0 / (rays * normal).sum(1, keepdim=True)  # the plane n . P = 3
    flipped_points = lift(getattr(TASKS["depth"], direction)(depth))
    flipped_normals = getattr(TASKS["normal"], direction)(normal.expand(1, 3, H, W))
    torch.testing.assert_close((flipped_points * flipped_normals).sum(1), torch.full((1, H, W), 3.0))


@pytest.mark.parametrize("size", [(48, 68), (12, 17)])
def test_resized_optical_flow_points_at_the_same_place(size: tuple[int, int]) -> None:
    _, _, flow, _, _ = moving_scene()
    for task in (VARIANTS["optical_flow"], VARIANTS["optical_flow calibrated"]):
        resized = task.resize(flow, size)
        assert resized[0, :, 0, 0].tolist() == pytest.approx([3 * size[1] / W, -2 * size[0] / H])
