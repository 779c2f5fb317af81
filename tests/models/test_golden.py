"""Agreement with the published networks: stored outputs, and the published schedule on the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

PAIR_TASKS = ("optical_flow", "scene_flow")
BLOCKS = (
    *(f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)),
    "mid_block.attentions.0",
    *(f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)),
)


class PublishedSchedule:
    """One main task at a time, one auxiliary pass for each other task, no padding, no batching of tasks."""

    def __init__(self, golden) -> None:
        self.golden = golden
        self.task_weights = {k: v.float() for k, v in golden.main.items() if ".task_" in k or "out_task" in k}
        plain = {k: v for k, v in golden.main.items() if k not in self.task_weights}
        self.auxiliary, self.main = self._unet(golden.auxiliary), self._unet(plain)

    def _unet(self, state: dict[str, Tensor]) -> UNet2DConditionModel:
        unet = UNet2DConditionModel(**self.golden.config["unet"])
        unet.load_state_dict({key: value.float() for key, value in state.items()})
        return unet.eval()

    def _pass(self, unet, task, z_i, z_j, hook) -> Tensor:
        second = z_j if task in PAIR_TASKS and z_j is not None else z_i
        sample = torch.cat([z_i, second, torch.zeros_like(z_i)], dim=1)
        handles = [
            unet.get_submodule(f"{block}.transformer_blocks.0.attn1").register_forward_hook(
                lambda module, args, output, block=block: hook(block, output)
            )
            for block in BLOCKS
        ]
        try:
            return unet(sample, 999, self.golden.tokens[task].expand(len(z_i), -1, -1)).sample
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def __call__(self, task: str, z_i: Tensor, z_j: Tensor | None) -> Tensor:
        features: dict[str, dict[str, Tensor]] = {block: {} for block in BLOCKS}
        for other in self.golden.tasks:
            if other != task:
                self._pass(
                    self.auxiliary, other, z_i, z_j, lambda b, out, t=other: features[b].update({t: out})
                )
        return self._pass(
            self.main, task, z_i, z_j, lambda block, out: out + self._term(block, task, out, features[block])
        )

    def _term(self, block: str, task: str, hidden: Tensor, features: dict[str, Tensor]) -> Tensor:
        heads = self.golden.config["task_attention"]["heads"]

        def get(name: str) -> tuple[Tensor, Tensor]:
            prefix = f"{block}.transformer_blocks.0.attn1.{name}"
            return self.task_weights[f"{prefix}.weight"], self.task_weights[f"{prefix}.bias"]

        def norm(role: str, t: str, x: Tensor) -> Tensor:
            return F.layer_norm(x, x.shape[-1:], *get(f"task_norm_{role}.{t}"))

        q = norm("q", task, hidden)
        for i in (0, 2, 4, 6):
            q = F.linear(F.gelu(q) if i else q, *get(f"task_to_q.{task}.net.{i}"))
        k, v = (
            torch.stack(
                [
                    F.linear(
                        F.gelu(F.linear(norm(role, t, x), *get(f"task_to_{role}.{t}.fc1"))),
                        *get(f"task_to_{role}.{t}.fc2"),
                    )
                    for t, x in features.items()
                ]
            )
            for role in "kv"
        )
        parts = []
        for columns in torch.arange(hidden.shape[-1]).chunk(heads):
            scores = (q[None, ..., columns] * k[..., columns]).sum(-1) / len(columns) ** 0.5  # (A, B, N)
            parts.append((scores.softmax(0)[..., None] * v[..., columns]).sum(0))
        return F.linear(torch.cat(parts, dim=-1), *get("to_out_task"))


@pytest.fixture(scope="module")
def published(golden) -> PublishedSchedule:
    return PublishedSchedule(golden)


@torch.no_grad()
@pytest.mark.parametrize("batch_tasks", [None, 3])
def test_outputs_equal_the_published_ones(golden, golden_model, batch_tasks) -> None:
    inputs = golden.io["z_i"], golden.io["z_j"]
    multi = golden_model(*inputs, batch_tasks=batch_tasks)
    single = golden_model.single_stream(*inputs, batch_tasks=batch_tasks)
    assert list(multi) == list(single) == golden.tasks
    for task in golden.tasks:
        torch.testing.assert_close(multi[task], golden.io[f"multi.{task}"], atol=1e-4, rtol=0)
        torch.testing.assert_close(single[task], golden.io[f"single.{task}"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_single_stream_conversion_alone(golden) -> None:
    model = golden.convert(main=False)
    assert model.main is None
    outputs = model(golden.io["z_i"], golden.io["z_j"])
    for task in golden.tasks:
        torch.testing.assert_close(outputs[task], golden.io[f"single.{task}"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(golden, golden_model) -> None:
    alone = golden_model(golden.io["z_i"][1:], golden.io["z_j"][1:])
    for task in golden.tasks:
        torch.testing.assert_close(alone[task], golden.io[f"multi.{task}"][1:], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("tasks", [["depth"], ["scene_flow"], ["albedo", "optical_flow", "shading"]])
def test_subset_equals_the_full_run(golden, golden_model, tasks) -> None:
    outputs = golden_model(golden.io["z_i"], golden.io["z_j"], tasks=tasks)
    assert list(outputs) == tasks
    for task in tasks:
        torch.testing.assert_close(outputs[task], golden.io[f"multi.{task}"], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("size", "pair"), [((7, 13), True), ((9, 8), False)])
def test_any_latent_size_equals_the_published_schedule(published, golden_model, size, pair) -> None:
    z_i, z_j = torch.randn(2, 1, 4, *size, generator=torch.Generator().manual_seed(3))
    outputs = golden_model(z_i, z_j if pair else None)
    for task in ("depth", "scene_flow"):
        expected = published(task, z_i, z_j if pair else None)
        torch.testing.assert_close(outputs[task], expected, atol=1e-4, rtol=0)
