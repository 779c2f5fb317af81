"""Models for ONNX Runtime and OpenVINO: written by :func:`export_pipeline`, read by :func:`load_exported`.

>>> from stablemtl.exported import export_pipeline, load_exported  # doctest: +SKIP
>>> export_pipeline(StableMTLPipeline.from_pretrained("nano"), "nano-onnx")  # doctest: +SKIP
>>> load_exported("nano-onnx")("street.jpg")["depth"].values.shape  # doctest: +SKIP
(480, 640)

The public names are loaded when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.lazy_names import lazy_names

if TYPE_CHECKING:
    from stablemtl.exported.export import export_pipeline
    from stablemtl.exported.manifest import is_exported
    from stablemtl.exported.pipeline import ExportedPipeline, load_exported

__all__ = ["ExportedPipeline", "export_pipeline", "is_exported", "load_exported"]

_HOMES = {
    "ExportedPipeline": ".pipeline",
    "export_pipeline": ".export",
    "is_exported": ".manifest",
    "load_exported": ".pipeline",
}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES)
