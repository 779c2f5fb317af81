"""Attention scores against the formula of the paper, written out with loops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from stablemtl import StableMTLModel
from stablemtl.training.attention_maps import (
    AttentionScores,
    FrameLatents,
    attention_scores,
    spatial_attention,
    write_attention_maps,
)
from stablemtl.training.attention_pictures import draw_blocks, draw_scores
from stablemtl.training.latents import LatentBatch

TASKS = ("depth", "normal", "optical_flow")
SIZE = (6, 10)


@pytest.fixture(scope="module")
def model(make_tiny_model: Callable[..., StableMTLModel]) -> StableMTLModel:
    return make_tiny_model(TASKS)


def latents(images: int, seed: int = 1, size: tuple[int, int] = SIZE) -> FrameLatents:
    return FrameLatents(*torch.randn(2, images, 4, *size, generator=torch.Generator().manual_seed(seed)))


def direct(model: StableMTLModel, frames: FrameLatents) -> list[Tensor]:
    """softmax(q . k / sqrt(D)) over the other tasks: (images, tokens, heads, main, auxiliary) by block."""
    calls: list[tuple[Any, ...]] = []
    hooks = [
        attention.register_forward_pre_hook(lambda module, args: calls.append((module, *args[:4])))
        for attention in model.task_attention_blocks
    ]
    with torch.no_grad():
        model(*frames)
    for hook in hooks:
        hook.remove()
    found = []
    for module, hidden, keys, _, tasks in calls:
        assert list(tasks) == list(TASKS)
        heads = module.config.heads
        images, tokens = keys.shape[1:3]
        weights = torch.zeros(images, tokens, heads, len(TASKS), len(TASKS))
        for i, task in enumerate(TASKS):
            others = [j for j in range(len(TASKS)) if j != i]
            with torch.no_grad():
                queries = module.query[task](hidden[i * images : (i + 1) * images]).chunk(heads, dim=-1)
            for head, query in enumerate(queries):
                dots = [(query * keys[j].chunk(heads, dim=-1)[head]).sum(-1) for j in others]
                scores = torch.stack(dots, -1) / math.sqrt(query.shape[-1])
                weights[:, :, head, i, others] = torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
        found.append(weights)
    return found


# scores -----------------------------------------------------------------------------------------------------


def test_scores_are_the_formula(model: StableMTLModel) -> None:
    frames = latents(2)
    scores = attention_scores(model, [frames])
    expected = torch.stack([weights.mean((0, 1, 2)) for weights in direct(model, frames)])
    off = ~torch.eye(3, dtype=torch.bool)
    assert scores.by_block.shape == expected.shape == (4, 3, 3)
    torch.testing.assert_close(scores.by_block[:, off], expected[:, off].double(), rtol=1e-5, atol=1e-6)
    assert (scores.by_block[:, off] - 0.5).abs().max() > 0.05  # the model does not attend evenly
    assert scores.tasks == TASKS
    assert scores.images == 2
    assert scores.blocks == (
        "down_blocks.1.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
    )


def test_rows_sum_to_one_and_the_diagonal_is_empty(model: StableMTLModel) -> None:
    scores = attention_scores(model, [latents(1)])
    for matrix in (scores.mean, *scores.by_block):
        assert matrix.diagonal().isnan().all()
        torch.testing.assert_close(matrix.nansum(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(scores.mean[0, 1], scores.by_block[:, 0, 1].mean())


def test_every_image_counts_the_same(model: StableMTLModel) -> None:
    whole = latents(3)
    parts = [FrameLatents(whole.latent[:1], whole.latent_next[:1])]  # type: ignore[index]
    parts.append(FrameLatents(whole.latent[1:], whole.latent_next[1:]))  # type: ignore[index]
    together, apart = attention_scores(model, [whole]), attention_scores(model, iter(parts), batch_tasks=1)
    assert apart.images == 3
    torch.testing.assert_close(apart.mean, together.mean, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_second_frames_matter(model: StableMTLModel) -> None:
    frames = latents(1)
    pair = attention_scores(model, [frames])
    alone = attention_scores(model, [FrameLatents(frames.latent)])
    assert not torch.allclose(pair.mean, alone.mean, equal_nan=True)


def test_batches_of_training_will_do(model: StableMTLModel) -> None:
    frames = latents(1)
    batch = LatentBatch("depth", *frames, target=frames.latent, valid=torch.ones(1, 1, *SIZE) > 0)
    assert torch.equal(
        attention_scores(model, [batch]).mean.nan_to_num(),
        attention_scores(model, [frames]).mean.nan_to_num(),
    )


def test_the_model_is_left_as_it_was(make_tiny_model: Callable[..., StableMTLModel]) -> None:
    model, frames = make_tiny_model(TASKS), latents(1)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        before = model(*frames)
    model.train()
    assert model.main is not None
    model.main.mid_block.eval()  # as a user may have it
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    scores = [attention_scores(model, [frames]) for _ in range(2)]
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))  # nothing was masked: no random number was drawn
    assert torch.equal(scores[0].mean.nan_to_num(), scores[1].mean.nan_to_num())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        after = model.eval()(*frames)
    assert all(torch.equal(after[task], before[task]) for task in TASKS)


def test_modes_come_back_after_an_error(make_tiny_model: Callable[..., StableMTLModel]) -> None:
    model = make_tiny_model(TASKS).train()
    with pytest.raises(ValueError, match="latent must be"):
        attention_scores(model, [FrameLatents(torch.zeros(1, 3, 4, 6))])
    assert model.training


def test_no_batch_and_no_main_stream(
    model: StableMTLModel, make_tiny_model: Callable[..., StableMTLModel]
) -> None:
    with pytest.raises(ValueError, match="batches must hold at least one batch of latents, got none"):
        attention_scores(model, [])
    with pytest.raises(ValueError, match="needs a main stream"):
        attention_scores(make_tiny_model(TASKS, multi_stream=False), [latents(1)])


# in space ---------------------------------------------------------------------------------------------------


def test_spatial_attention_is_the_formula(model: StableMTLModel) -> None:
    frames = latents(2)
    found = spatial_attention(model, frames, "normal", 2, image=1)
    expected = direct(model, frames)[2][1, :, :, 1].mean(1)  # (tokens, auxiliary) of image 1, main task 1
    assert found.shape == (2, 3, 5)  # half of the latents' size
    torch.testing.assert_close(found[0], expected[:, 0].unflatten(0, (3, 5)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], expected[:, 2].unflatten(0, (3, 5)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.sum(0), torch.ones(3, 5))
    assert found[0].std() > 5e-4  # tokens differ


def test_spatial_attention_of_one_frame(model: StableMTLModel) -> None:
    assert spatial_attention(model, FrameLatents(latents(1).latent), "depth", 0).shape == (2, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "semantic"}, ValueError, "unknown task 'semantic'"),
        ({"block": 4}, ValueError, "block 4 does not attend; choose from 0, 1, 2, 3"),
        ({"image": 1}, IndexError, "image must be 0 to 0, got 1"),
        ({"image": -1}, IndexError, "image must be 0 to 0, got -1"),
    ],
)
def test_wrong_places(
    model: StableMTLModel, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        spatial_attention(model, latents(1), **{"task": "depth", "block": 0, **arguments})


# pictures ---------------------------------------------------------------------------------------------------


def scores_of(tasks: int, blocks: int, main: float = 0.7) -> AttentionScores:
    by_block = torch.full((blocks, tasks, tasks), (1 - main) / max(1, tasks - 2), dtype=torch.float64)
    by_block[:, range(tasks), [(i + 1) % tasks for i in range(tasks)]] = main
    by_block[:, range(tasks), range(tasks)] = math.nan
    names = tuple(f"task_{i}" for i in range(tasks))
    return AttentionScores(
        tasks=names, blocks=tuple(f"block.{i}" for i in range(blocks)), by_block=by_block, images=1
    )


def test_files(model: StableMTLModel, tmp_path: Path) -> None:
    path = tmp_path / "attention" / "step_000010.png"
    scores = write_attention_maps(model, [latents(1)], path)
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"step_000010.png", "step_000010_blocks.png", "step_000010.json"}
    content = json.loads(path.with_suffix(".json").read_text())
    assert content == scores.to_dict()
    assert content["images"] == 1
    assert set(content["mean"]["depth"]) == {"normal", "optical_flow"}
    assert sum(content["mean"]["depth"].values()) == pytest.approx(1, abs=1e-5)
    assert content["blocks"]["mid_block.attentions.0"]["normal"]["depth"] == pytest.approx(
        float(scores.by_block[1, 1, 0]), abs=1e-6
    )


def test_colours_of_the_heat_map(tmp_path: Path) -> None:
    draw_scores(scores_of(7, 3), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    share = {colour: count / (picture.width * picture.height) for count, colour in colours}
    # 7 of 49 cells are the grey diagonal, 7 are dark blue, 35 light red; text and grid take some of them.
    grey = sum(value for (r, g, b), value in share.items() if r == g == b == 204)
    blue = sum(value for (r, _, b), value in share.items() if b > r + 40)
    red = sum(value for (r, _, b), value in share.items() if r > b + 10)
    assert grey == pytest.approx(blue, rel=0.35)
    assert red == pytest.approx(5 * grey, rel=0.35)


@pytest.mark.parametrize(("tasks", "blocks", "main"), [(2, 1, 1.0), (4, 5, 1 / 3)])
def test_pictures_of_other_sizes(tmp_path: Path, tasks: int, blocks: int, main: float) -> None:
    scores = scores_of(tasks, blocks, main)
    for draw in (draw_scores, draw_blocks):
        draw(scores, tmp_path / f"{draw.__name__}.png")
        with Image.open(tmp_path / f"{draw.__name__}.png") as picture:
            assert min(picture.size) > 100
