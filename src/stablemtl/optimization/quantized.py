"""Linear layers in 8-bit integers, by torchao."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from torch import nn

from stablemtl.models import StableMTLModel
from stablemtl.optimization.options import Int8

LEAST_WIDTH = 64
"""Inputs and outputs of the narrowest layer that is quantised: a narrower one has nothing to save."""

_CONFIGS = {"weights": "Int8WeightOnlyConfig", "dynamic": "Int8DynamicActivationInt8WeightConfig"}


def quantize(model: StableMTLModel, how: Int8, networks: Iterable[str]) -> int:
    """Quantise the linear layers of some parts of a model, in place: per output channel, symmetric.

    Left out are convolutions; projections of the cross-attention and of the timestep, which are constants
    when the model runs (:mod:`stablemtl.models.fixed_unet`); and layers narrower than 64.

    Args:
        model: the model.
        how: ``weights`` or ``dynamic``, see :class:`stablemtl.optimization.Optimizations`.
        networks: ``auxiliary``, ``main`` (the UNet and its task attention are two), ``task_attention``.
    Returns:
        How many layers were quantised.
    Raises:
        ImportError: torchao is not installed.
        ValueError: nothing to quantise.
    """
    torchao = torchao_quantization()
    config = getattr(torchao, _CONFIGS[how])()
    parts = {"auxiliary": model.auxiliary, "main": model.main}
    parts["task_attention"] = getattr(model, "task_attention_blocks", None)
    count = 0
    for name in networks:
        part = parts[name]
        if part is not None:
            count += sum(_wanted(module, path) for path, module in part.named_modules())
            torchao.quantize_(part, config, filter_fn=_wanted)
    if not count:
        raise ValueError(f"int8: {', '.join(networks)} have no linear layer of width {LEAST_WIDTH} or more.")
    model.train(model.training)  # constants are made anew
    return count


def torchao_quantization() -> Any:
    """The module ``torchao.quantization``.

    Raises:
        ImportError: torchao is not installed.
    """
    if importlib.util.find_spec("torchao") is None:
        raise ImportError("int8 needs torchao, which is not installed: pip install 'stablemtl[int8]'.")
    return importlib.import_module("torchao.quantization")


def _wanted(module: nn.Module, path: str) -> bool:
    names = path.split(".")
    return (
        isinstance(module, nn.Linear)
        and not {"attn2", "time_emb_proj", "time_embedding"} & set(names)
        and min(module.in_features, module.out_features) >= LEAST_WIDTH
    )
