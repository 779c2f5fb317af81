"""Counts against numbers worked out by hand, and the dry step against what real tensors take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from stablemtl import StableMTLModel
from stablemtl.models.task_attention import TaskAttentionConfig
from stablemtl.training import machine
from stablemtl.training.cache_size import CacheSize, cache_size
from stablemtl.training.config import LoopConfig
from stablemtl.training.dry_step import DryStep, ParameterCounts, count_parameters, dry_step
from stablemtl.training.estimate import Estimate, estimate
from stablemtl.training.losses import masked_mse
from stablemtl.training.machine import Speed, device_memory, machine_facts, measure_speed

TASKS = ("semantic", "normal", "depth", "optical_flow", "scene_flow", "shading", "albedo")
SD2 = {
    "unet": {
        "in_channels": 12,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "tasks": list(TASKS),
    "token_lengths": [4, 3, 3, 4, 4, 3, 5],
}
"""Stable Diffusion 2 with three groups of input channels, and the lengths of the published prompts."""
SINGLE, MULTI = 865_933_764, 1_256_462_084
"""Parameters of the published networks."""

COUNTS = ParameterCounts(trainable=1000, frozen=50, quantized=512, weight_bytes=4200, gradient_bytes=4000)
STEP = DryStep(
    parameters=COUNTS,
    activation_bytes=6000,
    peak_bytes=9000,
    forward_flops=100_000,
    flops=300_000,
    convolution_flops=200_000,
    traffic_bytes=7000,
)
LOOP = LoopConfig(steps=50, batch_size=3)
ESTIMATE = Estimate(stage=1, latent_size=(4, 6), loop=LOOP, processes=1, step=STEP)


def options_of(model: StableMTLModel) -> dict[str, Any]:
    return {name: value for name, value in model.config.items() if not name.startswith("_")}


# parameters -------------------------------------------------------------------------------------------------


def test_parameters_of_the_published_networks() -> None:
    one = count_parameters(SD2)
    assert (one.trainable, one.frozen) == (SINGLE, 0)
    assert one.gradient_bytes == 4 * SINGLE
    # Tokens of 7 tasks, padded to 5, of 1024 numbers; a byte for each in the mask.
    assert one.weight_bytes == 4 * SINGLE + 7 * 5 * 1024 * 4 + 7 * 5
    two = count_parameters({**SD2, "task_attention": {}})
    assert (two.trainable, two.frozen) == (MULTI, SINGLE)
    assert MULTI - two.quantized < 0.002 * MULTI  # biases and norms are small tensors


# dry step ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_full_size_step_takes_no_memory() -> None:
    step = dry_step(SD2, (36, 48), 16)
    assert step.parameters.trainable == SINGLE
    assert 12.0e9 < step.activation_bytes < 13.0e9
    assert step.activation_bytes < step.peak_bytes < step.activation_bytes + step.parameters.gradient_bytes
    # Backward takes a product for the weights and one for the inputs: about twice the forward pass.
    assert step.flops == pytest.approx(3 * step.forward_flops, rel=0.05)
    assert 0.4 < step.convolution_flops / step.flops < 0.7


@pytest.mark.slow
def test_full_size_second_stage() -> None:
    found = estimate({**SD2, "task_attention": {}}, (36, 48), LoopConfig(steps=10_000), processes=4)
    counts = found.step.parameters
    assert (counts.trainable, counts.frozen) == (MULTI, SINGLE)
    assert found.optimizer_bytes == 8 * MULTI
    assert 28e9 < found.step.activation_bytes < 31e9
    assert 50e9 < found.peak_bytes < 60e9


def measured(model: StableMTLModel, size: tuple[int, int], batch: int) -> tuple[int, Callable[[], None]]:
    """Bytes that a real forward pass saves for the backward pass, which the function then does."""
    latent, latent_next, target = torch.randn(3, batch, 4, *size)
    valid = torch.ones(batch, 1, *size, dtype=torch.bool)
    fixed = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    task = max(model.tasks, key=lambda name: model.token_lengths[model.tasks.index(name)])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pred = model(latent, latent_next, tasks=[task])[task]
        loss = masked_mse(pred, target, valid)
    return sum(saved.values()), loss.backward


class Line(nn.Module):
    """Stands for a model: a matrix product, a convolution, and an elementwise operation between them."""

    tasks = ("depth",)
    token_lengths = (1,)
    latent_channels = 2

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Module()
        self.linear = nn.Linear(6, 6, bias=False)
        self.frozen = nn.Linear(5000, 1, bias=False).requires_grad_(False)
        self.convolution = nn.Conv2d(2, 2, 3, padding=1, bias=False)

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [*self.linear.parameters(), *self.convolution.parameters()]

    def forward(self, latent: Tensor, latent_next: Tensor, tasks: list[str]) -> dict[str, Tensor]:
        return {"depth": self.convolution(torch.sin(self.linear(latent)))}


def test_operations_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemtl.training.dry_step.StableMTLModel", Line)
    step = dry_step({}, (4, 6), 3)
    assert step.parameters == ParameterCounts(
        trainable=36 + 36, frozen=5000, quantized=0, weight_bytes=4 * 5072, gradient_bytes=4 * 72
    )
    values = 3 * 2 * 4 * 6  # of each map
    product, convolution = 2 * values * 6, 2 * values * 2 * 9
    assert step.forward_flops == product + convolution
    # The input of the network needs no gradient.
    assert step.flops == 2 * product + 3 * convolution
    assert step.convolution_flops == 3 * convolution
    # Convolution, sine and linear layer keep their inputs, one of them the latent. Beside these there
    # are the second latent, the label, the prediction, what the loss makes of it, and single numbers.
    kept = 3 * 4 * values
    assert kept < step.activation_bytes < 3 * kept


@pytest.fixture(scope="module")
def single(make_tiny_model: Callable[..., StableMTLModel]) -> dict[str, Any]:
    return options_of(make_tiny_model(("depth", "normal"), multi_stream=False))


@pytest.fixture(scope="module")
def plain(single: dict[str, Any]) -> DryStep:
    return dry_step(single, (10, 14), 6)


def test_activations_are_those_of_a_real_step(
    make_tiny_model: Callable[..., StableMTLModel], plain: DryStep
) -> None:
    model = make_tiny_model(("depth", "normal"), multi_stream=False).train()
    saved, backward = measured(model, (10, 14), 6)
    assert plain.activation_bytes == pytest.approx(saved, rel=0.001)
    backward()
    assert sum(p.grad.nbytes for p in model.parameters() if p.grad is not None) == (
        plain.parameters.gradient_bytes
    )


def test_activations_are_those_of_a_real_step_of_stage_2(
    make_tiny_model: Callable[..., StableMTLModel],
) -> None:
    model = make_tiny_model(("depth", "normal")).train()
    step = dry_step(options_of(model), (10, 14), 6)
    saved, backward = measured(model, (10, 14), 6)
    assert step.activation_bytes == pytest.approx(saved, rel=0.03)
    backward()
    grown = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert 0 < grown < step.parameters.gradient_bytes  # the other task's projections have none


def test_accumulation_keeps_gradients(single: dict[str, Any], plain: DryStep) -> None:
    twice = dry_step(single, (10, 14), 6, accumulation=2)
    assert twice.activation_bytes == plain.activation_bytes
    assert 0 < twice.peak_bytes - plain.peak_bytes <= plain.parameters.gradient_bytes


def test_mixed_precision_halves_most_activations(single: dict[str, Any], plain: DryStep) -> None:
    half = dry_step(single, (10, 14), 6, precision="bf16")
    assert 0.45 < half.activation_bytes / plain.activation_bytes < 0.75


def test_gradient_checkpointing_computes_twice(single: dict[str, Any], plain: DryStep) -> None:
    again = dry_step(single, (10, 14), 6, gradient_checkpointing=True)
    assert again.activation_bytes < 0.6 * plain.activation_bytes
    assert again.forward_flops == plain.forward_flops
    assert plain.flops < again.flops <= plain.flops + plain.forward_flops


def test_prepare_changes_what_trains(single: dict[str, Any]) -> None:
    seen = []

    def prepare(model: StableMTLModel) -> None:
        seen.append(model)
        model.auxiliary.requires_grad_(False)
        model.auxiliary.conv_out.requires_grad_(True)

    counts = dry_step(single, (6, 10), 2, prepare=prepare).parameters
    assert counts.trainable == 4 * 8 * 9 + 4
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_size": (0, 8)}, "latent_size, batch_size and accumulation must be at least 1"),
        ({"batch_size": 0}, "must be at least 1, got .* 0 and 1"),
        ({"accumulation": 0}, "must be at least 1"),
        ({"precision": "half"}, "precision must be one of no, bf16, fp16, got 'half'"),
        ({"options": {**SD2, "unet": {"width": 3}}}, "unknown unet option width"),
    ],
)
def test_wrong_steps(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dry_step(**{"options": SD2, "latent_size": (4, 6), "batch_size": 1, **arguments})


# estimate ---------------------------------------------------------------------------------------------------


def test_optimizer_by_hand() -> None:
    assert ESTIMATE.optimizer_bytes == 8 * 1000
    eight = replace(ESTIMATE, loop=replace(LOOP, optimizer="adamw8bit"))
    # 512 values of two bytes in two blocks of two scales, the other 488 in 32 bits.
    assert eight.optimizer_bytes == 2 * 512 + 2 * 2 * 4 + 8 * 488


def test_peak_by_hand() -> None:
    assert ESTIMATE.peak_bytes == 4200 + 8000 + 9000
    assert replace(ESTIMATE, loop=replace(LOOP, ema=0.99)).peak_bytes == 4200 + 8000 + 4000 + 9000
    assert replace(ESTIMATE, processes=2).peak_bytes == 4200 + 8000 + 4000 + 9000
    small = replace(ESTIMATE, step=replace(STEP, peak_bytes=5000))
    assert small.peak_bytes == 4200 + 8000 + 2 * 4000  # the update takes more


def test_fits() -> None:
    assert ESTIMATE.fits is None
    assert replace(ESTIMATE, device_bytes=21_200).fits is True
    assert replace(ESTIMATE, device_bytes=21_199).fits is False


def test_time_by_hand() -> None:
    assert ESTIMATE.seconds_per_step is None
    speed = Speed(product_flops=1e5, convolution_flops=1e6, bandwidth=1e3)
    once = replace(ESTIMATE, speed=speed)
    assert once.flops == 300_000
    assert once.seconds_per_step == pytest.approx(1.0 + 0.2 + (7000 + 40 * 1000) / 1e3)
    loop = replace(LOOP, accumulation=2, optimizer="adamw8bit", ema=0.9)
    twice = replace(once, loop=loop)
    assert twice.flops == 600_000
    assert twice.seconds_per_step == pytest.approx(2 * (1.0 + 0.2) + (2 * 7000 + (28 + 12) * 1000) / 1e3)


def test_cache_by_hand() -> None:
    samples = {("rooms", "depth"): 10, ("rooms", "albedo"): 7, ("streets", "optical_flow"): 5}
    cells, latent = 4 * 6, 2 * 4 * 4 * 6
    labels = 22 * (latent + cells)
    assert cache_size(samples, (4, 6)) == CacheSize(
        memory_bytes=labels + (10 + 7 + 2 * 5) * latent,
        disk_bytes=labels + (10 + 2 * 5) * latent,  # rooms' frames once
    )
    wide = cache_size({("rooms", "depth"): 1}, (4, 6), channels=3, variants=2, pair_tasks=("depth",))
    assert wide.memory_bytes == wide.disk_bytes == 2 * (3 * 2 * 3 * cells + cells)
    assert cache_size({}, (4, 6)) == CacheSize(memory_bytes=0, disk_bytes=0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Arguments of the dry steps, which are not done."""
    seen: list[Any] = []

    def instead(*args: Any, **options: Any) -> DryStep:
        seen.append((args, options))
        return STEP

    monkeypatch.setattr("stablemtl.training.estimate.dry_step", instead)
    return seen


def test_estimate_of_a_model(asked: list[Any], make_tiny_model: Callable[..., StableMTLModel]) -> None:
    model = make_tiny_model(("depth", "normal"), multi_stream=False)
    attention = TaskAttentionConfig(heads=2, query_hidden_dim=8)
    samples = {("rooms", "depth"): 4}
    found = estimate(model, (6, 10), LOOP, task_attention=attention, samples=samples, variants=3)
    cache = cache_size(samples, (6, 10), variants=3)
    assert found == replace(ESTIMATE, stage=2, latent_size=(6, 10), cache=cache)
    assert asked[0][0] == ({**options_of(model), "task_attention": attention.to_dict()}, (6, 10), 3)
    assert model.main is None


def test_estimate_of_options(asked: list[Any], single: dict[str, Any]) -> None:
    loop = replace(LOOP, mixed_precision="bf16", gradient_checkpointing=True, accumulation=4)
    found = estimate({**single, "_class_name": "StableMTLModel"}, (6, 10), loop, processes=2)
    assert found == replace(ESTIMATE, latent_size=(6, 10), loop=loop, processes=2)
    flags = {"accumulation": 4, "precision": "bf16", "gradient_checkpointing": True, "prepare": None}
    assert asked == [((single, (6, 10), 3), flags)]


def test_estimate_on_this_machine(
    asked: list[Any], single: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = Speed(product_flops=1e5, convolution_flops=1e6, bandwidth=1e3)
    seen = []
    monkeypatch.setattr("stablemtl.training.estimate.measure_speed", lambda *args: seen.append(args) or speed)
    found = estimate(single, (6, 10), replace(LOOP, mixed_precision="bf16"), device="cpu")
    assert seen == [("cpu", torch.bfloat16)]
    assert found.speed == speed
    assert found.device_bytes == device_memory("cpu")


@pytest.mark.parametrize("wrong", [{"variants": 0}, {"processes": 0}])
def test_wrong_numbers(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="variants and processes must be at least 1"):
        estimate(SD2, (4, 6), LOOP, **wrong)


def test_table_and_markdown_have_the_same_rows() -> None:
    speed = Speed(product_flops=1e5, convolution_flops=1e6, bandwidth=1e3)
    cache = CacheSize(memory_bytes=2_500_000_000, disk_bytes=1_000_000)
    whole = replace(ESTIMATE, speed=speed, cache=cache, device_bytes=100, processes=2)
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        console.print(whole.table())
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capture.get().splitlines()]
    rows = [tuple(line) for line in lines if line]
    assert rows == list(whole.rows())
    assert ("latent cache", "2.5 GB", "all samples, in memory; 1 MB on disk") in rows
    assert ("parameters", "1,000", "train; 50 more do not") in rows
    assert ("time of the run", "40 min", "50 steps, nothing else") in rows  # 50 x 48.2 s
    assert any("does NOT fit" in remark for _, _, remark in rows)
    markdown = whole.markdown().splitlines()
    assert markdown[:2] == ["| what | how much |  |", "| --- | ---: | --- |"]
    assert [tuple(line[2:-2].split(" | ")) for line in markdown[2:]] == rows
    assert not any(what in ("time of a step", "latent cache", "exchange") for what, _, _ in ESTIMATE.rows())


@pytest.mark.parametrize(
    ("steps", "shown"), [(1, "48 s"), (100, "1 h 20 min"), (1000, "13 h 23 min"), (100_000, "55 d 19 h")]
)
def test_durations(steps: int, shown: str) -> None:
    speed = Speed(product_flops=1e5, convolution_flops=1e6, bandwidth=1e3)
    whole = replace(ESTIMATE, speed=speed, loop=replace(LOOP, steps=steps))
    found = {what: much for what, much, _ in whole.rows()}["time of the run"]
    assert found == shown


# machine ----------------------------------------------------------------------------------------------------


def test_speed_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SIDE", {"cpu": 64})
    monkeypatch.setattr(machine, "_MAPS", {"cpu": (1, 8, 6, 10)})
    monkeypatch.setattr(machine, "_VALUES", {"cpu": 1 << 12})
    speed = measure_speed("cpu", seconds=0.02)
    assert speed.product_flops > 1e8
    assert speed.convolution_flops > 1e8
    assert speed.bandwidth > 1e6
    half = measure_speed("cpu", torch.bfloat16, seconds=0.0)
    assert half.product_flops > 0


def test_speed_by_a_stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SIDE", {"cpu": 10})
    monkeypatch.setattr(machine, "_MAPS", {"cpu": (2, 3, 4, 5)})
    monkeypatch.setattr(machine, "_VALUES", {"cpu": 100})
    monkeypatch.setattr(machine, "_shortest", lambda *_: 0.5)
    speed = measure_speed("cpu")
    assert speed == Speed(
        product_flops=2 * 10**3 / 0.5,
        convolution_flops=2 * (2 * 3 * 4 * 5) * 3 * 9 / 0.5,
        bandwidth=2 * 400 / 0.5,
    )


def test_facts_of_this_machine() -> None:
    facts = machine_facts()
    assert facts["torch"] == torch.__version__
    assert int(facts["cores"]) >= 1
    assert facts["threads"] == str(torch.get_num_threads())
    memory = device_memory("cpu")
    assert memory is None or memory > 2**28
    assert device_memory("meta") is None
