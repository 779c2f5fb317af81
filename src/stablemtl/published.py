"""Published weights and a base model, joined into a pipeline that needs neither any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel

from stablemtl.models import from_published
from stablemtl.models.builders import default_prompts, embed_prompts
from stablemtl.models.published_files import read_published, task_attention_sizes
from stablemtl.names import choose
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.tasks import TASKS


def convert_published(
    auxiliary: str | Path,
    main: str | Path | None,
    base: str | Path,
    *,
    tasks: Sequence[str] = tuple(TASKS),
    heads: int | None = None,
    processing_resolution: int = 512,
) -> StableMTLPipeline:
    """StableMTL's published weights as a pipeline, in float32, with the published encodings.

    Args:
        auxiliary: single-stream UNet; see ``read_published`` for what may be given.
        main: multi-stream UNet; ``None`` gives the single-stream model.
        base: Stable Diffusion 2 in diffusers format, a folder or a hub id: ``vae``, ``text_encoder`` and
            ``tokenizer`` with weights in safetensors, and the UNet's options in ``unet/config.json``.
        tasks: those that the weights were trained for.
        heads: of the task attention; ``None`` takes those of the run's configuration, or else 4.
        processing_resolution: longest edge at which images are processed by default [px].
    Raises:
        FileNotFoundError: no weights at a path.
        OSError: ``base`` lacks a part.
        ValueError: an unknown task; or the tensors are not those of the described networks: all that are
            missing or left over are listed.
    """
    for task in tasks:
        choose("task", task, TASKS)
    single = read_published(auxiliary)
    multi = None if main is None else read_published(main)
    attention = None if multi is None else task_attention_sizes(multi.state, heads or multi.heads)
    unet_config = single.unet_config or dict(UNet2DConditionModel.load_config(base, subfolder="unet"))
    unet_config.pop("in_channels", None)  # the base model's; that of the weights counts
    model = from_published(
        single.state,
        None if multi is None else multi.state,
        unet_config,
        attention,
        embed_prompts(base, default_prompts(tasks)),
    )
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae", use_safetensors=True)
    return StableMTLPipeline(model=model, vae=vae.eval(), default_processing_resolution=processing_resolution)
