from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny

from stablemtl.data import Batch, collate
from stablemtl.models.codec import LatentCodec
from stablemtl.tasks import TASKS, build_tasks
from stablemtl.training import autoencoder
from stablemtl.training.autoencoder import reconstruction_loss, train_codec, unit_scale
from stablemtl.training.codec_images import images_of
from stablemtl.training.config import CodecRun
from stablemtl.training.mixtures import training_mixture


def batch(count: int = 6) -> Batch:
    """Frames of 0.75 and normals that point at nothing but z; the left half is valid."""
    target = torch.zeros(count, 3, 4, 6)
    target[:, 2] = 1.0
    valid = torch.zeros(count, 1, 4, 6, dtype=torch.bool)
    valid[..., :3] = True
    image = torch.full((count, 3, 4, 6), 0.75)
    names = ("",) * count
    return Batch(
        image=image, image_next=None, target=target, valid=valid, task="normal", datasets=names, keys=names
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# images, loss -----------------------------------------------------------------------------------------------


def test_frames_count_everywhere_and_labels_where_they_are_valid() -> None:
    images, weight = images_of(batch(), TASKS, 1.0, generator())
    assert torch.equal(images, torch.full((6, 3, 4, 6), 0.5))
    assert torch.equal(weight, torch.ones(6, 1, 4, 6))
    images, weight = images_of(batch(), TASKS, 0.0, generator())
    assert torch.equal(images, batch().target)
    assert weight[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1])


def test_share_of_frames() -> None:
    images, weight = images_of(batch(2000), TASKS, 0.3, generator())
    frames = (images == 0.5).flatten(1).all(1)
    assert frames.float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(frames, (weight == 1).flatten(1).all(1))
    again, _ = images_of(batch(2000), TASKS, 0.3, generator())
    assert torch.equal(images, again)


def test_reconstruction_loss_by_hand() -> None:
    target = torch.zeros(1, 3, 2, 3)
    weight = torch.ones(1, 1, 2, 3)
    assert reconstruction_loss(target, target, weight).item() == 0.0
    assert reconstruction_loss(target + 0.5, target, weight).item() == pytest.approx(0.5 + 0.25)
    assert reconstruction_loss(target + 0.5, target, weight * 0.1).item() == pytest.approx(0.05 + 0.0025)
    # One pixel of 6 off by 1: 2 of 4 horizontal differences and 1 of 3 vertical ones are off by 1.
    pred = target.clone()
    pred[:, :, 0, 1] = 1.0
    assert reconstruction_loss(pred, target, weight).item() == pytest.approx(
        1 / 6 + 1 / 6 + (2 / 4 + 1 / 3) / 2
    )


def test_unit_scale(codec_run: Callable[..., CodecRun], make_tiny_vae: Callable[[], AutoencoderTiny]) -> None:
    run, vae, tasks = codec_run(), make_tiny_vae(), build_tasks()
    mixture = training_mixture(run.data, run.loop, tasks)
    scale = unit_scale(vae, mixture, tasks, 0.0, batches=7)
    with torch.no_grad():
        labels = [images_of(collate(mixture.batch(step)), tasks, 0.0, generator())[0] for step in range(7)]
        latents = scale * torch.cat([vae.encode(images).latents for images in labels])
    by_channel = latents.movedim(1, 0).flatten(1)
    assert by_channel.var(1).mean().item() == pytest.approx(1.0, rel=1e-4)


# training ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_networks")
def test_train_codec(
    codec_run: Callable[..., CodecRun], make_tiny_vae: Callable[[], AutoencoderTiny]
) -> None:
    run = codec_run(steps=4, log_every=1, preview_every=2)
    folder = train_codec(run)
    assert folder == run.out / "codec"
    vae = AutoencoderTiny.from_pretrained(folder)
    before = make_tiny_vae().state_dict()
    assert not any(
        torch.equal(value, before[name])
        for name, value in vae.state_dict().items()
        if value.is_floating_point()
    )
    assert vae.config["scaling_factor"] > 0
    assert vae.config["scaling_factor"] != 1.0
    codec = LatentCodec(vae)
    assert codec.downscale == 2
    assert codec.encode(torch.zeros(1, 3, 9, 14)).shape == (1, 4, 5, 7)
    found = [json.loads(line) for line in (run.out / "train.jsonl").read_text().splitlines()]
    tasks = [next(iter(line["loss"])) for line in found if "loss" in line]
    assert len(set(tasks)) == 4  # a task a step, in turn
    validation = [line["validation"] for line in found if "validation" in line]
    assert [set(figures) for figures in validation] == [{*TASKS, "frames"}] * 2
    assert {path.name for path in run.out.iterdir()} == {"codec", "checkpoints", "train.jsonl"}


@pytest.mark.usefixtures("small_networks")
def test_resumed_codec_is_the_same(
    codec_run: Callable[..., CodecRun], tmp_path: Path, killed_at: Callable[..., Any]
) -> None:
    options = {"steps": 3, "checkpoint_every": 2}
    with killed_at(autoencoder, step=2):
        train_codec(codec_run(**options, out=tmp_path / "cut"))
    assert not (tmp_path / "cut" / "codec").exists()
    resumed = AutoencoderTiny.from_pretrained(train_codec(codec_run(**options, out=tmp_path / "cut")))
    whole = AutoencoderTiny.from_pretrained(train_codec(codec_run(**options, out=tmp_path / "whole")))
    assert resumed.config["scaling_factor"] == whole.config["scaling_factor"]
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("crop", "size"), [(8, (8, 8)), (20, (16, 20)), (64, (16, 24))])
def test_windows(
    codec_run: Callable[..., CodecRun], monkeypatch: pytest.MonkeyPatch, crop: int, size: tuple[int, int]
) -> None:
    seen = []

    def watched(pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        assert pred.shape == target.shape
        seen.append((tuple(target.shape[-2:]), tuple(weight.shape[-2:])))
        return reconstruction_loss(pred, target, weight)

    monkeypatch.setattr(autoencoder, "reconstruction_loss", watched)
    train_codec(codec_run(steps=1, crop=crop))
    assert seen == [(size, size)]


def test_no_data(codec_run: Callable[..., CodecRun], tmp_path: Path) -> None:
    from dataclasses import replace

    run = codec_run()
    with pytest.raises(FileNotFoundError, match="no data folder"):
        train_codec(replace(run, data=replace(run.data, root=tmp_path / "none")))
