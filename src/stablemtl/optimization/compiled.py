"""The model and its codec with their computation compiled.

Letters: B images, C latent channels, (h, w) latent size, H, W size of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from stablemtl.models import LatentCodec, StableMTLModel
from stablemtl.models.fixed_unet import FixedUNet
from stablemtl.models.passes import Passes
from stablemtl.models.task_attention import (
    AuxiliaryFeatures,
    FeatureStream,
    MainStream,
    TaskAttention,
)
from stablemtl.optimization.graphs import Graphs

NETWORK, ENCODER, DECODER = "network", "encoder", "decoder"
"""Kinds of graphs."""


class CompiledModel:
    """Calls as :class:`StableMTLModel` does without gradients, in one graph from latents to latents.

    With gradients, with networks that are moved to the device for each call, and for UNets that only their
    own ``forward`` serves, the model itself runs.

    Args:
        model: the model; it stays as it is.
        graphs: where the graphs are kept.
    """

    def __init__(self, model: StableMTLModel, graphs: Graphs) -> None:
        self._model, self._graphs = model, graphs
        self._constants: tuple[FixedUNet, ...] = ()

    def __call__(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
    ) -> dict[str, Tensor]:
        """As :meth:`StableMTLModel.forward`."""
        if self._model.main is None:
            return self.single_stream(latent, latent_next, tasks, batch_tasks)
        return self._run(latent, latent_next, tasks, batch_tasks, single=False)

    def single_stream(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
    ) -> dict[str, Tensor]:
        """As :meth:`StableMTLModel.single_stream`."""
        return self._run(latent, latent_next, tasks, batch_tasks, single=True)

    def _run(
        self,
        latent: Tensor,
        latent_next: Tensor | None,
        tasks: Sequence[str] | None,
        batch_tasks: int | None,
        *,
        single: bool,
    ) -> dict[str, Tensor]:
        model = self._model
        names = list(model.tasks if tasks is None else tasks)
        constants = None if torch.is_grad_enabled() or model.offload_device else self._current(single)
        if constants is None:
            network = model.single_stream if single else model
            return network(latent, latent_next, names, batch_tasks)
        fixed = constants
        outputs = self._graphs.run(
            NETWORK,
            (single, tuple(names), batch_tasks),
            lambda: network_pass(model, fixed, names, batch_tasks),
            latent,
            latent_next,
        )
        return dict(zip(names, outputs, strict=True))

    def _current(self, single: bool) -> tuple[FixedUNet, ...] | None:
        """The UNets with their constants; graphs of earlier ones are dropped. None if one has none."""
        model = self._model
        unets = [model.auxiliary] if single or model.main is None else [model.auxiliary, model.main]
        found = tuple(fixed for fixed in map(model.fixed_unet, unets) if fixed is not None)
        if len(found) < len(unets):
            return None
        if any(a is not b for a, b in zip(found, self._constants, strict=False)):
            self._graphs.drop(NETWORK)
            self._constants = found
        elif len(found) > len(self._constants):
            self._constants = found
        return found


def network_pass(
    model: StableMTLModel, constants: Sequence[FixedUNet], tasks: Sequence[str], batch_tasks: int | None
) -> Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]:
    """The computation of a call as one function of tensors, in the order of the model's own.

    Args:
        model: the model, in evaluation mode.
        constants: the auxiliary UNet, and the main one unless the single stream is wanted.
        tasks: tasks to predict.
        batch_tasks: how many tasks at most go through a UNet in one batch; None sends all.
    Returns:
        A function of latents (B, C, h, w) of the frame and, or None, of the next frame; it gives the tasks'
        latents in their order, (B, C, h, w) each.
    """
    auxiliary, *main = constants
    passes = Passes.of(model.tasks, tasks, batch_tasks)

    def one_pass(
        network: FixedUNet, frames: tuple[Tensor, Tensor | None], part: list[str], *stream: Any
    ) -> Sequence[Tensor]:
        inputs, source = model.stream_inputs(*frames, part)
        prediction = network(inputs, source, [model.tasks.index(task) for task in part], *stream)
        return () if prediction is None else prediction.unflatten(0, (len(part), -1)).unbind(0)

    def single(*frames: Any) -> tuple[Tensor, ...]:
        return tuple(output for part in passes.main for output in one_pass(auxiliary, frames, part))

    if not main:
        return single
    blocks = list(model.attending_blocks)
    attention = dict(zip(blocks, cast(Iterable[TaskAttention], model.task_attention_blocks), strict=True))

    def multi(*frames: Any) -> tuple[Tensor, ...]:
        kept = FeatureStream(blocks)
        for part in passes.auxiliary:
            one_pass(auxiliary, frames, part, kept, blocks[-1])
        features = AuxiliaryFeatures(passes.others, kept.features(len(passes.others)), differentiable=False)
        outputs: list[Tensor] = []
        for i, part in enumerate(passes.main):
            last = i + 1 == len(passes.main)
            stream = MainStream(part, features, attention, device=frames[0].device, last=last)
            outputs.extend(one_pass(main[0], frames, part, stream))
        return tuple(outputs)

    return multi


class CompiledCodec(LatentCodec):
    """The codec with both its halves compiled, but where an image goes through in tiles.

    Args:
        vae: the autoencoder.
        graphs: where the graphs are kept.
    """

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny, graphs: Graphs) -> None:
        super().__init__(vae)
        self._graphs = graphs

    def encode(self, images: Tensor, *, tile: int = 0) -> Tensor:
        """See :meth:`LatentCodec.encode`."""
        whole = images.ndim == 4 and not (tile and max(images.shape[-2:]) > tile)
        if not whole or torch.is_grad_enabled():
            return super().encode(images, tile=tile)
        # Whole cells first: sizes that differ by less share a graph.
        bottom, right = -images.shape[-2] % self.downscale, -images.shape[-1] % self.downscale
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        latents: Tensor = self._graphs.run(ENCODER, None, lambda: _encoding(self), images)
        return latents

    def decode(self, latents: Tensor, size: tuple[int, int] | None = None, *, tile: int = 0) -> Tensor:
        """See :meth:`LatentCodec.decode`."""
        pixels = [side * self.downscale for side in latents.shape[-2:]]
        fits = size is None or [-(-side // self.downscale) * self.downscale for side in size] == pixels
        whole = latents.ndim == 4 and fits and not (tile and max(size or pixels) > tile)
        if not whole or torch.is_grad_enabled():
            return super().decode(latents, size, tile=tile)
        images: Tensor = self._graphs.run(DECODER, None, lambda: _decoding(self), latents)
        return images if size is None else images[..., : size[0], : size[1]]


def _encoding(codec: LatentCodec) -> Callable[[Tensor], Tensor]:
    """What :meth:`LatentCodec.encode` does with images of whole cells."""
    vae: Any = codec.vae
    shift, factor = codec.shift_factor, codec.scaling_factor

    def encode(images: Tensor) -> Tensor:
        encoded = vae.encode(images.to(vae.dtype))
        latents = encoded.latent_dist.mode() if isinstance(vae, AutoencoderKL) else encoded.latents
        return (latents - shift) * factor

    return encode


def _decoding(codec: LatentCodec) -> Callable[[Tensor], Tensor]:
    """What :meth:`LatentCodec.decode` does before it crops."""
    vae: Any = codec.vae
    shift, factor = codec.shift_factor, codec.scaling_factor

    def decode(latents: Tensor) -> Tensor:
        return vae.decode(latents.to(vae.dtype) / factor + shift).sample

    return decode
