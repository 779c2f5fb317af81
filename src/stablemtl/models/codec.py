"""LatentCodec: images to latents and back, for images of any size, with either kind of autoencoder."""

from __future__ import annotations

import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor


class LatentCodec:
    """Encodes and decodes images with a diffusers autoencoder, always the same way for the same image.

    - ``AutoencoderKL``: the latent is the posterior's mean times ``scaling_factor`` (0.18215 for Stable
      Diffusion); nothing is sampled.
    - ``AutoencoderTiny``: the encoder's output times ``scaling_factor`` (1 for TAESD, whose latents have the
      scaled range already). Both take and give images in [-1, 1]; ``latent_magnitude`` and ``latent_shift``
      only serve to store latents as bytes, and are not used.

    A ``shift_factor`` in the autoencoder's config is subtracted before scaling.

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
        self.vae = vae
        self.downscale = 2 ** (levels - 1)
        """Pixels per latent cell along each axis."""
        self.latent_channels = int(vae.config["latent_channels"])
        self.scaling_factor = float(vae.config["scaling_factor"])
        self.shift_factor = float(vae.config.get("shift_factor") or 0.0)

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, C, ceil(H/f), ceil(W/f)) of images, f being ``downscale``.

        Sizes that f does not divide are padded at the bottom and the right by repeating the border.

        Args:
            images: shape (B, 3, H, W), float in [-1, 1].
        Raises:
            ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must be (B, 3, H, W) in [-1, 1], got {tuple(images.shape)}.")
        images = images.to(self.vae.dtype)
        bottom, right = -images.shape[-2] % self.downscale, -images.shape[-1] % self.downscale
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        encoded = self.vae.encode(images)
        latents = encoded.latent_dist.mode() if isinstance(self.vae, AutoencoderKL) else encoded.latents
        return (latents - self.shift_factor) * self.scaling_factor

    def decode(self, latents: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Images (B, 3, H, W), about in [-1, 1] and not clipped.

        Args:
            latents: shape (B, C, h, w).
            size: (H, W) of the images that were encoded; None gives (f*h, f*w).
        Raises:
            ValueError: another shape, or a ``size`` whose latents would not be (h, w).
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
        images = self.vae.decode(latents.to(self.vae.dtype) / self.scaling_factor + self.shift_factor).sample
        return images[..., :height, :width]
