"""What is evaluated: something that predicts a task's map, and knows what its codec can express at best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from stablemtl.data.sample import Sample
from stablemtl.evaluation.holes import filled
from stablemtl.images import processing_size
from stablemtl.tasks.base import Task
from stablemtl.tasks.geometry import resize_nearest

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline


class Predictor(Protocol):
    """What an evaluation asks for. C, H, W: channels of the task's target, size of the frame."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Task name -> task, with the encoding of the model."""
        ...

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        """Predictions of the samples' task, (C, H, W) each, as the task decodes them.

        Args:
            samples: of one task and one size. Their labels are for those who read predictions by name or play
                the oracle; a model looks at the frames alone.
            resolution: longest edge at which a network should run [px]; 0 for the frame's own size, None for
                the network's default.
        """
        ...

    def round_trip(self, sample: Sample, *, resolution: int | None) -> Tensor | None:
        """The prediction (C, H, W) of a network that puts out exactly the latent of the ground truth.

        None where predictions come from no codec. Arguments as in :meth:`predict`.
        """
        ...


class PipelinePredictor:
    """A pipeline as a predictor.

    Args:
        pipe: the pipeline.
        single_stream: take the auxiliary network's own prediction.
    """

    def __init__(self, pipe: StableMTLPipeline, *, single_stream: bool = False) -> None:
        self.pipe = pipe
        self.single_stream = single_stream

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The pipeline's tasks."""
        return self.pipe.tasks

    def predict(self, samples: Sequence[Sample], *, resolution: int | None) -> list[Tensor]:
        """See :class:`Predictor`."""
        task = samples[0].task
        results = self.pipe(
            [sample.image for sample in samples],
            [sample.image_next for sample in samples],
            tasks=[task],
            processing_resolution=resolution,
            single_stream=self.single_stream,
            batch_size=len(samples),
        )
        maps = (torch.from_numpy(result[task].values) for result in results)
        return [values[None] if values.ndim == 2 else values.permute(2, 0, 1) for values in maps]

    @torch.no_grad()
    def round_trip(self, sample: Sample, *, resolution: int | None) -> Tensor:
        """See :class:`Predictor`; the codec works at the size that the network works at, without holes."""
        operations, vae = self.tasks[sample.task], self.pipe.vae
        target, valid = sample.target, sample.valid
        if not operations.spec.photometric:  # those mean something everywhere, and their SSIM looks there
            target = filled(target, valid)
        size = (target.shape[-2], target.shape[-1])
        if resolution is None:
            resolution = self.pipe.config["default_processing_resolution"]
        small = processing_size(size, resolution)
        if small != size:
            target, valid = operations.resize(target, small), resize_nearest(valid, small)
        image = operations.encode(target[None], valid[None])  # (1, 3, h, w) in [-1, 1]
        latent = self.pipe.codec.encode(image.to(device=vae.device, dtype=vae.dtype))
        decoded = operations.decode(self.pipe.codec.decode(latent, size=small).float().cpu())  # (1, C, h, w)
        return (decoded if small == size else operations.resize_prediction(decoded, size))[0]
