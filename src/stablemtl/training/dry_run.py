"""What a run would take, told before it starts and without loading any weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from stablemtl.data import PUBLISHED_SIZES
from stablemtl.models.builders import (
    NANO_DOWNSCALE,
    NANO_TOKENS,
    nano_unet_config,
)
from stablemtl.models.model import StableMTLModel
from stablemtl.models.task_attention_config import nano_task_attention_config
from stablemtl.models.unets import unet_options
from stablemtl.tasks import TASKS
from stablemtl.training.config import StageRun
from stablemtl.training.estimate import Estimate, estimate
from stablemtl.training.lora import add_lora
from stablemtl.training.mixtures import training_mixture
from stablemtl.training.start import init_folder

SD_DOWNSCALE = 8
LONGEST_PROMPT = 5
"""Tokens of the longest task prompt: albedo."""


def estimate_run(run: StageRun, *, device: str | torch.device | None = None, processes: int = 1) -> Estimate:
    """Memory and time of a run.

    Args:
        run: its options. Data that are not there yet are left out of the estimate.
        device: where it would run; by default a GPU if there is one, else the CPU.
        processes: how many would train together.
    Raises:
        FileNotFoundError: the pipeline to start from is not there.
        OSError: the base model cannot be read.
    """
    options, downscale = _network(run)
    height, width = run.data.size or PUBLISHED_SIZES["hypersim"]
    latent = run.data.window or (-(-height // downscale), -(-width // downscale))
    attention = None
    if run.stage == 2:
        attention = run.task_attention or nano_task_attention_config()
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"

    def prepare(model: StableMTLModel) -> None:
        if run.lora is not None:
            trained = model.auxiliary if run.stage == 1 else model.main
            assert trained is not None, "stage 2 has one"
            add_lora(trained, run.lora)

    return estimate(
        options,
        latent,
        run.loop,
        task_attention=attention,
        samples=_samples(run, options["tasks"]) if run.data.cache != "none" else None,
        variants={"none": 1, "flip": 2}.get(run.data.augmentation, run.data.variants),
        processes=processes,
        prepare=prepare,
        device=device,
    )


def _network(run: StageRun) -> tuple[dict[str, Any], int]:
    """Arguments of the model that the run starts from, and pixels per latent cell."""
    if run.init is not None:
        folder = init_folder(run.init)
        if not (folder / "model" / "config.json").is_file():
            raise FileNotFoundError(
                f"init: no model/config.json in {folder}; train stage 1 first, or estimate it instead"
            )
        stored = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
        options = {name: value for name, value in stored.items() if not name.startswith("_")}
        if run.stage == 1:
            options["task_attention"] = None  # it goes on with the single stream
        return options, _downscale(folder / "vae" / "config.json")
    if run.base is not None:
        unet = dict(UNet2DConditionModel.load_config(run.base, subfolder="unet"))
        known = {name: value for name, value in unet.items() if name in unet_options()}
        groups = 2 if run.second_frame == "average" else 3
        known["in_channels"] = groups * known.get("out_channels", 4)
        return _new(run, known, LONGEST_PROMPT), SD_DOWNSCALE
    assert run.codec is not None, "checked by the config"
    place = run.codec / "config.json"
    downscale = _downscale(place) if place.is_file() else NANO_DOWNSCALE
    return _new(run, nano_unet_config(run.second_frame), NANO_TOKENS), downscale


def _new(run: StageRun, unet: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    return {
        "unet": dict(unet),
        "tasks": list(run.tasks),
        "token_lengths": [tokens] * len(run.tasks),
        "second_frame": run.second_frame,
    }


def _downscale(config: Path) -> int:
    values = json.loads(config.read_text(encoding="utf-8"))
    levels = values.get("block_out_channels") or values["encoder_block_out_channels"]
    return 2 ** (len(levels) - 1)


def _samples(run: StageRun, tasks: list[str]) -> dict[tuple[str, str], int] | None:
    """Labelled samples of each (dataset, task) pair; ``None`` if the data are not there."""
    known = {name: TASKS[name] for name in tasks if name in TASKS}
    try:
        entries = training_mixture(run.data, run.loop, known).entries
    except FileNotFoundError:
        return None
    return {(e.dataset.name, e.task): len(e.dataset.indices(e.task)) for e in entries}
