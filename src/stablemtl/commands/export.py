"""Write a model for ONNX Runtime or OpenVINO, and compare it with torch.

    stablemtl export --model nano --to openvino --out nano-openvino
    stablemtl predict street.jpg --model nano-openvino

The folder holds the codec, the networks and exported.json. Image sizes and the choice of tasks stay open.
Nothing is written if the results differ from torch's. With --json, one document about it is printed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stablemtl.exported.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of ``stablemtl export``."""

    model: str = "nano"
    """Embedded model, folder written by save_pretrained, or hub id."""
    to: Literal["onnx", "openvino"]
    """onnx: for ONNX Runtime. openvino: for OpenVINO."""
    out: Path
    """Folder that receives the exported model."""
    streams: Literal["multi", "single"] | None = None
    """multi: both networks. single: only the auxiliary one, for predictions as with --single-stream. What the
    model has by default."""
    dtype: Literal["float32", "float16"] = "float32"
    """Number type of the written weights; float16 halves the size. Arithmetic is in float32."""
    opset: int = 20
    """ONNX operator set."""
    overwrite: bool = False
    """Replace --out if it is there."""
    json: bool = False
    """Print one JSON document, and nothing else, on stdout."""


def run(config: ExportConfig) -> int:
    """Load, write, compare."""
    if config.out.exists() and not config.overwrite:
        raise ValueError(f"--out {config.out} is there already. Choose another folder, or add --overwrite.")

    import logging

    from diffusers.utils import logging as diffusers_logging

    from stablemtl.commands.json_document import print_json
    from stablemtl.exported import export_pipeline
    from stablemtl.exported.manifest import Manifest
    from stablemtl.pipeline import StableMTLPipeline

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("stablemtl.exported").setLevel(logging.INFO)
    diffusers_logging.disable_progress_bar()
    start = time.perf_counter()
    export_pipeline(
        StableMTLPipeline.from_pretrained(config.model),
        config.out,
        to=config.to,
        streams=config.streams,
        dtype=config.dtype,
        opset=config.opset,
        overwrite=config.overwrite,
    )
    manifest = Manifest.read(config.out)
    if config.json:
        print_json(_document(config, manifest, time.perf_counter() - start))
        return 0
    print(
        f"{manifest.streams}-stream model with {len(manifest.tasks)} tasks: {config.out} "
        f"({_bytes(_size(manifest))}); largest difference from torch {_difference(manifest):.1g}"
    )
    return 0


def _document(config: ExportConfig, manifest: Manifest, seconds: float) -> dict[str, Any]:
    """What is in ``exported.json``, as far as it is of interest after writing it."""
    from stablemtl import __version__

    return {
        "stablemtl": __version__,
        "model": config.model,
        "out": str(config.out),
        "to": manifest.runtime,
        "streams": manifest.streams,
        "tasks": list(manifest.tasks),
        "dtype": manifest.dtype,
        "opset": manifest.opset,
        "bytes": _size(manifest),
        "files": [{"name": name, **facts} for name, facts in manifest.files.items()],
        "largest_difference": _difference(manifest),
        "check": manifest.check,
        "versions": manifest.versions,
        "seconds": seconds,
    }


def _size(manifest: Manifest) -> int:
    return sum(file["bytes"] for file in manifest.files.values())


def _difference(manifest: Manifest) -> float:
    """The largest from torch, over both streams and all sizes that were tried."""
    return max(one["whole"] for one in manifest.check)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
