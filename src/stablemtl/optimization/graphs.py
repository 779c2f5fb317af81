"""Compiled graphs, one for each bucket, and no more than were asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

from stablemtl.optimization.options import CompiledSizes

logger = logging.getLogger(__name__)

BACKEND: str | Callable[..., Any] = "inductor"
"""Of ``torch.compile``."""


class Graphs:
    """Compiles functions of image-like tensors, each bucket once.

    ``torch.compile`` makes a graph for what it sees, and a new one whenever something differs: a folder of
    images of many sizes would spend its time compiling. Here the caller says what a graph depends on, the
    size is part of it or is left open, and when ``limit`` graphs of a kind are made, other inputs run as they
    would without compilation. So does a function that cannot be compiled; the log says why.

    Args:
        limit: graphs of each kind at most, in the life of this object.
        sizes: ``each`` or ``any``: whether the size is part of the bucket.
        backend: of ``torch.compile``; its own default by default.
    """

    def __init__(
        self, limit: int, *, sizes: CompiledSizes = "each", backend: str | Callable[..., Any] | None = None
    ) -> None:
        self.limit, self.sizes, self._backend = limit, sizes, BACKEND if backend is None else backend
        self.made: dict[str, int] = {}
        """Kind -> graphs that were made, those dropped included."""
        self._graphs: dict[tuple[Hashable, ...], Callable[..., Any] | None] = {}
        self._full: set[str] = set()

    def run(
        self, kind: str, bucket: Hashable, build: Callable[[], Callable[..., Any]], *inputs: Tensor | None
    ) -> Any:
        """``build()(*inputs)``, compiled if there is a graph for it or room for one.

        Args:
            kind: what the function does; each kind has its own limit.
            bucket: what the function and its graph depend on besides number, types and sizes of the inputs.
            build: makes the function, for a new graph. It must not be changed by what it is called with.
            inputs: tensors (..., H, W), or None.
        """
        inputs = tuple(x if x is None else x.contiguous() for x in inputs)
        key = (kind, bucket, *(self._signature(x) for x in inputs))
        if key not in self._graphs:
            if self.made.get(kind, 0) >= self.limit:
                self._say_full(kind)
                return build()(*inputs)
            self.made[kind] = self.made.get(kind, 0) + 1
            logger.info("compiling %s, graph %d of at most %d", kind, self.made[kind], self.limit)
            self._graphs[key] = self._compiled(build(), f"{kind}_{self.made[kind]}")
        graph = self._graphs[key]
        if graph is None:
            return build()(*inputs)
        if self.sizes == "any":
            for x in inputs:
                if x is not None:
                    torch._dynamo.maybe_mark_dynamic(x, [x.ndim - 2, x.ndim - 1])
        try:
            return graph(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = " ".join(lines[:2]) or type(error).__name__
            logger.warning("%s cannot be compiled and runs without: %s", kind, reason)
            self._graphs[key] = None
            return build()(*inputs)

    def drop(self, kind: str) -> None:
        """Forget the graphs of a kind, whose weights have changed. They still count."""
        self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] != kind}

    def _signature(self, x: Tensor | None) -> Hashable:
        if x is None:
            return None
        size = x.shape if self.sizes == "each" else x.shape[:-2]
        return (*size, x.dtype, str(x.device))

    def _compiled(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        return torch.compile(
            _with_own_code(function, name),
            fullgraph=True,
            dynamic=False if self.sizes == "each" else None,
            backend=self._backend,
        )

    def _say_full(self, kind: str) -> None:
        if kind not in self._full:
            self._full.add(kind)
            logger.warning(
                "%s: %d graphs are compiled, which is the limit; other inputs run uncompiled. "
                "Give images of fewer sizes, or choose compile_sizes='any' or more compile_buckets.",
                kind,
                self.limit,
            )


def _with_own_code(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function with a code object of its own.

    ``torch.compile`` keeps graphs by code object: closures made by one ``def`` would share a list of graphs,
    and its limit.
    """
    assert isinstance(function, FunctionType), "a function defined in Python"
    code: CodeType = function.__code__.replace(co_name=name)
    return FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
