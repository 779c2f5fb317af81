"""From a pipeline to a folder for ONNX Runtime or OpenVINO."""

from __future__ import annotations

import copy
import gc
import importlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from stablemtl.exported.check import compare, require_close
from stablemtl.exported.graphs import graph_builders
from stablemtl.exported.manifest import Manifest, Runtime, Streams, WeightType, describe_files
from stablemtl.exported.onnx_files import write_onnx
from stablemtl.exported.packages import require
from stablemtl.exported.pipeline import ExportedPipeline, load_exported
from stablemtl.pipeline import StableMTLPipeline
from stablemtl.writers import staged_folder

logger = logging.getLogger(__name__)

OPSET = 20
"""ONNX operator set by default: the first with the exact GELU."""

_LARGE_BYTES = 2 << 30
"""Beside torch's networks of this size, one of the exported ones is in memory at a time."""

_PACKAGES: dict[Runtime, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


def export_pipeline(
    pipe: StableMTLPipeline,
    out: str | os.PathLike[str],
    *,
    to: Runtime = "onnx",
    streams: Streams | None = None,
    dtype: WeightType = "float32",
    opset: int = OPSET,
    overwrite: bool = False,
) -> Path:
    """Write a model for ONNX Runtime or OpenVINO, and compare it with torch.

    The folder holds the codec's encoder and decoder, the networks (see :mod:`stablemtl.exported.graphs`), and
    ``exported.json``. Image size, number of images and choice of tasks stay open. Nothing is written if the
    results differ from torch's by more than 1e-3 (0.05 for weights in float16) at one of two sizes.

    Args:
        pipe: the model. It is used in float32 on the CPU; a copy is made if it is not there.
        out: folder to make.
        to: ``onnx`` or ``openvino``.
        streams: ``multi`` or ``single`` (StableMTL-S); what the model has by default.
        dtype: number type of the weights in the files; ``float16`` halves them. Arithmetic is in float32.
        opset: ONNX operator set.
        overwrite: replace ``out`` if it is there.
    Returns:
        The folder.
    Raises:
        ImportError: a package of the extra ``onnx`` or ``openvino`` is missing.
        FileExistsError: ``out`` is there, or is a file.
        ValueError: an unknown choice, streams that the model does not have, or a network that cannot be
            exported.
        RuntimeError: the exported model differs from torch.
    """
    streams = _check(pipe, to, streams, dtype)
    out = Path(out)
    if out.is_file() or (out.exists() and not overwrite):
        raise FileExistsError(f"{out} is there already. Choose another folder, or overwrite=True.")
    require(to, *_PACKAGES[to])
    with _plain(pipe) as plain, staged_folder(out) as folder:
        manifest = _manifest(plain, to, streams, dtype, opset)
        for name, build in graph_builders(plain, streams).items():
            logger.info("writing %s", manifest.graphs[name])
            path = folder / f"{name}.onnx"
            write_onnx(build(), path, opset=opset, half=dtype == "float16" and to == "onnx")
            gc.collect()
            if to == "openvino":
                _to_openvino(path, half=dtype == "float16")
        manifest = replace(manifest, files=describe_files(folder.iterdir()))
        manifest.write(folder)
        comparisons = compare(plain, _open(folder), streams == "single")
        for one in comparisons:
            logger.info(
                "%dx%d px, %d x %d frames: largest difference from torch %.2g",
                *(one.height, one.width, one.images, one.frames, one.largest),
            )
        require_close(comparisons, dtype)
        replace(manifest, check=[asdict(one) for one in comparisons]).write(folder)
        if out.exists():
            shutil.rmtree(out)
    return out


def _check(pipe: StableMTLPipeline, to: Runtime, streams: Streams | None, dtype: WeightType) -> Streams:
    """The streams to export, once the choices are known to make sense."""
    for name, value, kind in (("to", to, Runtime), ("dtype", dtype, WeightType)):
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}.")
    if isinstance(pipe, ExportedPipeline):
        raise ValueError("this model was exported already; export the one it was made of.")
    has_main = pipe.model.main is not None
    if streams is None:
        return "multi" if has_main else "single"
    if streams not in get_args(Streams):
        raise ValueError(f"streams must be one of {', '.join(get_args(Streams))}, got {streams!r}.")
    if streams == "multi" and not has_main:
        raise ValueError(
            "streams='multi' needs a main network, which this single-stream model does not have."
        )
    return streams


def _manifest(
    pipe: StableMTLPipeline, to: Runtime, streams: Streams, dtype: WeightType, opset: int
) -> Manifest:
    packages = ("stablemtl", "torch", "diffusers", *_PACKAGES[to])
    codec = pipe.codec
    return Manifest(
        runtime=to,
        streams=streams,
        tasks=pipe.model.tasks,
        pair_tasks=pipe.model.pair_tasks,
        second_frame=pipe.model.second_frame,
        task_options={name: dict(options) for name, options in pipe.config["task_options"].items()},
        default_processing_resolution=pipe.config["default_processing_resolution"],
        latent_channels=codec.latent_channels,
        downscale=codec.downscale,
        dtype=dtype,
        opset=opset,
        source=str(pipe.config.get("_name_or_path") or ""),
        versions={name: str(importlib.import_module(name).__version__) for name in packages},
    )


def _to_openvino(path: Path, *, half: bool) -> None:
    """Turns an ONNX file into OpenVINO's ``.xml`` and ``.bin`` beside it, and deletes it."""
    openvino = require("openvino", "openvino")
    openvino.save_model(openvino.convert_model(path), path.with_suffix(".xml"), compress_to_fp16=half)
    for file in (path, path.with_name(f"{path.name}.data")):
        file.unlink(missing_ok=True)


def _open(folder: Path) -> ExportedPipeline:
    size = sum(path.stat().st_size for path in folder.iterdir())
    return load_exported(folder, one_at_a_time=size > _LARGE_BYTES)


@contextmanager
def _plain(pipe: StableMTLPipeline) -> Iterator[StableMTLPipeline]:
    """The pipeline in float32 on the CPU and in evaluation mode: itself, or with copies of its networks."""
    parts: dict[str, Any] = {}
    for name in ("model", "vae"):
        part = getattr(pipe, name)
        weights = list(part.parameters())
        if any(type(weight) is not nn.Parameter for weight in weights):
            raise ValueError("a model with quantised weights cannot be exported; load it again without int8.")
        if any(weight.dtype != torch.float32 or weight.device.type != "cpu" for weight in weights):
            part = copy.deepcopy(part).to("cpu", torch.float32)
        parts[name] = part
    training = [part for part in parts.values() if part.training]
    plain = StableMTLPipeline(
        model=parts["model"],
        vae=parts["vae"],
        task_options=pipe.config["task_options"],
        default_processing_resolution=pipe.config["default_processing_resolution"],
    )
    plain.register_to_config(_name_or_path=pipe.config.get("_name_or_path") or "")
    try:
        for part in training:
            part.eval()
        yield plain
    finally:
        for part in training:
            part.train()
