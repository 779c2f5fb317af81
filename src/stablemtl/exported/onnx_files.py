"""A graph as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stablemtl.exported.graphs import Graph
from stablemtl.exported.packages import require

_EMBEDDED_BYTES = 1 << 30
"""Weights above it go into a file beside the graph; the format cannot hold 2 GB in one."""
_SMALL = 1024
"""Constants of fewer numbers stay as they are when weights are stored in half precision."""


def write_onnx(graph: Graph, path: Path, *, opset: int, half: bool = False) -> None:
    """Writes the graph; weights of more than 1 GB go to ``<name>.onnx.data`` beside it.

    Args:
        graph: what to write.
        path: the file, ``*.onnx``.
        opset: ONNX operator set.
        half: store weights as float16. They are made float32 when the file is opened.
    Raises:
        ImportError: a package of the extra ``onnx`` is missing.
        RuntimeError: the exporter fails, also because a size would not stay open.
    """
    require("onnx", "onnx", "onnxscript")
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=_dynamic_shapes(graph),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None, "the exporter returns a program when it gets no file name"
    _name_sizes(graph, program.model)
    _forget_origin(program.model)
    if half:
        _halve(program.model)
    weights = [value.const_value for value in program.model.graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    program.save(path, external_data=size > _EMBEDDED_BYTES)


def _dynamic_shapes(graph: Graph) -> tuple[Any, ...]:
    """The open sizes as ``torch.onnx.export`` takes them; inputs beyond the named arguments are one of ``*``.

    A name promises that a size is free, on pain of an error. Numbers of tokens follow from other sizes: what
    they are is left to the exporter.
    """
    free = torch.export.Dim.AUTO
    shapes = [
        {
            axis: free if name.startswith("tokens") else name
            for axis, name in graph.open_sizes.get(one, {}).items()
        }
        for one in graph.inputs
    ]
    named = graph.module.forward.__code__.co_argcount - 1
    return (*shapes[:named], *([tuple(shapes[named:])] if shapes[named:] else []))


def _name_sizes(graph: Graph, model: Any) -> None:
    """Gives the inputs' open sizes our names, also where the exporter chose its own."""
    for value in model.graph.inputs:
        for axis, name in graph.open_sizes.get(value.name, {}).items():
            value.shape[axis] = name


def _forget_origin(model: Any) -> None:
    """Drops what the exporter notes of where each operation was written: paths of this machine, mostly."""
    for part in (model, model.graph, *model.graph):
        part.metadata_props.clear()
        part.doc_string = None
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()


def _halve(model: Any) -> None:
    """Stores weights as float16, each behind a conversion back."""
    import onnx_ir

    graph = model.graph
    casts = []
    for name, value in list(graph.initializers.items()):
        weight = value.const_value
        if weight.dtype != onnx_ir.DataType.FLOAT or weight.size < _SMALL:
            continue
        numbers = weight.numpy()
        if np.abs(numbers).max() > np.finfo(np.float16).max:
            continue  # not representable, and rare
        half = onnx_ir.Value(name=f"{name}.half", const_value=onnx_ir.tensor(numbers.astype(np.float16)))
        cast = onnx_ir.node("Cast", [half], {"to": onnx_ir.DataType.FLOAT})
        onnx_ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del graph.initializers[name]
        graph.register_initializer(half)
        casts.append(cast)
    if casts:
        graph.insert_before(graph[0], casts)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, which warns of deprecations and of its own decisions; sizes are checked here."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
