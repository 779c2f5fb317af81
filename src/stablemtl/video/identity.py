"""What tells one model from another, so that an interrupted run is continued with the same one only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from stablemtl.pipeline import StableMTLPipeline

_SAMPLE = 1024  # weights looked at in each tensor


def model_identity(pipe: StableMTLPipeline) -> dict[str, Any]:
    """Everything about the model that its predictions depend on, ready for JSON."""
    exported = getattr(pipe, "fingerprint", None)  # of an exported model, whose weights are in files
    optimizations = getattr(pipe, "optimizations", None)
    return {
        "weights": weights_of(pipe.model, pipe.vae) if exported is None else exported,
        "type": str(pipe.model.dtype),
        "resolution": pipe.config["default_processing_resolution"],
        "optimizations": None if optimizations is None else optimizations.to_dict(),
    }


def weights_of(*modules: nn.Module) -> str:
    """A checksum of names, shapes and a sample of the values of all weights: the same after loading again."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            if isinstance(value, Tensor):
                digest.update(f"{tuple(value.shape)} {value.dtype}".encode())
                digest.update(_sample(value))
    return digest.hexdigest()


def _sample(tensor: Tensor) -> bytes:
    try:
        flat = tensor.detach().flatten()
        return flat[:: max(1, len(flat) // _SAMPLE)].to(torch.float64).cpu().numpy().tobytes()
    except (RuntimeError, NotImplementedError):  # quantised weights of some kinds cannot be indexed
        return b""
