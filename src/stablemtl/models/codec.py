"""LatentCodec: images to latents and back, for images of any size, with either kind of autoencoder."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn

from stablemtl.models.tiles import Tiling, in_tiles


class LatentCodec:
    """Encodes and decodes images with a diffusers autoencoder, always the same way for the same image.

    - ``AutoencoderKL``: the latent is the posterior's mean times ``scaling_factor`` (0.18215 for Stable
      Diffusion); nothing is sampled.
    - ``AutoencoderTiny``: the encoder's output times ``scaling_factor`` (1 for TAESD, whose latents have the
      scaled range already). Both take and give images in [-1, 1]; ``latent_magnitude`` and ``latent_shift``
      only serve to store latents as bytes, and are not used.

    A ``shift_factor`` in the autoencoder's config is subtracted before scaling.

    Large images can go through in tiles. ``AutoencoderTiny`` has only convolutions: with an overlap of what
    they see, its tiles are the whole's up to rounding. ``AutoencoderKL`` also normalises by the mean and
    variance of all pixels: what it does at the latent's own size, attention included, is done for the whole
    image; the rest in tiles that share their statistics (:func:`stablemtl.models.tiles.in_tiles`) and are
    blended over a quarter of their edge. The result is close, not equal, and takes about twice the time.

    Gradients flow if the autoencoder's parameters ask for them: freeze it, or call under ``torch.no_grad()``,
    to save memory.

    Args:
        vae: the autoencoder. It is used as it is: device, dtype, mode and slicing are the caller's.
    """

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny) -> None:
        if isinstance(vae, AutoencoderKL):
            levels = len(vae.config["block_out_channels"])
        elif isinstance(vae, AutoencoderTiny):
            levels = len(vae.config["encoder_block_out_channels"])
        else:
            raise TypeError(f"vae must be an AutoencoderKL or an AutoencoderTiny, got {type(vae).__name__}.")
        self.vae: Any = vae
        self.downscale = 2 ** (levels - 1)
        """Pixels per latent cell along each axis."""
        self.latent_channels = int(vae.config["latent_channels"])
        self.scaling_factor = float(vae.config["scaling_factor"])
        self.shift_factor = float(vae.config.get("shift_factor") or 0.0)

    def encode(self, images: Tensor, *, tile: int = 0) -> Tensor:
        """Latents (B, C, ceil(H/f), ceil(W/f)) of images, f being ``downscale``.

        Sizes that f does not divide are padded at the bottom and the right by repeating the border.

        Args:
            images: shape (B, 3, H, W), float in [-1, 1].
            tile: longest edge of the tiles of a larger image [px]; 0 for none.
        Raises:
            ValueError: another shape, or a tile too small for this autoencoder.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must be (B, 3, H, W) in [-1, 1], got {tuple(images.shape)}.")
        images = images.to(self.vae.dtype)
        bottom, right = -images.shape[-2] % self.downscale, -images.shape[-1] % self.downscale
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        if tile and max(images.shape[-2:]) > tile:
            latents = self._encode_in_tiles(images, self.tiling(tile))
        else:
            encoded = self.vae.encode(images)
            latents = encoded.latent_dist.mode() if isinstance(self.vae, AutoencoderKL) else encoded.latents
        return (latents - self.shift_factor) * self.scaling_factor

    def decode(self, latents: Tensor, size: tuple[int, int] | None = None, *, tile: int = 0) -> Tensor:
        """Images (B, 3, H, W), about in [-1, 1] and not clipped.

        Args:
            latents: shape (B, C, h, w).
            size: (H, W) of the images that were encoded; None gives (f*h, f*w).
            tile: longest edge of the tiles of a larger image [px]; 0 for none.
        Raises:
            ValueError: another shape, a ``size`` whose latents would not be (h, w), or a tile too small for
                this autoencoder.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels:
            raise ValueError(
                f"latents must be (B, {self.latent_channels}, h, w), got {tuple(latents.shape)}."
            )
        height, width = (
            (latents.shape[-2] * self.downscale, latents.shape[-1] * self.downscale) if size is None else size
        )
        if (-(-height // self.downscale), -(-width // self.downscale)) != tuple(latents.shape[-2:]):
            raise ValueError(
                f"size (H, W) must be one whose latents are {tuple(latents.shape[-2:])} "
                f"at {self.downscale} pixels a cell, got {(height, width)}."
            )
        latents = latents.to(self.vae.dtype) / self.scaling_factor + self.shift_factor
        if tile and max(height, width) > tile:
            images = self._decode_in_tiles(latents, self.tiling(tile))
        else:
            images = self.vae.decode(latents).sample
        return images[..., :height, :width]

    def tiling(self, tile: int) -> Tiling:
        """Tiles of at most ``tile`` px that suit this autoencoder.

        Raises:
            ValueError: they would be too small to hold their own overlap twice.
        """
        edge = tile // self.downscale
        if isinstance(self.vae, AutoencoderKL):
            trim, least = edge // 16, 8
            overlap = 4 * trim
        else:
            trim = self._reach()
            overlap, least = 2 * trim, max(4 * trim, 1)
        if edge < least:
            raise ValueError(
                f"tile must be at least {least * self.downscale} px with this {type(self.vae).__name__}, "
                f"or 0 for none; got {tile}."
            )
        return Tiling(edge=edge, overlap=overlap, trim=trim)

    def _reach(self) -> int:
        """How far the convolutions of an ``AutoencoderTiny`` see [latent cells], the farther of both ways."""
        reach = []
        for network, pixels in ((self.vae.encoder, 1.0), (self.vae.decoder, float(self.downscale))):
            seen = 0.0  # [px]
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d):
                    seen += (layer.kernel_size[0] // 2) * pixels
                    pixels *= layer.stride[0]
                elif isinstance(layer, nn.Upsample):
                    seen += pixels / 2  # a nearest neighbour is up to half a pixel away
                    pixels /= self.vae.config["upsampling_scaling_factor"]
            reach.append(seen)
        return int(-(-max(reach) // self.downscale))

    def _encode_in_tiles(self, images: Tensor, tiling: Tiling) -> Tensor:
        _wake(self.vae)
        scales = {"in_scale": self.downscale, "out_scale": 1}
        encoder = self.vae.encoder
        if isinstance(self.vae, AutoencoderTiny):
            return in_tiles(encoder, images, tiling, **scales)
        down = nn.Sequential(encoder.conv_in, *encoder.down_blocks)
        x = encoder.mid_block(in_tiles(down, images, tiling, **scales))
        x = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(x)))
        if self.vae.quant_conv is not None:
            x = self.vae.quant_conv(x)
        return x[:, : self.latent_channels]  # the mean; the variance follows

    def _decode_in_tiles(self, latents: Tensor, tiling: Tiling) -> Tensor:
        _wake(self.vae)
        scales = {"in_scale": 1, "out_scale": self.downscale}
        decoder = self.vae.decoder
        if isinstance(self.vae, AutoencoderTiny):
            return in_tiles(decoder, latents, tiling, **scales)
        if self.vae.post_quant_conv is not None:
            latents = self.vae.post_quant_conv(latents)
        up = nn.Sequential(*decoder.up_blocks, decoder.conv_norm_out, decoder.conv_act, decoder.conv_out)
        return in_tiles(up, decoder.mid_block(decoder.conv_in(latents)), tiling, **scales)


def _wake(vae: Any) -> None:
    """Brings an offloaded autoencoder to its device, as its own ``encode`` and ``decode`` would."""
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(vae)
