"""The model that ``stablemtl predict`` was told to take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemtl.commands.predict import pick_device

if TYPE_CHECKING:
    from stablemtl.commands.predict import PredictConfig


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A pipeline, and where it came from."""

    pipe: Any
    """Called like ``StableMTLPipeline``."""
    folder: Path
    """The files that it was loaded from."""
    device: str
    """Where it computes."""


def load_model(config: PredictConfig) -> LoadedModel:
    """Load the model, an exported one too.

    Raises:
        ValueError: no such model, or options that it does not go with.
        OSError: it cannot be read, or fetched from the hub.
    """
    from stablemtl.exported import is_exported

    if is_exported(config.model):
        return _load_exported(config)

    import torch
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.locate import find_model
    from stablemtl.pipeline import StableMTLPipeline

    device = pick_device(config.device)
    if config.dtype == "float16" and device == "cpu":
        raise ValueError("--dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    diffusers_logging.disable_progress_bar()
    folder = find_model(config.model)
    dtype: torch.dtype = getattr(torch, config.dtype)
    pipe: Any = StableMTLPipeline.from_pretrained(config.model, torch_dtype=dtype, device=device)
    if config.optimize != "none":
        choices = {} if config.tiny_codec is None else {"tiny_codec": config.tiny_codec}
        pipe = pipe.optimize(config.optimize, **choices)
    return LoadedModel(pipe=pipe, folder=folder, device=device)


def _load_exported(config: PredictConfig) -> LoadedModel:
    from stablemtl.exported import load_exported

    for option, value, default in (
        ("--device", config.device, ("auto", "cpu")),
        ("--dtype", config.dtype, ("float32",)),
        ("--optimize", config.optimize, ("none",)),
        ("--tiny-codec", config.tiny_codec, (None,)),
    ):
        if value not in default:
            raise ValueError(
                f"{option} {value} does not go with an exported model, which computes as it was exported, on "
                "the CPU. Leave it out, or give the model that it was exported from."
            )
    pipe = load_exported(config.model)
    return LoadedModel(pipe=pipe, folder=Path(config.model), device="cpu, exported")
