"""What is evaluated: something that predicts a task's map, and knows what its codec can express at best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from stablemtl.images import processing_size
from stablemtl.tasks.base import Task
from stablemtl.tasks.geometry import resize_nearest

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline


class Predictor(Protocol):
    """What the runner asks for. C, H, W: channels of the task's target, size of the frame."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Task name -> task, with the encoding of the model."""
        ...

    def predict(
        self, task: str, images: Sequence[Tensor], images_next: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Predictions (C, H, W) from frames (3, H, W) in [0, 1] and, where there is one, the next frames."""
        ...

    def round_trip(self, task: str, target: Tensor, valid: Tensor) -> Tensor:
        """The prediction (C, H, W) of a network that puts out exactly the latent of the ground truth.

        Args:
            task: name of the task.
            target: ground truth, shape (C, H, W).
            valid: bool, shape (1, H, W).
        """
        ...


class PipelinePredictor:
    """A pipeline as a predictor.

    Args:
        pipe: the pipeline.
        processing_resolution: as in its call: 0 runs at the frame's own size, so that nothing is resized;
            None at the model's default, as users do.
        single_stream: take the auxiliary network's own prediction.
    """

    def __init__(
        self,
        pipe: StableMTLPipeline,
        *,
        processing_resolution: int | None = 0,
        single_stream: bool = False,
    ) -> None:
        self.pipe = pipe
        self.single_stream = single_stream
        self.processing_resolution: int = (
            pipe.config["default_processing_resolution"]
            if processing_resolution is None
            else processing_resolution
        )

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The pipeline's tasks."""
        return self.pipe.tasks

    def predict(
        self, task: str, images: Sequence[Tensor], images_next: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """See :class:`Predictor`."""
        results = self.pipe(
            list(images),
            list(images_next),
            tasks=[task],
            processing_resolution=self.processing_resolution,
            single_stream=self.single_stream,
            batch_size=len(images),
        )
        maps = (torch.from_numpy(result[task].values) for result in results)
        return [values[None] if values.ndim == 2 else values.permute(2, 0, 1) for values in maps]

    @torch.no_grad()
    def round_trip(self, task: str, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`Predictor`; the codec works at the size that the network works at."""
        operations, vae = self.tasks[task], self.pipe.vae
        size = (target.shape[-2], target.shape[-1])
        small = processing_size(size, self.processing_resolution)
        if small != size:
            target, valid = operations.resize(target, small), resize_nearest(valid, small)
        image = operations.encode(target[None], valid[None])  # (1, 3, h, w) in [-1, 1]
        latent = self.pipe.codec.encode(image.to(device=vae.device, dtype=vae.dtype))
        decoded = operations.decode(self.pipe.codec.decode(latent, size=small).float().cpu())  # (1, C, h, w)
        return (decoded if small == size else operations.resize_prediction(decoded, size))[0]
