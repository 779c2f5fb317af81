"""LatentCodec: what it multiplies, pads and crops."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from stablemtl.models import LatentCodec, nano_codec


def tiny_kl(**changes) -> AutoencoderKL:
    options = {
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "norm_num_groups": 4,
        **changes,
    }
    return AutoencoderKL(**options).eval()


def tiny_taesd(**changes) -> AutoencoderTiny:
    options = {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
        **changes,
    }
    return AutoencoderTiny(**options).eval()


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("make", "factor"), [(tiny_kl, 4), (tiny_taesd, 2), (nano_codec, 4)])
@pytest.mark.parametrize("size", [(8, 12), (9, 11), (1, 7), (16, 5)])
@torch.no_grad()
def test_any_size(make, factor, size) -> None:
    codec = LatentCodec(make())
    assert codec.downscale == factor
    latents = codec.encode(images(*size))
    assert latents.shape == (2, 4, -(-size[0] // factor), -(-size[1] // factor))
    assert codec.decode(latents, size).shape == (2, 3, *size)
    assert codec.decode(latents).shape == (2, 3, latents.shape[2] * factor, latents.shape[3] * factor)


@torch.no_grad()
def test_odd_sizes_repeat_the_border() -> None:
    codec = LatentCodec(tiny_kl())
    image = images(6, 11)
    padded = torch.cat([image, image[..., -1:]], dim=-1)
    padded = torch.cat([padded, padded[..., -1:, :], padded[..., -1:, :]], dim=-2)
    assert torch.equal(codec.encode(image), codec.encode(padded))


@torch.no_grad()
def test_kl_latent_is_the_scaled_mean() -> None:
    vae = tiny_kl()
    codec = LatentCodec(vae)
    image = images(8, 12)
    mean = vae.quant_conv(vae.encoder(image))[:, :4]
    torch.testing.assert_close(codec.encode(image), mean * 0.18215)
    assert torch.equal(codec.encode(image), codec.encode(image))
    torch.testing.assert_close(codec.decode(mean * 0.18215), vae.decode(mean).sample)


@torch.no_grad()
def test_shift_factor() -> None:
    vae = tiny_kl(shift_factor=0.5, scaling_factor=2.0)
    codec = LatentCodec(vae)
    mean = vae.encode(images(8, 12)).latent_dist.mode()
    torch.testing.assert_close(codec.encode(images(8, 12)), (mean - 0.5) * 2)
    torch.testing.assert_close(codec.decode((mean - 0.5) * 2), vae.decode(mean).sample)


@torch.no_grad()
def test_tiny_latent_is_the_scaled_output_of_an_encoder_of_images_in_minus_one_to_one() -> None:
    vae = tiny_taesd(scaling_factor=2.0)
    codec = LatentCodec(vae)
    image = images(8, 12)
    latents = codec.encode(image)
    torch.testing.assert_close(latents, 2 * vae.encoder.layers((image + 1) / 2))  # its layers see [0, 1]
    layers = vae.decoder.layers(torch.tanh(latents / 2 / 3) * 3)
    torch.testing.assert_close(codec.decode(latents), 2 * layers - 1)


@torch.no_grad()
def test_dtype_is_the_autoencoders() -> None:
    codec = LatentCodec(tiny_taesd().to(torch.bfloat16))
    latents = codec.encode(images(7, 9))
    assert latents.dtype == torch.bfloat16
    assert codec.decode(latents.float(), (7, 9)).dtype == torch.bfloat16


def test_gradients_reach_the_autoencoder() -> None:
    vae = tiny_taesd()
    codec = LatentCodec(vae)
    codec.decode(codec.encode(images(5, 7)), (5, 7)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())


def test_errors() -> None:
    codec = LatentCodec(tiny_taesd())
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\) in \[-1, 1\], got \(3, 8, 8\)"):
        codec.encode(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match=r"latents must be \(B, 4, h, w\), got \(1, 3, 4, 4\)"):
        codec.decode(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"latents are \(4, 5\) at 2 pixels a cell, got \(8, 11\)"):
        codec.decode(torch.zeros(1, 4, 4, 5), (8, 11))
    with pytest.raises(TypeError, match="AutoencoderKL or an AutoencoderTiny, got Linear"):
        LatentCodec(torch.nn.Linear(1, 1))


# tiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "tile"), [(nano_codec, 192), (tiny_taesd, 56)])
@torch.no_grad()
def test_tiles_of_a_tiny_autoencoder_are_exact(make, tile) -> None:
    codec = LatentCodec(make())
    image = images(30, 2 * tile - 25)
    latents = codec.encode(image)
    assert len(codec.tiling(tile).spans(latents.shape[-1])) > 1
    torch.testing.assert_close(codec.encode(image, tile=tile), latents, atol=1e-5, rtol=1e-5)
    size = (30, 2 * tile - 25)
    expected = codec.decode(latents, size)
    torch.testing.assert_close(codec.decode(latents, size, tile=tile), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tiles_see_as_far_as_the_autoencoder() -> None:
    codec = LatentCodec(tiny_taesd())
    # 1 + 3 convolutions of 2 px, half of 2 px for the nearest neighbour, 1 + 3 + 1 of 1 px: 14 px
    assert codec.tiling(56).trim == 7
    latents = torch.zeros(1, 4, 1, 41)
    changed = latents.clone()
    changed[..., 20] = 1
    moved = (codec.decode(changed) - codec.decode(latents)).abs().sum((0, 1, 2)).nonzero()
    assert 20 - 7 <= moved.min() // 2 < 20 - 5
    assert 20 + 5 < moved.max() // 2 <= 20 + 7


@torch.no_grad()
def test_tiles_of_a_kl_autoencoder_are_close() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = LatentCodec(tiny_kl(use_quant_conv=False))
    image = torch.nn.functional.interpolate(images(12, 20), (96, 160), mode="bicubic")
    latents = codec.encode(image)
    tiled = codec.encode(image, tile=64)
    assert tiled.shape == latents.shape
    assert not torch.equal(tiled, latents)
    assert (tiled - latents).square().mean() < 0.05 * latents.var()
    decoded = codec.decode(latents)
    tiled = codec.decode(latents, tile=64)
    assert tiled.shape == decoded.shape
    assert (tiled - decoded).square().mean() < 0.1 * decoded.var()


@torch.no_grad()
def test_images_no_larger_than_a_tile_go_through_whole() -> None:
    codec = LatentCodec(tiny_kl())
    latents = codec.encode(images(32, 48))
    assert torch.equal(codec.encode(images(32, 48), tile=48), latents)
    assert torch.equal(codec.decode(latents, tile=48), codec.decode(latents))


@torch.no_grad()
def test_tiles_with_an_offloaded_autoencoder() -> None:
    class Hook:
        calls = 0

        def pre_forward(self, module: torch.nn.Module) -> None:
            self.calls += 1

    vae = tiny_kl()
    vae._hf_hook = Hook()
    codec = LatentCodec(vae)
    codec.decode(codec.encode(images(40, 48), tile=32), tile=32)
    assert vae._hf_hook.calls == 2


@pytest.mark.parametrize(("make", "least"), [(tiny_kl, 32), (tiny_taesd, 56), (nano_codec, 192)])
def test_tiles_too_small(make, least) -> None:
    codec = LatentCodec(make())
    assert codec.tiling(least).edge == least // codec.downscale
    with pytest.raises(ValueError, match=rf"tile must be at least {least} px .*got {least - 1}"):
        codec.tiling(least - 1)
