"""A tiny autoencoder in the codec's place: it must speak the same latents, and half of it is enough."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from stablemtl import StableMTLPipeline
from stablemtl.models import LatentCodec
from stablemtl.optimization import load_tiny_codec
from stablemtl.optimization.tiny_codec import check_fits, disagreement, probe

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def large() -> AutoencoderKL:
    """Two pixels a cell; like Stable Diffusion's, its latents are scaled to a spread of about 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        vae = AutoencoderKL(
            block_out_channels=(8, 8),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=5.0,
        )
    return vae


@pytest.fixture(scope="module")
def pair() -> tuple[AutoencoderKL, AutoencoderTiny]:
    """An AutoencoderKL and a tiny one, trained together on the test picture to speak the same latents."""
    teacher = large()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        tiny = AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=4,
        )
    codec, student, picture = LatentCodec(teacher), LatentCodec(tiny), probe(64)
    optimizer = torch.optim.Adam([*teacher.parameters(), *tiny.parameters()], 1e-2)
    for _ in range(60):
        latents = codec.encode(picture)
        loss = (student.encode(picture) - latents).square().mean() / latents.detach().var()
        for each in (codec, student):
            loss = loss + (each.decode(latents) - picture).square().mean() / picture.var()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return teacher.eval().requires_grad_(False), tiny.eval().requires_grad_(False)


@pytest.fixture
def pipe(make_tiny_model, tiny_pipeline, pair) -> StableMTLPipeline:
    options = tiny_pipeline.config["task_options"]
    return StableMTLPipeline(make_tiny_model(), copy.deepcopy(pair[0]), options)


@pytest.fixture
def folder(pair, tmp_path: Path) -> Path:
    pair[1].save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def depth(pipe: StableMTLPipeline) -> np.ndarray:
    return pipe(IMAGE, tasks="depth")["depth"].values


def test_the_tiny_one_takes_the_codec_s_place(pipe, pair, folder) -> None:
    theirs = depth(pipe)
    assert pipe.optimize("fast", tiny_codec=folder) is pipe
    assert isinstance(pipe.vae, AutoencoderTiny)
    assert not any(parameter.requires_grad for parameter in pipe.vae.parameters())
    assert pipe.optimizations.tiny_codec == str(folder)
    assert pipe.optimizations.approximate
    ours = depth(pipe)
    assert ours.shape == theirs.shape
    assert not np.allclose(ours, theirs)
    # The latents are the scaled ones: no factor between both.
    x = probe(64)
    ratio = LatentCodec(pair[1]).encode(x).std() / LatentCodec(pair[0]).encode(x).std()
    assert 0.7 < float(ratio) < 1.3


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_one_half_alone(pipe, pair, folder, part) -> None:
    pipe.optimize("fast", tiny_codec=str(folder), tiny_codec_parts=part, channels_last=False)
    assert isinstance(pipe.vae, AutoencoderKL)
    large, tiny = (LatentCodec(vae) for vae in pair)
    first, second = (tiny, large) if part == "encoder" else (large, tiny)
    x = torch.rand(1, 3, 20, 30) * 2 - 1
    with torch.no_grad():
        latents = pipe.codec.encode(x)
        torch.testing.assert_close(latents, first.encode(x))
        torch.testing.assert_close(pipe.codec.decode(latents, (20, 30)), second.decode(latents, (20, 30)))
    with pytest.raises(ValueError, match="half a tiny codec cannot be saved"):
        pipe.save_pretrained("anywhere")
    with pytest.raises(ValueError, match="tile must be at least"):
        pipe.codec.tiling(2)


def test_it_stays(pipe, folder) -> None:
    pipe.optimize("fast", tiny_codec=folder)
    vae = pipe.vae
    assert pipe.optimize("fast").vae is vae
    assert pipe.optimizations.tiny_codec == str(folder)
    with pytest.raises(ValueError, match="changed tiny_codec, tiny_codec_parts of this pipeline"):
        pipe.optimize("exact")
    with pytest.raises(ValueError, match="changed tiny_codec of this pipeline"):
        pipe.optimize("fast", tiny_codec="some/other")


def test_a_pipeline_with_a_tiny_codec_can_be_saved(pipe, folder, tmp_path) -> None:
    pipe.optimize("fast", tiny_codec=folder).save_pretrained(tmp_path / "saved")
    loaded = StableMTLPipeline.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(depth(loaded), depth(pipe), rtol=1e-4)


def test_latents_of_another_family_are_refused(pipe, make_tiny_vae, tmp_path) -> None:
    make_tiny_vae().save_pretrained(tmp_path / "random")
    before = pipe.vae
    with pytest.raises(ValueError, match=r"encoder differs from the codec's by .*trained for other latents"):
        pipe.optimize("fast", tiny_codec=tmp_path / "random")
    assert pipe.vae is before
    assert pipe.optimizations.mode == "default"


def test_only_the_half_in_use_must_fit(pair, make_tiny_vae) -> None:
    codec = LatentCodec(pair[0])
    mixed = copy.deepcopy(pair[1])
    mixed.encoder = make_tiny_vae().encoder
    assert disagreement(codec, LatentCodec(mixed))["encoder"] > 0.5
    check_fits(codec, LatentCodec(mixed), "decoder")
    for parts in ("encoder", "both"):
        with pytest.raises(ValueError, match="its encoder differs"):
            check_fits(codec, LatentCodec(mixed), parts)


def test_a_codec_agrees_with_itself(pair) -> None:
    assert disagreement(LatentCodec(pair[0]), LatentCodec(pair[0])) == {"encoder": 0, "decoder": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_channels": 8}, "tiny_codec has latent_channels 8, but the codec 4"),
        (
            {"encoder_block_out_channels": (8,) * 3, "decoder_block_out_channels": (8,) * 3}
            | {"num_encoder_blocks": (1,) * 3, "num_decoder_blocks": (1,) * 3},
            "tiny_codec has downscale 4, but the codec 2",
        ),
    ],
)
def test_other_sizes_are_refused(pair, options, message) -> None:
    plain = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    plain |= {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    with pytest.raises(ValueError, match=message):
        check_fits(LatentCodec(pair[0]), LatentCodec(AutoencoderTiny(**{**plain, **options})))


def test_what_is_no_tiny_codec(pipe, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere, and it is no hub id"):
        pipe.optimize("fast", tiny_codec="nowhere")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_tiny_codec(tmp_path / "nothing" / "there")
    pipe.vae.save_pretrained(tmp_path / "large")
    with pytest.raises(ValueError, match="holds AutoencoderKL, not an AutoencoderTiny"):
        load_tiny_codec(tmp_path / "large")


def test_loading_does_not_warn_of_what_the_class_wrote(folder, caplog) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["_class_name"] == "AutoencoderTiny"
    vae = load_tiny_codec(folder, torch.bfloat16)
    assert vae.dtype == torch.bfloat16
    assert not vae.training


def test_the_picture_is_always_the_same() -> None:
    assert torch.equal(probe(40), probe(40))
    assert probe(40).shape == (1, 3, 40, 40)
    assert probe(40).abs().max() <= 1
