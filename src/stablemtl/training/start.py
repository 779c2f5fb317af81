"""Where a run starts: the networks to train, the codec, and the encodings of the tasks."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from stablemtl.locate import EMBEDDED, find_model
from stablemtl.models.builders import from_base, nano_model
from stablemtl.models.model import StableMTLModel
from stablemtl.models.task_attention_config import nano_task_attention_config
from stablemtl.names import choose
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.tasks import build_tasks
from stablemtl.tasks.base import Task
from stablemtl.training.config import StageRun
from stablemtl.training.lora import add_lora

logger = logging.getLogger(__name__)

DEFAULT_RESOLUTION = 512
"""Longest edge at which models trained at the published sizes process images by default [px]."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run trains and works with."""

    model: StableMTLModel
    """The network to train; what requires a gradient is trained."""
    vae: AutoencoderKL | AutoencoderTiny
    """The codec, frozen."""
    task_options: dict[str, dict[str, Any]]
    """Encoding of each task, as JSON values."""

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks of the model with their encodings."""
        every = build_tasks(self.task_options)
        return {name: choose("task", name, every) for name in self.model.tasks}

    def pipeline(self, model: StableMTLModel, size: tuple[int, int] | None) -> StableMTLPipeline:
        """A pipeline around ``model``, which processes images at the training size (height, width)."""
        return StableMTLPipeline(
            model=model,
            vae=self.vae,
            task_options=self.task_options,
            default_processing_resolution=DEFAULT_RESOLUTION if size is None else max(size),
        )


def start_of(run: StageRun) -> Start:
    """The networks that a run starts from.

    Raises:
        FileNotFoundError: the codec or the pipeline to start from is not there.
        OSError: the base model lacks a part.
        ValueError: an unknown task, or stage 2 is to start from a pipeline that has a main stream already.
        ImportError: LoRA without peft.
    """
    if run.init is not None:
        start = _from_pipeline(run, run.init)
    elif run.base is not None:
        start = _from_base(run, run.base)
    else:
        assert run.codec is not None, "checked by the config"
        start = _from_codec(run, run.codec)
    if run.stage == 2:
        _add_main_stream(run, start.model)
    if run.lora is not None:
        add_lora(start.model.auxiliary if run.stage == 1 else _main(start.model), run.lora)
    start.vae.eval().requires_grad_(False)
    return start


def _from_codec(run: StageRun, codec: Path) -> Start:
    """A new small model for a trained codec."""
    if not (codec / "config.json").is_file():
        raise FileNotFoundError(
            f"codec: no config.json in {codec}; train one with `stablemtl train nano-codec`"
        )
    model = nano_model(run.tasks, second_frame=run.second_frame, seed=run.loop.seed)
    # Random output weights give values far larger than latents: start from zero instead.
    for parameter in model.auxiliary.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    return Start(
        model=model, vae=AutoencoderTiny.from_pretrained(codec), task_options=_plain(run.task_options)
    )


def _from_base(run: StageRun, base: str) -> Start:
    """A model that starts from Stable Diffusion's weights, with its codec."""
    model = from_base(base, run.tasks, second_frame=run.second_frame)
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae", use_safetensors=True)
    return Start(model=model, vae=vae, task_options=_plain(run.task_options))


def init_folder(init: Path) -> Path:
    """The folder that ``init`` means: itself, or that of an embedded model if there is none of this name.

    Raises:
        FileNotFoundError: neither.
    """
    if init.is_dir():
        return init
    if str(init) in EMBEDDED:
        return find_model(str(init))
    raise FileNotFoundError(
        f"init: there is no folder {init}; the recipe of the step before writes it "
        "(`stablemtl train --help` lists them), or give another one with --init"
    )


def _from_pipeline(run: StageRun, init: Path) -> Start:
    """The single-stream model of a pipeline, with its codec and encodings."""
    pipeline = StableMTLPipeline.from_pretrained(init_folder(init))
    model = pipeline.model
    if model.main is not None:
        if run.stage == 2:
            raise ValueError(
                f"init: {init} has a main stream already; give a pipeline of stage 1, which has none"
            )
        logger.info("stage 1 goes on with the single stream of %s, without its main stream", init)
        model.drop_main_stream()
    return Start(model=model, vae=pipeline.vae, task_options=_plain(pipeline.config["task_options"]))


def _add_main_stream(run: StageRun, model: StableMTLModel) -> None:
    initial = None
    if run.main_from == "start":
        if run.base is not None:
            initial = from_base(run.base, list(model.tasks), second_frame=model.second_frame).auxiliary
        else:
            initial = nano_model(list(model.tasks), second_frame=model.second_frame).auxiliary
            for parameter in initial.conv_out.parameters():
                torch.nn.init.zeros_(parameter)
    model.add_main_stream(run.task_attention or nano_task_attention_config(), initial=initial)


def _main(model: StableMTLModel) -> Any:
    assert model.main is not None, "added before"
    return model.main


def _plain(options: Any) -> dict[str, dict[str, Any]]:
    return json.loads(json.dumps({name: dict(values) for name, values in options.items()}))
