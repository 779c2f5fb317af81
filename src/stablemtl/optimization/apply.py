"""Switching optimisations on in a pipeline."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn

from stablemtl.models import LatentCodec, StableMTLModel
from stablemtl.optimization.capabilities import Capabilities
from stablemtl.optimization.compiled import CompiledCodec, CompiledModel
from stablemtl.optimization.graphs import Graphs
from stablemtl.optimization.options import Mode, Optimizations
from stablemtl.optimization.planning import plan
from stablemtl.optimization.quantized import quantize, torchao_quantization
from stablemtl.optimization.tiny_codec import HalfTinyCodec, check_fits, load_tiny_codec

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """What a pipeline computes with."""

    options: Optimizations
    network: StableMTLModel | CompiledModel
    """The model, or what stands in for it."""
    graphs: Graphs | None = None
    """Compiled graphs, if any."""
    half_codec: AutoencoderTiny | None = None
    """The autoencoder of which one half stands in for the codec's."""
    rounded: bool = False
    """Weights were brought to a shorter number type."""

    def check_saving(self) -> None:
        """Make sure that what the pipeline computes with can be written as a pipeline.

        Raises:
            ValueError: it cannot.
        """
        if self.options.int8 != "off" or self.half_codec is not None:
            what = "int8 weights" if self.half_codec is None else "half a tiny codec"
            raise ValueError(
                f"save_pretrained: a pipeline with {what} cannot be saved. Save it before optimize, and "
                "optimize what is loaded."
            )

    def codec(self, vae: AutoencoderKL | AutoencoderTiny) -> LatentCodec:
        """The codec around the pipeline's autoencoder."""
        if self.half_codec is None:
            return self._around(vae)
        parts = self.options.tiny_codec_parts
        return HalfTinyCodec(self._around(vae), self._around(self.half_codec), parts)

    def _around(self, vae: AutoencoderKL | AutoencoderTiny) -> LatentCodec:
        return LatentCodec(vae) if self.graphs is None else CompiledCodec(vae, self.graphs)


def current(pipe: StableMTLPipeline, earlier: Optimized | None) -> Optimizations:
    """What is on in a pipeline, with the number type that it has now."""
    options = Optimizations(device=pipe._execution_device.type) if earlier is None else earlier.options
    return replace(options, dtype=pipe.model.dtype)


def optimize(
    pipe: StableMTLPipeline,
    mode: Mode,
    earlier: Optimized | None = None,
    capabilities: Capabilities | None = None,
    **choices: Any,
) -> Optimized:
    """Switch on what :func:`stablemtl.optimization.plan` says, in place; all is checked first.

    Args:
        pipe: the pipeline, on its device.
        mode: ``exact`` or ``fast``.
        earlier: what an earlier call gave.
        capabilities: of the device; looked up by default.
        choices: fields of :class:`Optimizations` that are settled.
    Returns:
        What the pipeline computes with from now on; ``earlier``, if that would change nothing.
    Raises:
        ValueError: an option that is unknown, out of range, not for this device or mode, or not to be undone;
            a pipeline whose parts are moved for each call; a tiny codec that does not fit.
        ImportError: an optional package is missing.
        OSError: no such tiny codec.
    """
    # 1. Decide, and check what can be checked before anything is touched.
    _check_pipeline(pipe)
    before = current(pipe, earlier)
    if isinstance(choices.get("tiny_codec"), os.PathLike):
        choices["tiny_codec"] = os.fspath(choices["tiny_codec"])
    if isinstance(choices.get("int8_networks"), list):
        choices["int8_networks"] = tuple(choices["int8_networks"])
    here = capabilities or Capabilities.of(pipe._execution_device)
    rounded = earlier is not None and earlier.rounded
    options = plan(mode, here, before.dtype, **_with_lasting(before, rounded, mode, choices))
    if earlier is not None and options == earlier.options:
        return earlier
    if pipe.model.offload_device is not None and (options.compile or options.int8 != "off"):
        raise ValueError(
            "optimize: compile and int8 do not go with enable_stream_offload, which moves the weights at "
            "each call. Choose compile=False and int8='off'."
        )
    if options.int8 != before.int8:
        torchao_quantization()
    tiny = None
    if options.tiny_codec is not None and options.tiny_codec != before.tiny_codec:
        tiny = load_tiny_codec(options.tiny_codec).to(pipe._execution_device)
        check_fits(LatentCodec(pipe.vae.eval()), LatentCodec(tiny), options.tiny_codec_parts)

    # 2. Weights.
    pipe.model.eval()
    half_codec = earlier.half_codec if earlier is not None else None
    if tiny is not None and options.tiny_codec_parts == "both":
        pipe.register_modules(vae=tiny)
    elif tiny is not None:
        half_codec = tiny
    codecs = [pipe.vae.eval()] + ([] if half_codec is None else [half_codec])
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    for part in (pipe.model, *codecs):
        # Where an autoencoder says that it overflows in float16, it stays in float32.
        overflows = options.dtype == torch.float16 and part.config.get("force_upcast", False)
        dtype = torch.float32 if overflows else options.dtype
        if part.dtype != dtype:
            nn.Module.to(
                part, dtype=dtype
            )  # diffusers' own speaks of modules to keep, of which there are none
        part.to(memory_format=memory_format)
    if options.int8 != before.int8:
        count = quantize(pipe.model, options.int8, options.int8_networks)
        logger.info("int8: %d linear layers", count)
        if options.int8 == "dynamic" and not options.compile:
            logger.warning("int8='dynamic' quantises layer by layer, which is slow without compile=True.")

    # 3. How it runs.
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    graphs = Graphs(options.compile_buckets, sizes=options.compile_sizes) if options.compile else None
    network = pipe.model if graphs is None else CompiledModel(pipe.model, graphs)
    return Optimized(
        options=options,
        network=network,
        graphs=graphs,
        half_codec=half_codec,
        rounded=rounded or options.dtype.itemsize < before.dtype.itemsize,
    )


def _check_pipeline(pipe: StableMTLPipeline) -> None:
    if not isinstance(pipe.model, StableMTLModel):
        raise ValueError("optimize: an exported model computes as it was exported. Load the model in torch.")
    for part in (pipe.model, pipe.vae):
        if getattr(part, "_hf_hook", None) is not None or getattr(pipe, "hf_device_map", None):
            raise ValueError(
                "optimize: this pipeline's parts are moved or spread by diffusers. Call optimize first, "
                "then enable_model_cpu_offload; it does not go with device_map."
            )


def _with_lasting(
    before: Optimizations, rounded: bool, mode: Mode, choices: dict[str, Any]
) -> dict[str, Any]:
    """``choices``, and what earlier calls did for good.

    Raises:
        ValueError: a choice, or ``exact``, would have to undo it.
    """
    lasting: dict[str, Any] = {}
    if before.int8 != "off":
        lasting |= {"int8": before.int8, "int8_networks": before.int8_networks}
    if before.tiny_codec is not None:
        lasting |= {"tiny_codec": before.tiny_codec, "tiny_codec_parts": before.tiny_codec_parts}
    if rounded:
        lasting["dtype"] = before.dtype
    changed = [name for name, value in lasting.items() if choices.get(name, value) != value]
    if mode == "exact" and lasting:
        changed = list(lasting)
    if changed:
        raise ValueError(
            f"optimize: an earlier call has changed {', '.join(changed)} of this pipeline, which rounded or "
            "replaced weights and cannot be undone. Load it again with from_pretrained."
        )
    return {**choices, **lasting}
