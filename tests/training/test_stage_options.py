"""Options of the stages beyond the plain run: where latents come from, what is trained, from where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stablemtl import TASKS, StableMTLModel, StableMTLPipeline
from stablemtl.cli import main
from stablemtl.models.codec import LatentCodec
from stablemtl.models.task_attention import TaskAttentionConfig
from stablemtl.training import stages
from stablemtl.training.adaptive import AdaptiveConfig
from stablemtl.training.checkpoint import latest_checkpoint, read_about
from stablemtl.training.config import StageRun
from stablemtl.training.latents import LatentBatch
from stablemtl.training.lora import LoraOptions
from stablemtl.training.stages import stage_loss, train_stage
from stablemtl.training.start import start_of

Runs = Callable[..., StageRun]
ATTENTION = TaskAttentionConfig(heads=2, query_hidden_dim=8)

pytestmark = pytest.mark.usefixtures("small_networks")


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(StableMTLPipeline.from_pretrained(folder).model.state_dict())


def losses(run: StageRun) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run.out / "train.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# where latents come from ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_live_samples_resume_bit_by_bit(stage_run: Runs, tmp_path: Path, workers: int) -> None:
    data = {"cache": "none", "augmentation": "published", "workers": workers}
    whole = stage_run(1, steps=6, log_every=1, data=data, out=tmp_path / "whole")
    expected = weights(train_stage(whole))
    cut = replace(whole, out=tmp_path / "cut", loop=replace(whole.loop, checkpoint_every=3))

    class Stop(Exception):
        pass

    real = stages.LiveLatents.batch

    def batch(self: Any, step: int, *place: int) -> LatentBatch:
        if step == 4:
            raise Stop
        return real(self, step, *place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages.LiveLatents, "batch", batch)
        with pytest.raises(Stop):
            train_stage(cut)
    assert same(weights(train_stage(cut)), expected)
    assert losses(cut) == losses(whole)


def test_live_samples_do_not_depend_on_workers(stage_run: Runs, tmp_path: Path) -> None:
    found = []
    for workers in (0, 1):
        data = {"cache": "none", "augmentation": "colour", "workers": workers}
        found.append(weights(train_stage(stage_run(1, steps=3, data=data, out=tmp_path / str(workers)))))
    assert same(*found)


def test_latents_on_disk_are_those_in_memory_and_serve_the_next_run(
    stage_run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    real = LatentCodec.encode
    monkeypatch.setattr(LatentCodec, "encode", lambda self, x: encoded.append(len(x)) or real(self, x))
    found, counts = [], []
    for name, cache in (("memory", "memory"), ("disk", "disk"), ("again", "disk")):
        data = {"cache": cache, "augmentation": "flip", "cache_folder": tmp_path / "latents"}
        found.append(weights(train_stage(stage_run(1, steps=14, data=data, out=tmp_path / name))))
        counts.append(sum(encoded))
        encoded.clear()
    assert same(found[1], found[2])
    for name, value in found[0].items():  # in memory, labels are rounded to 16 bits before they are encoded
        torch.testing.assert_close(found[1][name], value, atol=2e-3, rtol=1e-2)
    assert 0 < counts[1] < counts[0]  # frames are shared between tasks
    assert counts[2] == 0
    assert len(list((tmp_path / "latents").iterdir())) == 1


def test_a_damaged_sample_stops_the_run_or_is_counted(
    stage_run: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture, data_root: Path
) -> None:
    import shutil

    root = tmp_path / "data"
    shutil.copytree(data_root / "vkitti2", root / "vkitti2")
    next((root / "vkitti2").rglob("Scene02/**/depth_00001.png")).write_bytes(b"\x89PNG")
    data = {"cache": "none", "augmentation": "none"}
    options = {"steps": 6, "tasks": ("depth",), "root": root, "batch_size": 4}
    with pytest.raises(OSError, match=r"vkitti2 depth, sample 1: .*depth_00001\.png"):
        train_stage(stage_run(1, **options, data=data, out=tmp_path / "stop"))
    train_stage(stage_run(1, **options, data=data | {"on_error": "skip"}, out=tmp_path / "skip"))
    assert "1 samples could not be read and were skipped" in caplog.text


# what is trained, and by which loss -------------------------------------------------------------------------


def test_pixel_loss_by_hand(make_tiny_vae: Callable[[], Any]) -> None:
    codec = LatentCodec(make_tiny_vae())
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 4, 3, 5, generator=generator)
    target, label = torch.randn(2, 4, 3, 5, generator=generator), torch.rand(2, 3, 6, 10, generator=generator)
    valid, pixels = torch.ones(2, 1, 3, 5, dtype=torch.bool), torch.ones(2, 1, 6, 10, dtype=torch.bool)
    valid[0, :, 0], pixels[0, :, :3] = False, False
    batch = LatentBatch("depth", pred, None, target, valid, ("a", "b"), label, pixels)

    class Fixed(torch.nn.Module):
        def forward(self, latent: Tensor, *_: Any, tasks: list[str]) -> dict[str, Tensor]:
            return {tasks[0]: latent}

    plain = stage_loss(Fixed(), batch, codec, 2.0, 0.0)
    both = stage_loss(Fixed(), batch, codec, 2.0, 0.5)
    latent = ((pred - target) ** 2)[valid.expand_as(pred)].mean()
    with torch.no_grad():
        image = ((codec.decode(pred, (6, 10)) - label) ** 2)[pixels.expand_as(label)].mean()
    assert plain.total / plain.count == pytest.approx(2.0 * latent.item(), rel=1e-5)
    assert (both.total / both.count).item() == pytest.approx(2.0 * (latent + 0.5 * image).item(), rel=1e-5)


def test_a_run_with_pixel_loss_learns_through_the_decoder(stage_run: Runs, tmp_path: Path) -> None:
    data = {"cache": "none", "augmentation": "none"}
    found = [
        weights(train_stage(stage_run(1, steps=3, data=data, pixel_loss=weight, out=tmp_path / str(weight))))
        for weight in (0.0, 1.0)
    ]
    assert not same(*found)
    assert all(value.isfinite().all() for value in found[1].values())


def test_lora_trains_adapters_and_merges_them(stage_run: Runs, tiny_base: Path) -> None:
    pytest.importorskip("peft")
    lora = LoraOptions(rank=2, targets=("to_q", "to_v"))
    options = {"base": str(tiny_base), "codec": None, "task_options": {}, "size": (16, 24)}
    run = stage_run(1, steps=3, lora=lora, learning_rate=0.05, **options)
    start = start_of(run).model
    trainable = {name for name, value in start.named_parameters() if value.requires_grad}
    assert all(".lora_" in name or name.startswith("auxiliary.conv_in.") for name in trainable)
    before = {name.replace(".base_layer", ""): value.clone() for name, value in start.state_dict().items()}
    after = weights(train_stage(run))
    assert not any("lora" in name for name in after)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(".to_q." in name or ".to_v." in name or "conv_in" in name for name in changed)
    assert any("to_q" in name for name in changed)


def test_adaptive_sampling_is_kept_in_the_checkpoint(stage_run: Runs) -> None:
    run = stage_run(1, steps=80, batch_size=1, adaptive=AdaptiveConfig(every=20, limit=3.0), log_every=1)
    train_stage(run)
    place = latest_checkpoint(run.out)
    assert place is not None
    history = json.dumps(read_about(place))
    assert '"history": [[' in history
    assert len({task for line in losses(run)[-40:] for task in line}) > 1


def test_without_isolation_tasks_meet_in_a_step(stage_run: Runs) -> None:
    run = stage_run(1, steps=3, accumulation=2, data={"isolated": False}, log_every=1)
    assert train_stage(run).is_dir()
    assert len(losses(run)) == 3
    assert all(len("".join(line)) > len(max(TASKS, key=len)) for line in losses(run)[:1])


# from where -------------------------------------------------------------------------------------------------


def test_both_stages_from_a_base_model(stage_run: Runs, tiny_base: Path, tmp_path: Path) -> None:
    def first_run(name: str, **options: Any) -> StageRun:
        return stage_run(
            1, steps=2, base=str(tiny_base), codec=None, size=(16, 24), out=tmp_path / name, **options
        )

    single = train_stage(first_run("stage1", task_options={}))
    pipe = StableMTLPipeline.from_pretrained(single)
    assert pipe.model.auxiliary.conv_in.in_channels == 12
    assert pipe.codec.downscale == 8
    run = stage_run(2, steps=2, init=single, task_attention=ATTENTION, size=(16, 24), out=tmp_path / "stage2")
    multi = weights(train_stage(run))
    frozen = {name: value for name, value in weights(single).items() if name.startswith("auxiliary.")}
    assert same(frozen, {name: multi[name] for name in frozen})
    averaged = train_stage(first_run("average", task_options={}, second_frame="average"))
    assert StableMTLPipeline.from_pretrained(averaged).model.auxiliary.conv_in.in_channels == 8


def test_a_main_stream_from_the_start(
    stage_run: Runs, tiny_base: Path, tmp_path: Path, make_tiny_model: Callable[..., StableMTLModel]
) -> None:
    run = stage_run(1, steps=1, base=str(tiny_base), codec=None, task_options={}, out=tmp_path / "one")
    single = train_stage(run)
    options = {"init": single, "task_attention": ATTENTION, "base": str(tiny_base)}
    fresh = start_of(stage_run(2, **options, main_from="start")).model
    untrained = start_of(run).model.auxiliary.state_dict()
    assert fresh.main is not None
    assert same(dict(fresh.main.state_dict()), dict(untrained))
    assert not same(dict(fresh.main.state_dict()), dict(fresh.auxiliary.state_dict()))


def test_dry_run(
    stage_run: Runs, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data_root: Path
) -> None:
    out = tmp_path / "none"
    command = ["train", "stage1", "--dry-run", "--base", str(tiny_base), "--data.root", str(data_root)]
    assert main([*command, "--out", str(out), "--loop.batch-size", "1"]) == 0
    text = capsys.readouterr().out
    assert [word for word in text.split() if word.isalnum()][:2] == ["stage", "1"]
    assert " MB" in text
    assert main([*command, "--out", str(out), "--loop.batch-size", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stage"], found["batch_size"]) == (1, 3)
    assert found["bytes"]["peak"] > found["bytes"]["weights"] >= 4 * found["parameters"]["trainable"] > 0
    assert found["seconds"] == pytest.approx(found["seconds_per_step"] * found["steps"])
    assert not out.exists()
    assert main(["train", "stage1", "--json", "--base", str(tiny_base), "--out", str(out)]) == 2
    assert "give dry_run as well" in " ".join(capsys.readouterr().err.split())
    assert main(["train", "stage2", "--dry-run", "--init", str(tmp_path / "no")]) == 2
    assert "init: there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": {"augmentation": "published"}}, "augmentation published changes every sample anew"),
        ({"data": {"cache": "disk"}}, "cache disk shares frames between tasks"),
        ({"data": {"cache": "none", "window": (2, 2)}}, "window needs a cache"),
        ({"data": {"workers": -1, "variants": 0}}, "variants must be at least 1, got 0; workers must not be"),
        ({"data": {"on_error": "ignore"}}, "on_error must be one of raise, skip, got 'ignore'"),
        ({"pixel_loss": 1.0}, "pixel_loss must not be negative, and needs data.cache none"),
        ({"adaptive": AdaptiveConfig(), "data": {"isolated": False}}, r"adaptive needs data\.isolated"),
        ({"base": "somewhere"}, "got base and codec"),
        ({"lora": LoraOptions()}, "lora adapts a trained UNet: it needs base or init, not codec"),
    ],
)
def test_options_that_do_not_go_together(stage_run: Runs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage_run(1, **options)


def test_lora_options() -> None:
    with pytest.raises(ValueError, match="rank must be 1 or more, alpha positive and targets not empty"):
        LoraOptions(rank=0)
