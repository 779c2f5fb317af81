"""A pipeline whose networks run in ONNX Runtime or OpenVINO; reading images and decoding maps are shared.

Letters: B images, U distinct inputs, R rows (one task of one image), S auxiliary rows, (h, w) latent size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import torch
from torch import Tensor

from stablemtl.exported.engines import Engines, Precision
from stablemtl.exported.manifest import Manifest
from stablemtl.models import LatentCodec
from stablemtl.models.passes import Passes, chunks, distinct_inputs
from stablemtl.models.tiles import Tiling
from stablemtl.pipeline import StableMTLPipeline


class ExportedModel:
    """Stands where :class:`stablemtl.models.StableMTLModel` stands in a pipeline.

    Args:
        manifest: what was exported.
        engines: its graphs.
    """

    dtype = torch.float32
    device = torch.device("cpu")  # of what goes in and comes out
    offload_device: torch.device | None = None
    training = False

    def __init__(self, manifest: Manifest, engines: Engines) -> None:
        self.manifest = manifest
        self.tasks = manifest.tasks
        self.main = "main" if manifest.streams == "multi" else None  # the main network's graph
        self.config: dict[str, Any] = {
            "tasks": list(manifest.tasks),
            "pair_tasks": list(manifest.pair_tasks),
            "second_frame": manifest.second_frame,
        }
        self._engines = engines

    @property
    def precision(self) -> Precision:
        """Number type of the arithmetic."""
        return self._engines.precision

    def __call__(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
    ) -> dict[str, Tensor]:
        """Predicted latents by the streams that were exported; as ``StableMTLModel.forward``."""
        chosen = list(self.tasks if tasks is None else tasks)
        if self.manifest.streams == "single":
            return self._rows("single", latent, latent_next, chosen, batch_tasks, {})

        passes = Passes.of(self.tasks, chosen, batch_tasks)
        pieces = [
            self._engines.run("auxiliary", self._inputs(latent, latent_next, part))
            for part in passes.auxiliary
        ]
        keys_values = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        del pieces
        outputs = {}
        for part in passes.main:
            more = {"attends": attends(part, passes.others, len(latent)), **keys_values}
            outputs.update(self._rows("main", latent, latent_next, part, None, more))
        return outputs

    def single_stream(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
    ) -> dict[str, Tensor]:
        """The auxiliary UNet's own predictions, if it is they that were exported.

        Raises:
            ValueError: the multi-stream model was exported.
        """
        if self.manifest.streams != "single":
            raise ValueError(
                "single_stream=True is not in this exported model, which has the multi-stream network. "
                "Export once more with streams='single', or leave single_stream out."
            )
        return self(latent, latent_next, tasks, batch_tasks)

    def _rows(
        self,
        graph: str,
        latent: Tensor,
        latent_next: Tensor | None,
        tasks: Sequence[str],
        batch_tasks: int | None,
        more: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for part in chunks(tasks, batch_tasks):
            inputs = self._inputs(latent, latent_next, part)
            latents = self._engines.run(graph, inputs | more)["latents"]  # (R, C, h, w), task-major
            outputs.update(zip(part, latents.split(len(latent)), strict=True))
        return outputs

    def _inputs(self, latent: Tensor, latent_next: Tensor | None, tasks: Sequence[str]) -> dict[str, Tensor]:
        """What the three networks share, see :mod:`stablemtl.exported.graphs`."""
        zeros = self.manifest.second_frame == "zero"
        alone = torch.zeros_like(latent) if zeros else latent
        pair = latent if latent_next is None else latent_next
        differ = latent_next is not None or zeros  # a frame repeated is what tasks of one frame see anyway
        distinct, source = distinct_inputs(tasks, self.manifest.pair_tasks if differ else ())
        images = torch.arange(len(latent))
        return {
            "latent": torch.cat([latent] * len(distinct)),
            "latent_next": torch.cat([pair if both else alone for both in distinct]),
            "source": torch.cat([images + i * len(images) for i in source]),
            "tasks": torch.tensor([self.tasks.index(task) for task in tasks]).repeat_interleave(len(latent)),
        }


def attends(tasks: Sequence[str], others: Sequence[str], batch: int) -> Tensor:
    """Which auxiliary rows a row attends to, (R, S) bool: its image's, but not its own task's; task-major."""
    foreign = torch.tensor([[other != task for other in others] for task in tasks])  # (M, A)
    return torch.kron(foreign, torch.eye(batch, dtype=torch.bool))


class _Autoencoder:
    """Stands where diffusers' autoencoder stands; images and latents as in the graphs."""

    dtype = torch.float32
    device = torch.device("cpu")
    training = False

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def encode(self, images: Tensor) -> SimpleNamespace:
        return SimpleNamespace(latents=self._engines.run("encoder", {"images": images})["latents"])

    def decode(self, latents: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=self._engines.run("decoder", {"latents": latents})["images"])


class ExportedCodec(LatentCodec):
    """The codec whose networks were exported; their scaling is part of the graphs."""

    def __init__(self, vae: _Autoencoder, manifest: Manifest) -> None:
        self.vae = vae
        self.downscale = manifest.downscale
        self.latent_channels = manifest.latent_channels
        self.scaling_factor, self.shift_factor = 1.0, 0.0

    def tiling(self, tile: int) -> Tiling:
        """Not available: tiles need the codec's layers one by one.

        Raises:
            ValueError: always.
        """
        raise ValueError("codec_tile is not available for an exported model; give 0, or use the torch model.")


class ExportedPipeline(StableMTLPipeline):
    """An exported model with the call of :class:`stablemtl.StableMTLPipeline`; made by :func:`load_exported`.

    ``codec_tile`` is not available, and ``single_stream`` only where the single-stream model was exported.
    Self-attention is written as two products with a softmax between them: a runtime that does not fuse them
    holds all weights of a block at once, as many as the square of its tokens. ``batch_tasks``
    bounds it.
    """

    @property
    def codec(self) -> LatentCodec:
        """The latent codec in the same runtime."""
        return ExportedCodec(cast(Any, self.vae), self.manifest)

    @property
    def manifest(self) -> Manifest:
        """What was exported, with which versions, and how it compared with torch."""
        return cast(ExportedModel, self.model).manifest

    @property
    def fingerprint(self) -> str:
        """The same for the same files, computed in the same number type; for runs that are continued."""
        return f"{self.manifest.fingerprint} {cast(ExportedModel, self.model).precision}"

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Not available: the device is chosen when a folder is loaded.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "an exported model stays where it is: choose its device with load_exported(folder, device=...)."
        )

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Not available: an exported model is the folder it was loaded from.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "an exported model cannot be saved again; copy the folder it was loaded from."
        )

    def enable_stream_offload(self, device: str | torch.device = "cuda") -> None:
        """Not available; ``load_exported(..., one_at_a_time=True)`` keeps one network in memory.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "an exported model does not move; load_exported(folder, one_at_a_time=True) keeps one network "
            "in memory at a time."
        )


def load_exported(
    folder: str | os.PathLike[str],
    *,
    device: str = "CPU",
    threads: int = 0,
    precision: Precision = "float32",
    one_at_a_time: bool = False,
    verify: bool = False,
) -> ExportedPipeline:
    """Load a model that :func:`stablemtl.exported.export_pipeline` wrote.

    Args:
        folder: the folder.
        device: where to compute: for ONNX Runtime ``CPU``, ``CUDA``, ``COREML`` or the name of an execution
            provider; for OpenVINO ``CPU``, ``GPU``, ``NPU`` or ``AUTO``.
        threads: CPU threads; 0 leaves the runtime's choice.
        precision: number type of the arithmetic. ``bfloat16`` needs OpenVINO and a processor that has it.
        one_at_a_time: keep one network in memory at a time, opened anew for each call.
        verify: compare the files with their checksums first.
    Raises:
        FileNotFoundError: not an exported model, or a file of it is missing.
        ImportError: the runtime is not installed.
        ValueError: a damaged file, or a device or precision that is not available.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder, verify=verify)
    engines = Engines(folder, manifest, device, threads, precision, one_at_a_time)
    engines.open()
    pipe = ExportedPipeline(
        model=cast(Any, ExportedModel(manifest, engines)),
        vae=cast(Any, _Autoencoder(engines)),
        task_options=manifest.task_options,
        default_processing_resolution=manifest.default_processing_resolution,
    )
    pipe.register_to_config(_name_or_path=str(folder))
    return pipe
