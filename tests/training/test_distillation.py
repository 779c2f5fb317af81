"""A tiny codec learnt from a model's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny

from stablemtl import TASKS, StableMTLPipeline
from stablemtl.models.codec import LatentCodec
from stablemtl.optimization.tiny_codec import disagreement
from stablemtl.training import distillation
from stablemtl.training.config import DataConfig, LoopConfig, TinyCodecRun
from stablemtl.training.distillation import distill_codec, tiny_autoencoder

SIZE = (16, 24)


@pytest.fixture
def tiny_run(data_root: Path, tiny_folder: Path, tmp_path: Path) -> Callable[..., TinyCodecRun]:
    """``tiny_run(steps=3, ...)``: keywords of ``LoopConfig`` or ``TinyCodecRun``."""

    def make(**options: object) -> TinyCodecRun:
        own = {name: options.pop(name) for name in list(options) if name in LoopConfig.__dataclass_fields__}
        loop = LoopConfig(**{"steps": 3, "batch_size": 2, "warmup_steps": 0, "preview_every": 0} | own)  # type: ignore[arg-type]
        defaults = {"out": tmp_path / "run", "width": 4, "blocks": 1, "full_size_blocks": 0}
        data = DataConfig(root=data_root, size=SIZE)
        return TinyCodecRun(model=str(tiny_folder), data=data, loop=loop, **(defaults | options))  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("latent_channels", [3, 4])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_sizes_of_the_tiny_codec(
    tiny_run: Callable[..., TinyCodecRun], levels: int, latent_channels: int
) -> None:
    widths, blocks = (4,) * levels, (1,) * levels
    teacher = LatentCodec(
        AutoencoderTiny(
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            num_encoder_blocks=blocks,
            num_decoder_blocks=blocks,
            latent_channels=latent_channels,
        )
    )
    vae = tiny_autoencoder(teacher, tiny_run(width=6, blocks=2, full_size_blocks=1))
    tiny = LatentCodec(vae)
    assert (tiny.downscale, tiny.latent_channels, tiny.scaling_factor) == (
        teacher.downscale,
        latent_channels,
        1.0,
    )
    images = torch.zeros(1, 3, 16, 24)
    assert tiny.encode(images).shape == teacher.encode(images).shape
    assert tiny.decode(teacher.encode(images)).shape == images.shape
    assert list(vae.config["num_encoder_blocks"]) == [1] + [2] * (levels - 1)
    assert list(vae.config["num_decoder_blocks"]) == [2] * (levels - 1) + [1]


def test_it_comes_closer_to_the_codec(
    tiny_run: Callable[..., TinyCodecRun], tiny_folder: Path, data_root: Path
) -> None:
    run = tiny_run(steps=60, learning_rate=1e-2, width=8, preview_every=30)
    folder = distill_codec(run)
    assert folder == run.out / "tiny_codec"
    teacher = LatentCodec(StableMTLPipeline.from_pretrained(tiny_folder).vae)
    torch.manual_seed(run.loop.seed)
    fresh = LatentCodec(tiny_autoencoder(teacher, run).eval())
    learnt = LatentCodec(AutoencoderTiny.from_pretrained(folder))
    before, after = disagreement(teacher, fresh), disagreement(teacher, learnt)
    assert all(after[part] < 0.8 * before[part] for part in ("encoder", "decoder"))
    lines = [json.loads(line) for line in (run.out / "train.jsonl").read_text().splitlines()]
    validation = [line["validation"] for line in lines if "validation" in line]
    names = {f"{name} {part}" for name in (*TASKS, "frames") for part in ("encoder", "decoder")}
    assert [set(figures) for figures in validation] == [names] * 2
    assert sum(validation[1].values()) < sum(validation[0].values())


def test_the_result_takes_the_place_of_the_codec(
    tiny_run: Callable[..., TinyCodecRun], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablemtl.optimization.tiny_codec.LARGEST_DISAGREEMENT", 1e9)  # three steps
    folder = distill_codec(tiny_run())
    pipe = StableMTLPipeline.from_pretrained(tiny_folder).optimize("fast", tiny_codec=str(folder))
    maps = pipe(torch.rand(3, 13, 18), tasks="depth")
    assert maps["depth"].values.shape == (13, 18)


def test_resumed_run_is_the_same(
    tiny_run: Callable[..., TinyCodecRun], tmp_path: Path, killed_at: Callable[..., Any]
) -> None:
    options = {"steps": 3, "checkpoint_every": 2}
    with killed_at(distillation, step=2):
        distill_codec(tiny_run(**options, out=tmp_path / "cut"))
    assert not (tmp_path / "cut" / "tiny_codec").exists()
    with pytest.raises(ValueError, match="width"):
        distill_codec(tiny_run(**options, out=tmp_path / "cut", width=5))
    resumed, whole = (
        AutoencoderTiny.from_pretrained(distill_codec(tiny_run(**options, out=tmp_path / name))).state_dict()
        for name in ("cut", "whole")
    )
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"full_size_blocks": -1}, "full_size_blocks must be at least 0, got -1"),
    ],
)
def test_wrong_sizes(tiny_run: Callable[..., TinyCodecRun], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_run(**options)


def test_no_such_model(tiny_run: Callable[..., TinyCodecRun], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        distill_codec(replace(tiny_run(), model=str(tmp_path / "none")))
