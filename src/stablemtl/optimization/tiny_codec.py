"""A small autoencoder in place of the codec: one trained to speak the same latents (TAESD and its like)."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from stablemtl.models import LatentCodec
from stablemtl.models.tiles import Tiling
from stablemtl.optimization.options import CodecParts

LARGEST_DISAGREEMENT = 0.5
"""How far a tiny codec may be from the one it replaces, as a share of the spread of what they code. One that
was distilled is far below (that of ``nano``: 0.07 and 0.08); another family's latents give 1 or more."""

_PROBE_CELLS = 32


def load_tiny_codec(source: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> AutoencoderTiny:
    """An ``AutoencoderTiny`` from a folder or the hub, frozen, in evaluation mode.

    Args:
        source: a folder with ``config.json`` and safetensors, or a hub id (``"madebyollin/taesd"``).
        dtype: number type of its weights.
    Raises:
        FileNotFoundError: no such folder.
        ValueError: something else is stored there.
        OSError: the hub cannot be reached, or does not have it.
    """
    text = os.fspath(source)
    folder = Path(text).expanduser()
    if folder.is_dir():
        text = str(folder)
    elif not isinstance(source, str) or len(text.split("/")) != 2 or text[:1] in ("/", ".", "~"):
        raise FileNotFoundError(f"tiny_codec: there is no folder {text}, and it is no hub id 'owner/name'.")
    config = AutoencoderTiny.load_config(text)
    if config.get("_class_name") != "AutoencoderTiny":
        raise ValueError(
            f"tiny_codec: {text} holds {config.get('_class_name', 'no class name')}, not an AutoencoderTiny."
        )
    vae = AutoencoderTiny.from_pretrained(text, use_safetensors=True, torch_dtype=dtype)
    return vae.eval().requires_grad_(False)


def check_fits(codec: LatentCodec, tiny: LatentCodec, parts: CodecParts = "both") -> None:
    """Make sure that ``tiny`` speaks the latents of ``codec``, by their sizes and on a picture.

    Raises:
        ValueError: it does not.
    """
    for name in ("latent_channels", "downscale"):
        if (expected := getattr(codec, name)) != (got := getattr(tiny, name)):
            raise ValueError(
                f"tiny_codec has {name} {got}, but the codec {expected}. Give one trained for its latents."
            )
    for part, value in disagreement(codec, tiny).items():
        if parts in ("both", part) and not value < LARGEST_DISAGREEMENT:
            raise ValueError(
                f"tiny_codec: its {part} differs from the codec's by {value:.2f} of the spread on a test "
                f"picture, which must be less than {LARGEST_DISAGREEMENT}: it was trained for other latents. "
                "For Stable Diffusion 1 and 2 there is madebyollin/taesd."
            )


@torch.no_grad()
def disagreement(codec: LatentCodec, tiny: LatentCodec, images: Tensor | None = None) -> dict[str, float]:
    """Root mean square difference of both, over the standard deviation of the codec's own.

    Args:
        codec: the one to agree with.
        tiny: the one that is judged.
        images: shape (B, 3, H, W), in [-1, 1]; None takes a test picture.
    Returns:
        ``encoder``: of the images' latents. ``decoder``: of the images they make of the codec's latents.
    """
    picture = probe(_PROBE_CELLS * codec.downscale) if images is None else images
    picture = picture.to(codec.vae.device)
    latents = codec.encode(picture).float()
    decoded = codec.decode(latents).float()
    tiny_device = tiny.vae.device
    pairs = {
        "encoder": (latents, tiny.encode(picture.to(tiny_device)).float().to(latents.device)),
        "decoder": (decoded, tiny.decode(latents.to(tiny_device)).float().to(latents.device)),
    }
    return {
        part: float((theirs - ours).square().mean().sqrt() / ours.std())
        for part, (ours, theirs) in pairs.items()
    }


def probe(edge: int) -> Tensor:
    """A test picture (1, 3, edge, edge) in [-1, 1]: smooth colours, and rectangles with sharp borders."""
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator), (edge, edge), mode="bicubic")
    picture = smooth.clamp(0, 1) * 2 - 1
    for row, column, tall, wide in torch.rand(6, 4, generator=generator).tolist():
        rows = slice(int(edge * row), int(edge * (row + 0.4 * tall)))
        columns = slice(int(edge * column), int(edge * (column + 0.4 * wide)))
        picture[..., rows, columns] = torch.rand(3, 1, 1, generator=generator) * 2 - 1
    return picture


class HalfTinyCodec(LatentCodec):
    """The codec with one of its halves from a tiny one.

    Args:
        codec: the codec that is kept, whose other half works.
        tiny: the small one, which follows its inputs to their device.
        part: which half is the tiny one's, ``encoder`` or ``decoder``.
    """

    def __init__(self, codec: LatentCodec, tiny: LatentCodec, part: CodecParts) -> None:
        super().__init__(codec.vae)
        self._tiny = tiny
        self._encoder, self._decoder = (tiny, codec) if part == "encoder" else (codec, tiny)

    def encode(self, images: Tensor, *, tile: int = 0) -> Tensor:
        """See :meth:`LatentCodec.encode`."""
        self._follow(images)
        return self._encoder.encode(images, tile=tile)

    def decode(self, latents: Tensor, size: tuple[int, int] | None = None, *, tile: int = 0) -> Tensor:
        """See :meth:`LatentCodec.decode`."""
        self._follow(latents)
        return self._decoder.decode(latents, size, tile=tile)

    def tiling(self, tile: int) -> Tiling:
        """See :meth:`LatentCodec.tiling`; both halves must be able to."""
        self._encoder.tiling(tile)
        return self._decoder.tiling(tile)

    def _follow(self, x: Tensor) -> None:
        if self._tiny.vae.device != x.device:
            self._tiny.vae.to(x.device)
