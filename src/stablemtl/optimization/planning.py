"""Which optimisations to switch on, from what the machine can do."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import torch

from stablemtl.optimization.capabilities import Capabilities
from stablemtl.optimization.options import Mode, Optimizations

CHOICES = tuple(one.name for one in fields(Optimizations) if one.name not in ("mode", "device", "reasons"))
"""What a caller may choose."""

ASKED = "asked for"


def plan(
    mode: Mode,
    capabilities: Capabilities,
    loaded: torch.dtype = torch.float32,
    /,
    **choices: Any,
) -> Optimizations:
    """What to switch on.

    ``exact`` takes only what leaves results equal up to the rounding of the pipeline's number type. ``fast``
    takes a shorter one where the hardware multiplies it faster. What costs accuracy otherwise (int8, a tiny
    codec, the single stream) is switched on by a choice alone.

    Args:
        mode: ``exact`` or ``fast``.
        capabilities: of the device.
        loaded: number type of the pipeline now.
        choices: fields of :class:`Optimizations` that are settled already.
    Raises:
        ValueError: an unknown mode or field, a value out of range, or a number type that the device lacks.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"optimize: unknown mode {mode!r}; choose from {', '.join(get_args(Mode))}.")
    if unknown := sorted(set(choices) - set(CHOICES)):
        raise ValueError(
            f"optimize: unknown option {', '.join(unknown)}; choose from {', '.join(sorted(CHOICES))}."
        )
    chosen: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    def choose(name: str, value: Any, why: str) -> None:
        chosen[name] = choices.get(name, value)
        reasons[name] = ASKED if name in choices else why

    choose("dtype", *_dtype(mode, capabilities, loaded))
    choose("channels_last", *_channels_last(capabilities, chosen["dtype"]))
    choose("compile", *_compile(capabilities))
    choose("threads", capabilities.threads, _threads(capabilities))
    choose("int8", "off", "approximate: on request" if mode == "fast" else "approximate")
    choose("tiny_codec", None, "approximate: on request" if mode == "fast" else "approximate")
    choose("single_stream", False, "other results: on request" if mode == "fast" else "other results")
    result = Optimizations(mode=mode, device=capabilities.device, **{**chosen, **choices}, reasons=reasons)
    return _checked(result, mode, capabilities, loaded)


def _dtype(mode: Mode, here: Capabilities, now: torch.dtype) -> tuple[torch.dtype, str]:
    if now != torch.float32:
        return now, "as it was loaded"
    if mode == "exact":
        return now, "exact keeps the number type"
    if here.fast_bfloat16:
        return torch.bfloat16, f"multiplied faster here ({here.detail})"
    if here.fast_float16:
        return torch.float16, f"multiplied faster here; bfloat16 is not ({here.detail})"
    return now, f"nothing shorter is faster here ({here.detail or 'not known for this device'})"


def _channels_last(here: Capabilities, dtype: torch.dtype) -> tuple[bool, str]:
    if here.device == "cpu":
        return True, "convolutions need no reordering"
    if here.device == "cuda" and dtype != torch.float32:
        return True, "what tensor cores read"
    return False, "no gain known here"


def _compile(here: Capabilities) -> tuple[bool, str]:
    if here.device == "cuda" and here.compiler:
        return True, "fewer passes over memory; the first call of each bucket takes minutes"
    if here.device == "cuda":
        return False, "Triton is not there, or the device is too old"
    return False, "pays where many images follow: choose compile=True" if here.compiler else "no compiler"


def _threads(here: Capabilities) -> str:
    return "no more than usable cores" if here.threads else "right, or set by you"


def _checked(result: Optimizations, mode: Mode, here: Capabilities, now: torch.dtype) -> Optimizations:
    """``result``, if this device can do it and the mode allows it.

    Raises:
        ValueError: it cannot, or does not.
    """
    name = str(result.dtype).removeprefix("torch.")
    if mode == "exact":
        if result.dtype != now:
            raise ValueError(
                f"optimize: dtype {name} is not exact for a pipeline in {str(now).removeprefix('torch.')}. "
                "Choose mode 'fast', or load it with torch_dtype."
            )
        if result.approximate:
            raise ValueError(
                "optimize: int8, tiny_codec and single_stream change results; choose mode 'fast' for them."
            )
    if here.device == "cpu" and result.dtype == torch.float16:
        raise ValueError("optimize: dtype float16 needs a GPU. Choose bfloat16 or float32 on the CPU.")
    if here.device == "cuda" and result.dtype == torch.bfloat16 and not here.fast_bfloat16:
        raise ValueError(
            f"optimize: dtype bfloat16 needs compute capability 8.0, this device has {here.detail}. "
            "Choose float16."
        )
    if result.compile and not here.compiler:
        needed = {"cpu": "a C++ compiler: g++, clang++ or the one that CXX names", "cuda": "Triton"}
        raise ValueError(
            f"optimize: compile is not available on {here.device}"
            + (f"; it needs {needed[here.device]}." if here.device in needed else ".")
        )
    return result
