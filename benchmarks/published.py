"""The schedule of the released code, from its description, on our modules: the thing to beat.

For each requested task it starts afresh. Each of the six auxiliary streams and the main stream encodes its
prompt and its frames, the auxiliary UNet runs to its end for each of the other tasks, keys and values are
made from their features, the main UNet runs, one image is decoded. For all seven tasks of a pair: 49 UNet
passes, 63 image encodings, 49 prompt encodings, 7 decodings.

Slower still in the released code, and left out here: self-attention through half precision, and task
attention in chunks of 2,048 rows.

Letters: B images, (h, w) latent size, L tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stablemtl import StableMTLPipeline
from stablemtl.models.task_attention import AuxiliaryFeatures, FeatureStream, MainStream, Stream
from stablemtl.pipeline import _CODEC_PIXELS

Images = dict[str, Tensor]

PROMPT_IDS = {
    "semantic": [49406, 29119, 1550, 49407],
    "normal": [49406, 5967, 49407],
    "depth": [49406, 10350, 49407],
    "optical_flow": [49406, 16822, 5608, 49407],
    "scene_flow": [49406, 3562, 5608, 49407],
    "shading": [49406, 37348, 49407],
    "albedo": [49406, 526, 571, 818, 49407],
}


class TextEncoder:
    """A text encoder of Stable Diffusion 2's size, with random weights."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        config = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            hidden_act="gelu",
            max_position_embeddings=77,
        )
        self.network = CLIPTextModel(config).eval().to(device, dtype)
        self.calls = 0

    @torch.no_grad()
    def __call__(self, task: str) -> Tensor:
        """(1, L, 1024)."""
        self.calls += 1
        ids = torch.tensor([PROMPT_IDS[task]], device=self.network.device)
        embedding: Tensor = self.network(ids)[0]
        return embedding


class PublishedSchedule:
    """Frames to label images.

    Args:
        pipe: the modules; its model has a main stream and repeats the frame for tasks of one frame.
        text: encodes the prompt each time; None takes the model's own tokens, at no cost.
    """

    def __init__(self, pipe: StableMTLPipeline, text: TextEncoder | None = None) -> None:
        assert pipe.model.main is not None, "the schedule of the multi-stream model"
        assert pipe.model.second_frame == "duplicate", "as released"
        self.model, self.codec, self.text = pipe.model, pipe.codec, text

    @torch.no_grad()
    def __call__(self, frame: Tensor, frame_next: Tensor | None, tasks: Sequence[str]) -> Images:
        """Task -> image (B, 3, H, W); frames as :func:`measure.make_frames` makes them."""
        size = (frame.shape[-2], frame.shape[-1])
        return {
            task: self.codec.decode(self._main(task, frame, frame_next), size).clamp(-1, 1) for task in tasks
        }

    def _main(self, task: str, frame: Tensor, frame_next: Tensor | None) -> Tensor:
        others = [other for other in self.model.tasks if other != task]
        kept = FeatureStream(self.model.attending_blocks)
        for other in others:
            self._stream(self.model.auxiliary, other, frame, frame_next, kept)
        features = AuxiliaryFeatures(others, kept.features(len(others)), differentiable=False)
        attention: Any = dict(zip(self.model.attending_blocks, self.model.task_attention_blocks, strict=True))
        stream = MainStream([task], features, attention, device=frame.device)
        return self._stream(self.model.main, task, frame, frame_next, stream)

    def _stream(
        self, unet: Any, task: str, frame: Tensor, frame_next: Tensor | None, stream: Stream
    ) -> Tensor:
        """Latent (B, 4, h, w) of one pass of one task."""
        row = self.model.tasks.index(task)
        tokens = self.model.task_tokens[row : row + 1, : self.model.token_lengths[row]]
        if self.text is not None:
            tokens = self.text(task)
        first = second = self.codec.encode(frame).to(self.model.dtype)
        if frame_next is not None and task in self.model.pair_tasks:
            second = self.codec.encode(frame_next).to(self.model.dtype)
        prediction: Tensor = unet(
            torch.cat([first, second, torch.zeros_like(first)], dim=1),
            self.model.timestep,
            tokens.to(first).expand(len(first), -1, -1),
            cross_attention_kwargs={"task_stream": stream},
            return_dict=False,
        )[0]
        return prediction


@torch.no_grad()
def shared_schedule(
    pipe: StableMTLPipeline, frame: Tensor, frame_next: Tensor | None, tasks: Sequence[str]
) -> Images:
    """Ours, from the same frames to the same images, as the pipeline runs it."""
    latents = encode_frames(pipe, frame, frame_next)
    return decode_latents(pipe, pipe.model(*latents, tasks=tasks), (frame.shape[-2], frame.shape[-1]))


def encode_frames(
    pipe: StableMTLPipeline, frame: Tensor, frame_next: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Latents of both frames, encoded together."""
    frames = frame if frame_next is None else torch.cat([frame, frame_next])
    limit = max(1, _CODEC_PIXELS // (frame.shape[-2] * frame.shape[-1]))
    parts = [pipe.codec.encode(part).to(pipe.model.dtype) for part in frames.split(limit)]
    latents = torch.cat(parts).split(len(frame))
    return latents[0], latents[1] if frame_next is not None else None


def decode_latents(pipe: StableMTLPipeline, latents: dict[str, Tensor], size: tuple[int, int]) -> Images:
    """Images of all tasks, decoded together as far as the pipeline would."""
    batch = len(next(iter(latents.values())))
    limit = max(1, _CODEC_PIXELS // (size[0] * size[1] * batch)) * batch
    stacked = torch.cat(list(latents.values()))
    images = torch.cat([pipe.codec.decode(part, size).clamp(-1, 1) for part in stacked.split(limit)])
    return dict(zip(latents, images.split(batch), strict=True))


def count_passes(
    pipe: StableMTLPipeline, text: TextEncoder | None, call: Callable[[], Images]
) -> dict[str, int]:
    """Samples per image that ``call`` sends through each network, counted at a layer in its middle."""
    model, vae = pipe.model, pipe.vae
    layers = {
        "unet_passes": [model.auxiliary.mid_block.resnets[0].norm1, model.main.mid_block.resnets[0].norm1],
        "encodes": [getattr(vae.encoder, "conv_in", None) or vae.encoder.layers[0]],
        "decodes": [getattr(vae.decoder, "conv_in", None) or vae.decoder.layers[0]],
    }
    samples = dict.fromkeys(layers, 0)

    def add(name: str, count: int) -> None:
        samples[name] += count

    handles = [
        layer.register_forward_pre_hook(lambda module, args, name=name: add(name, len(args[0])))
        for name, found in layers.items()
        for layer in found
    ]
    before = 0 if text is None else text.calls
    try:
        batch = len(next(iter(call().values())))
    finally:
        for handle in handles:
            handle.remove()
    counts = {name: count // batch for name, count in samples.items()}
    return {**counts, "prompts": 0 if text is None else text.calls - before}
