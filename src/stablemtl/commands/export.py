"""Write a model for ONNX Runtime or OpenVINO, and compare it with torch.

    stablemtl export --model nano --to openvino --out nano-openvino
    stablemtl predict street.jpg --model nano-openvino

The folder holds the codec, the networks and exported.json. Image sizes and the choice of tasks stay open.
Nothing is written if the results differ from torch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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


def run(config: ExportConfig) -> int:
    """Load, write, compare."""
    if config.out.exists() and not config.overwrite:
        raise ValueError(f"--out {config.out} is there already. Choose another folder, or add --overwrite.")

    import logging

    from diffusers.utils import logging as diffusers_logging

    from stablemtl.exported import export_pipeline
    from stablemtl.exported.manifest import Manifest
    from stablemtl.pipeline import StableMTLPipeline

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("stablemtl.exported").setLevel(logging.INFO)
    diffusers_logging.disable_progress_bar()
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
    size = sum(file["bytes"] for file in manifest.files.values())
    worst = max(one["whole"] for one in manifest.check)
    print(
        f"{manifest.streams}-stream model with {len(manifest.tasks)} tasks: {config.out} ({_bytes(size)}); "
        f"largest difference from torch {worst:.1g}"
    )
    return 0


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
